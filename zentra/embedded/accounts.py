"""
Under which account a server runs, and which files that account can reach.

PostgreSQL refuses to run as root, as which containers and fresh machines often work. There it runs as an unprivileged
account instead, and nothing that belongs to anybody is opened up for it: what it cannot reach is placed elsewhere.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zentra.embedded.errors import EmbeddedServiceError

UNPRIVILEGED_NAMES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """A user that owns a server's process and files."""

    uid: int
    gid: int
    name: str

    def spawn_options(self) -> dict[str, Any]:
        """Arguments of `subprocess` that make a child run under this account."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_reach(self, path: Path) -> bool:
        """Whether every directory above `path` lets this account through (mode bits; access lists are not read)."""
        return all(self._may(above, stat.S_IXUSR) for above in path.parents)

    def can_use(self, program: Path) -> bool:
        """Whether this account can reach and execute a program and read the directory it lies in."""
        return self.can_reach(program) and self._may(program, stat.S_IXUSR) and self._may(program.parent, stat.S_IRUSR)

    def _may(self, path: Path, owner_bit: int) -> bool:
        try:
            found = path.stat()
        except FileNotFoundError:
            return True  # made by us, then, and open to this account
        except PermissionError:
            return False
        if found.st_uid == self.uid:
            return bool(found.st_mode & owner_bit)
        if found.st_gid == self.gid:
            return bool(found.st_mode & (owner_bit >> 3))
        return bool(found.st_mode & (owner_bit >> 6))


def owner_account(home: Path) -> Account:
    """The account a server that accepts root runs under: the caller's, or for root the owner of what exists already."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and home.is_dir():
        uid, gid = home.stat().st_uid, home.stat().st_gid
    return Account(uid, gid, f"user id {uid}")


def server_account(data: Path | None = None) -> Account:
    """
    The account a server that refuses root runs under.

    :param data: its data directory: one that exists already decides, so that a later account does not lock it out
    :raises EmbeddedServiceError: root, and the machine has no unprivileged account
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), f"user id {os.geteuid()}")
    if data is not None and data.is_dir() and (found := data.stat()).st_uid != 0:
        return Account(found.st_uid, found.st_gid, f"user id {found.st_uid}")
    for name in UNPRIVILEGED_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, name)
    raise EmbeddedServiceError(
        "PostgreSQL does not run as root, and this machine has no account `postgres` or `nobody` to run it under.\n"
        "Run manage.py as an ordinary user, or set DATABASE_URL to a PostgreSQL that runs already."
    )
