"""Databases for the tests.

A template database is migrated once per state of the migrations and cloned: the session's clone serves tests that
roll back, `committed_database` gives a test a clone of its own. Nothing is ever flushed (the ledger refuses TRUNCATE
in tests too), and every test works as the app role.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from psycopg import sql
from redis import Redis

from zentra.embedded.services import database_urls
from zentra.settings.base import database_from_url

ROOT = Path(__file__).resolve().parent.parent


def admin_url() -> str:
    """A login that may create databases and roles."""
    urls = database_urls(os.environ, ROOT)
    return urls.get("admin") or urls["owner"]


def url_for(database: str, role: str | None) -> str:
    """The test server's URL for one database, with every session in one role."""
    parts = urlsplit(admin_url())
    query = dict(parse_qsl(parts.query))
    if role:
        query["role"] = role
    return urlunsplit(parts._replace(path=f"/{database}", query=urlencode(query, safe="/")))


def connect(database: str, role: str | None = None) -> psycopg.Connection[Any]:
    """A plain autocommit connection beside Django's. Without a role it is the server's administrator."""
    entry = database_from_url(url_for(database, role), pool=False)
    return psycopg.connect(
        host=entry["HOST"] or None,
        port=entry["PORT"] or None,
        user=entry["USER"] or None,
        password=entry["PASSWORD"] or None,
        dbname=entry["NAME"],
        options=entry["OPTIONS"]["options"],
        autocommit=True,
    )


@contextmanager
def administrator() -> Iterator[psycopg.Connection[Any]]:
    with connect("postgres") as connection:
        yield connection


def _migrations_fingerprint() -> str:
    digest = hashlib.sha256()
    for pattern in ("*/migrations/*.py", "zentra/*/migrations/*.py", "*/sql/*.sql", "zentra/*/sql/*.sql"):
        for path in sorted(ROOT.glob(pattern)):
            if ".venv" not in path.parts:
                digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    digest.update((ROOT / "zentra/core/roles.py").read_bytes())
    for path in sorted([*ROOT.glob("*/apps.py"), *ROOT.glob("zentra/*/apps.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _use(database: str) -> None:
    for alias, role in (("default", "zentra_app"), ("owner", "zentra_owner")):
        connections[alias].close()
        entry = database_from_url(url_for(database, role), pool=False)
        connections[alias].settings_dict.update(entry)
        settings.DATABASES[alias].update(entry)


def _drop(connection: psycopg.Connection[Any], database: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


def _clone(connection: psycopg.Connection[Any], template: str, database: str) -> None:
    _drop(connection, database)
    connection.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER zentra_owner").format(
            sql.Identifier(database), sql.Identifier(template)
        )
    )


def _make_template(connection: psycopg.Connection[Any], template: str) -> None:
    for role in ("zentra_owner", "zentra_app"):
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    draft = f"{template}_draft"
    _drop(connection, draft)
    connection.execute(sql.SQL("CREATE DATABASE {} OWNER zentra_owner").format(sql.Identifier(draft)))
    with connect(draft) as inside:
        inside.execute("ALTER SCHEMA public OWNER TO zentra_owner")
    _use(draft)
    call_command("migrate", verbosity=0, interactive=False)
    connections.close_all()
    connection.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(draft), sql.Identifier(template))
    )


def migrated_template() -> str:
    """The name of a migrated, empty database. Made once for each state of the migrations."""
    template = f"zentra_template_{_migrations_fingerprint()}"
    with administrator() as connection:
        # Serialises parallel test runs on one server.
        connection.execute("SELECT pg_advisory_lock(hashtext('zentra test template'))")
        exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [template]).fetchone()
        if not exists:
            _drop_stale(connection)
            _make_template(connection, template)
    return template


def _drop_stale(connection: psycopg.Connection[Any]) -> None:
    """Drop what killed runs left, and the templates of earlier migrations when no other run is under way."""
    rows = connection.execute("SELECT datname FROM pg_database WHERE datname ~ '^zentra_(template|test|commit)_'")
    names = [name for (name,) in rows.fetchall()]
    runs = {name: _is_alive(int(name.rsplit("_", 1)[1])) for name in names if not name.startswith("zentra_template")}
    others_run = any(runs.values())
    for name in names:
        if not runs.get(name, others_run):
            _drop(connection, name)


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.fixture(scope="session")
def template_database(django_db_blocker: Any) -> str:
    """See `migrated_template`."""
    with django_db_blocker.unblock():
        return migrated_template()


@pytest.fixture(scope="session")
def django_db_setup(template_database: str, django_db_blocker: Any) -> Iterator[None]:
    """Replaces the framework's own test database by a clone of the template."""
    database = f"zentra_test_{os.getpid()}"
    with administrator() as connection:
        _clone(connection, template_database, database)
        _use(database)
        yield
        with django_db_blocker.unblock():
            connections.close_all()
        _forget_queues(f"zentra-test-{os.getpid()}:")
        _drop(connection, database)


class CommittedDatabase:
    """A database of a test's own, in which commits are real and threads and processes may work."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.token = uuid4().hex[:8]

    @property
    def queue_prefix(self) -> str:
        """The broker keys of this test's processes."""
        return f"zentra-test-{os.getpid()}:{self.token}:"

    def url(self, role: str = "zentra_app") -> str:
        return url_for(self.name, role)

    def environment(self) -> dict[str, str]:
        """For child processes: the same database, as the app role."""
        return {
            **os.environ,
            "DATABASE_URL": self.url(),
            "DATABASE_OWNER_URL": self.url("zentra_owner"),
            "REDIS_URL": settings.REDIS_URL,
            "CELERY_KEY_PREFIX": self.queue_prefix,
            "DJANGO_SETTINGS_MODULE": "zentra.settings.test",
            "PYTHONPATH": str(ROOT),
        }

    def connect(self, role: str | None = "zentra_app") -> psycopg.Connection[Any]:
        """A raw autocommit connection as a role (None: the server's administrator)."""
        return connect(self.name, role)


@pytest.fixture
def committed_database(
    django_db_setup: None, template_database: str, django_db_blocker: Any
) -> Iterator[CommittedDatabase]:
    """For tests that commit, race or start processes."""
    with django_db_blocker.unblock(), scratch_database(template_database) as database:
        yield database


@contextmanager
def scratch_database(template: str) -> Iterator[CommittedDatabase]:
    """A clone of a template that Django works in meanwhile; dropped at the end."""
    before = connections["default"].settings_dict["NAME"]
    name = f"zentra_commit_{os.getpid()}"
    with administrator() as connection:
        _clone(connection, template, name)
        _use(name)
        database = CommittedDatabase(name)
        try:
            yield database
        finally:
            _forget_queues(database.queue_prefix)
            connections.close_all()
            _use(before)
            _drop(connection, name)


def _forget_queues(prefix: str) -> None:
    """Delete the broker keys of a test's processes, or of the whole run."""
    with Redis.from_url(settings.REDIS_URL) as client:
        for key in client.scan_iter(match=f"{prefix}*", count=1000):
            client.delete(key)


@pytest.fixture
def owner_connection(committed_database: CommittedDatabase) -> Iterator[psycopg.Connection[Any]]:
    """The same database as the role that owns the tables."""
    with committed_database.connect("zentra_owner") as connection:
        yield connection


@pytest.fixture
def in_threads() -> Callable[..., list[Any]]:
    """Run one callable per argument at the same moment; the result or the exception of each, in order."""
    return run_in_threads


def run_in_threads(work: Callable[[Any], Any], arguments: list[Any]) -> list[Any]:
    import threading

    barrier = threading.Barrier(len(arguments))
    results: list[Any] = [None] * len(arguments)

    def body(index: int, argument: Any) -> None:
        try:
            barrier.wait(10)
            results[index] = work(argument)
        except Exception as error:
            results[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=body, args=pair) for pair in enumerate(arguments)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    return results


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In CI a skipped test is a failure unless it says why."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if reason.removeprefix("Skipped").strip(": ") in ("", "unconditional skip"):
            report.outcome, report.longrepr = "failed", f"{item.nodeid} is skipped without a reason"


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The real acquirer simulator with its acquirers alpha and beta, as a process of its own."""
    from tests.simulator.process import Simulator

    running = Simulator(tmp_path_factory.mktemp("acquirers"), "--late-seconds", "0.4")
    yield running
    running.terminate()
