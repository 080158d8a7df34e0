"""
Which servers this process uses and where: an external one where the environment names it, the embedded one otherwise.

The addresses are pure functions of the environment and the checkout, for settings, which start nothing. `manage.py`
calls `start_needed` before any command that needs a database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from zentra.embedded.postgres import EmbeddedPostgres
from zentra.embedded.types import ServerStatus
from zentra.embedded.valkey import EmbeddedValkey


def state_dir(environ: Mapping[str, str], base_dir: Path) -> Path:
    """Where the embedded servers keep their files."""
    return Path(environ.get("ZENTRA_STATE_DIR") or Path(base_dir) / ".zentra").expanduser().absolute()


def embedded_postgres(environ: Mapping[str, str], base_dir: Path) -> EmbeddedPostgres | None:
    """The checkout's own PostgreSQL; None when DATABASE_URL names another one."""
    if environ.get("DATABASE_URL"):
        return None
    return EmbeddedPostgres(state_dir(environ, base_dir), bindir=environ.get("ZENTRA_PG_BINDIR"))


def embedded_valkey(environ: Mapping[str, str], base_dir: Path) -> EmbeddedValkey | None:
    """The checkout's own Valkey; None when REDIS_URL names another one."""
    if environ.get("REDIS_URL"):
        return None
    return EmbeddedValkey(state_dir(environ, base_dir), binary=environ.get("ZENTRA_VALKEY_BIN"))


def database_urls(environ: Mapping[str, str], base_dir: Path) -> dict[str, str | None]:
    """
    The addresses of the database by role.

    `app` serves requests and owns nothing, `owner` runs migrations, `admin` is the superuser of an embedded cluster
    and None for an external one. An external database with one address alone uses it for both.
    """
    server = embedded_postgres(environ, base_dir)
    if server is not None:
        return {role: server.url(role) for role in ("app", "owner", "admin")}
    external = environ["DATABASE_URL"]
    return {"app": external, "owner": environ.get("DATABASE_OWNER_URL") or external, "admin": None}


def redis_url(environ: Mapping[str, str], base_dir: Path) -> str:
    """The address of Redis or Valkey for redis-py and Django's cache."""
    server = embedded_valkey(environ, base_dir)
    return server.url() if server is not None else environ["REDIS_URL"]


def broker_url(environ: Mapping[str, str], base_dir: Path) -> str:
    """The same server as Celery spells it: `redis+socket://` for a socket."""
    address = redis_url(environ, base_dir)
    return f"redis+socket://{address.removeprefix('unix://')}" if address.startswith("unix://") else address


def start_needed(
    environ: Mapping[str, str], base_dir: Path, report: Callable[[str], None] = lambda line: None
) -> list[str]:
    """
    Start the embedded servers that this environment uses and that do not run yet.

    :param report: called with one line per server that this call started
    :returns: the names of those servers
    :raises EmbeddedServiceError: one cannot be started; the message names the remedy
    """
    started = []
    for server in embedded_servers(environ, base_dir):
        begun = time.monotonic()
        if server.ensure_running():
            report(f"{server.name} started in {server.home} ({time.monotonic() - begun:.1f} s)")
            started.append(server.name)
    return started


def embedded_servers(environ: Mapping[str, str], base_dir: Path) -> list[EmbeddedPostgres | EmbeddedValkey]:
    """The embedded servers that this environment uses."""
    servers = (embedded_postgres(environ, base_dir), embedded_valkey(environ, base_dir))
    return [server for server in servers if server is not None]


def statuses(environ: Mapping[str, str], base_dir: Path) -> list[ServerStatus]:
    """One row for each of the two servers, embedded or external; an address that may hold a password is not shown."""
    rows = []
    for name, server, variable in (
        ("postgres", embedded_postgres(environ, base_dir), "DATABASE_URL"),
        ("valkey", embedded_valkey(environ, base_dir), "REDIS_URL"),
    ):
        rows.append(server.status() if server else ServerStatus(name, "external", "", f"as {variable} says", ""))
    return rows
