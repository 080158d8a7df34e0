"""What is needed, where it is, and `manage.py services` as a person types it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from tests.embedded.conftest import ROOT, clean_environ
from zentra.embedded import services
from zentra.embedded.errors import EmbeddedServiceError
from zentra.embedded.files import exclusive

EXTERNAL = {"DATABASE_URL": "postgresql://app@db.example/z", "REDIS_URL": "redis://cache.example:6379/0"}


def manage(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=clean_environ(**environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def states(**environ: str) -> dict[str, str]:
    shown = manage("services", "status", **environ)
    assert shown.returncode == 0, shown.stderr
    rows = [line.split("  ") for line in shown.stdout.splitlines()[1:]]
    return {row[0].strip(): next(cell.strip() for cell in row[1:] if cell.strip()) for row in rows}


class TestAddresses:
    def test_are_computed_without_making_or_starting_anything(self, tmp_path):
        urls = services.database_urls({}, tmp_path)
        redis_url = services.redis_url({}, tmp_path)

        assert list(tmp_path.iterdir()) == []
        assert {role: psycopg.conninfo.conninfo_to_dict(url)["user"] for role, url in urls.items()} == {
            "app": "zentra_app",
            "owner": "zentra_owner",
            "admin": "zentra_admin",
        }
        assert redis_url.startswith("unix:///")

    def test_name_a_directory_whatever_characters_it_has(self, tmp_path):
        base = tmp_path / "a b%20c&d"
        environ = {"ZENTRA_STATE_DIR": str(base)}

        parsed = psycopg.conninfo.conninfo_to_dict(services.database_urls(environ, tmp_path)["app"])
        server = services.embedded_postgres(environ, tmp_path)

        assert parsed["host"] == str(server.socket_dir)
        assert parsed["dbname"] == "zentra"

    def test_of_redis_are_read_back_whatever_characters_they_have(self):
        environ = {"ZENTRA_STATE_DIR": "/tmp/a b%20c"}  # noqa: S108 - nothing is made there

        address = services.redis_url(environ, Path("/"))

        assert Redis.from_url(address).connection_pool.connection_kwargs["path"] == "/tmp/a b%20c/valkey/socket"  # noqa: S108
        assert services.broker_url(environ, Path("/")) == address.replace("unix://", "redis+socket://")

    def test_are_the_external_ones_where_the_environment_names_them(self, tmp_path):
        assert services.database_urls(EXTERNAL, tmp_path) == {
            "app": EXTERNAL["DATABASE_URL"],
            "owner": EXTERNAL["DATABASE_URL"],
            "admin": None,
        }
        both = EXTERNAL | {"DATABASE_OWNER_URL": "postgresql://owner@db.example/z"}
        assert services.database_urls(both, tmp_path)["owner"] == both["DATABASE_OWNER_URL"]
        assert services.redis_url(EXTERNAL, tmp_path) == EXTERNAL["REDIS_URL"]
        assert services.broker_url(EXTERNAL, tmp_path) == EXTERNAL["REDIS_URL"]

    def test_starting_with_both_variables_set_starts_and_makes_nothing(self, tmp_path):
        assert services.start_needed(EXTERNAL, tmp_path) == []
        assert list(tmp_path.iterdir()) == []


class TestStartNeeded:
    def test_starts_what_is_not_external_once_and_reports_it(self, state_dir):
        environ = {"ZENTRA_STATE_DIR": str(state_dir), "DATABASE_URL": EXTERNAL["DATABASE_URL"]}
        lines: list[str] = []

        first = services.start_needed(environ, ROOT, lines.append)
        second = services.start_needed(environ, ROOT, lines.append)

        assert (first, second) == (["valkey"], [])
        assert len(lines) == 1
        assert str(state_dir) in lines[0]
        assert not (state_dir / "postgres").exists()


class TestCommandLine:
    def test_starts_shows_stops_and_resets_both_servers(self, state_dir):
        here = {"ZENTRA_STATE_DIR": str(state_dir)}
        assert states(**here) == {"postgres": "not created", "valkey": "not created"}

        assert manage("services", "start", **here).stdout == "postgres: started\nvalkey: started\n"
        assert states(**here) == {"postgres": "running", "valkey": "running"}

        assert manage("services", "stop", "valkey", **here).stdout == "valkey: stopped\n"
        assert states(**here) == {"postgres": "running", "valkey": "stopped"}

        refused = manage("services", "reset", **here)
        assert refused.returncode == 1
        assert "Nothing was deleted." in refused.stdout
        assert states(**here) == {"postgres": "running", "valkey": "stopped"}

        assert manage("services", "reset", "--yes", **here).returncode == 0
        assert states(**here) == {"postgres": "not created", "valkey": "not created"}
        assert list(state_dir.iterdir()) == []

    def test_touches_nothing_embedded_where_both_servers_are_external(self, state_dir):
        (state_dir / "postgres").mkdir()
        environ = EXTERNAL | {"ZENTRA_STATE_DIR": str(state_dir)}

        answer = manage("services", "reset", "--yes", **environ)

        assert answer.returncode == 0
        assert "nothing embedded is in use" in answer.stdout
        assert (state_dir / "postgres").exists()
        assert states(**environ) == {"postgres": "external", "valkey": "external"}

    def test_resets_only_what_is_embedded(self, state_dir):
        (state_dir / "postgres").mkdir()
        (state_dir / "valkey").mkdir()
        environ = {"ZENTRA_STATE_DIR": str(state_dir), "DATABASE_URL": EXTERNAL["DATABASE_URL"]}

        assert manage("services", "reset", "--yes", **environ).returncode == 0

        assert [path.name for path in state_dir.iterdir()] == ["postgres"]

    def test_prints_a_mendable_problem_as_a_message_and_fails(self, state_dir):
        answer = manage("services", "start", ZENTRA_STATE_DIR=str(state_dir), ZENTRA_PG_BINDIR="/nonexistent")

        assert answer.returncode == 1
        assert "There are no PostgreSQL programs in /nonexistent" in answer.stderr
        assert "Traceback" not in answer.stderr


class TestLock:
    def test_is_bounded_in_time_and_names_the_file(self, tmp_path):
        lock = tmp_path / "lock"
        with (
            exclusive(lock, timeout=1, what="testing"),
            pytest.raises(EmbeddedServiceError, match="testing for more than 0 s and still holds"),
            exclusive(lock, timeout=0.1, what="testing"),
        ):
            pass

    def test_on_a_file_that_was_deleted_meanwhile_is_not_believed(self, tmp_path):
        lock = tmp_path / "lock"
        waiting, named = threading.Event(), []

        def wait_for_it() -> None:
            with exclusive(lock, timeout=10, what="testing", on_wait=waiting.set) as descriptor:
                named.append(lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat()))

        waiter = threading.Thread(target=wait_for_it)
        with exclusive(lock, timeout=1, what="testing"):
            waiter.start()
            assert waiting.wait(10)
            lock.unlink()
        waiter.join(10)

        assert named == [True]
