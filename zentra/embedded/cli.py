"""`manage.py services`: look at, start, stop and delete the embedded servers. Django is not needed for it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from zentra.embedded import services
from zentra.embedded.postgres import EmbeddedPostgres
from zentra.embedded.types import ServerStatus
from zentra.embedded.valkey import EmbeddedValkey

NOTHING_EMBEDDED = "DATABASE_URL and REDIS_URL name external servers: nothing embedded is in use, nothing was touched."
SERVER_NAMES = ("postgres", "valkey")


def main(arguments: Sequence[str], *, environ: Mapping[str, str], base_dir: Path) -> int:
    """
    Run one subcommand and return the exit code.

    :raises EmbeddedServiceError: a server does not do as told; the message names the remedy
    """
    options = _parser().parse_args(arguments)
    if options.action == "status":
        print(_table(services.statuses(environ, base_dir)))
        return 0
    servers = services.embedded_servers(environ, base_dir)
    if not servers:
        print(NOTHING_EMBEDDED)
        return 0
    chosen = [server for server in servers if options.server in (None, server.name)]
    if not chosen:
        print(f"{options.server} is external here; nothing was touched.")
        return 0
    if options.action == "reset":
        return _reset(chosen, confirmed=options.yes)
    for server in chosen:
        if options.action == "start":
            print(f"{server.name}: {'started' if server.ensure_running() else 'runs already'}")
        else:
            print(f"{server.name}: {'stopped' if server.stop() else 'was not running'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manage.py services", description="The embedded PostgreSQL and Valkey of this checkout."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("status", help="show what runs, and where its files are")
    for action, explanation in (
        ("start", "start what does not run"),
        ("stop", "stop what runs; its data stays"),
        ("reset", "stop and delete all embedded data"),
    ):
        subparser = actions.add_parser(action, help=explanation)
        subparser.add_argument("server", nargs="?", choices=SERVER_NAMES, help="only this one (default: both)")
        if action == "reset":
            subparser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _reset(servers: Sequence[EmbeddedPostgres | EmbeddedValkey], *, confirmed: bool) -> int:
    present = [server for server in servers if server.home.is_dir()]
    if not present:
        print("There is no embedded data.")
        return 0
    for server in present:
        print(f"{server.name}: {server.home}")
    if not confirmed and not _agreed("Stop these servers and delete all their data? [y/N] "):
        print("Nothing was deleted.")
        return 1
    for server in present:
        server.remove()
        print(f"{server.name}: deleted")
    return 0


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        print("Not a terminal: use --yes to delete without being asked.")
        return False
    return input(question).strip().lower() in ("y", "yes")


def _table(rows: Sequence[ServerStatus]) -> str:
    cells = [("server", "state", "version", "address", "files")]
    cells += [(row.name, row.state, row.version or "-", row.address, row.files or "-") for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join(lines)
