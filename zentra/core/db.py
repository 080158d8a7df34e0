"""Database guards: who must be inside a transaction, who must not, and connections that go back before the wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable


class NotInTransaction(RuntimeError):
    """A building block was called outside a transaction: a defect of the caller."""


class InsideTransaction(RuntimeError):
    """The network was about to be touched with a transaction open: a defect of the caller."""


def in_business_transaction() -> bool:
    """True inside a transaction that product code opened; the one a test case wraps around itself does not count."""
    # `_from_testcase` is Django's own private mark (checked by the durability test of Atomic too).
    return connection.in_atomic_block and any(
        not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks
    )


def require_transaction() -> None:
    """Refuse to run outside a transaction. :raises NotInTransaction:"""
    if not in_business_transaction():
        raise NotInTransaction("this building block must run inside its caller's transaction")


def release_connection() -> None:
    """Give the connection back to the pool before a slow call, so that waiting costs no database slot.

    :raises InsideTransaction: a transaction is open; a provider must never be called inside one
    """
    if in_business_transaction():
        raise InsideTransaction("no transaction may be open across the network")
    if not connection.in_atomic_block:
        connection.close()


@contextmanager
def lock_timeout(milliseconds: int) -> Iterator[None]:
    """Wait at most so long for a lock inside the current transaction; see ``is_lock_timeout``."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{milliseconds}ms"])
        yield
        cursor.execute("SELECT set_config('lock_timeout', '0', true)")


def is_lock_timeout(error: BaseException) -> bool:
    """Whether a database error means that a lock was not had in time."""
    return isinstance(error, OperationalError) and isinstance(error.__cause__, LockNotAvailable)


def fetch_all(sql: str, params: Any = None) -> list[dict[str, Any]]:
    """Run one statement and return its rows as dicts keyed by column name."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        if cursor.description is None:
            return []
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def on_commit(callback: Any) -> None:
    """Run after the surrounding transaction commits; a failure there never reaches the caller."""
    transaction.on_commit(callback, robust=True)
