"""
The durable state of one acquirer: one SQLite file, one writer at a time.

Every request runs in one transaction that is committed before its answer leaves, so that a killed process has
forgotten nothing it ever answered. One connection behind one lock is enough for a sandbox and makes every rule
that reads before it writes safe without further thought.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

# How long a request waits for the one before it. Transactions take milliseconds; only closing a large
# settlement batch takes longer.
LOCK_WAIT_SECONDS = 10.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS operations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL CHECK (type IN ('authorization', 'capture', 'void', 'refund')),
    reference TEXT NOT NULL,
    status TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency TEXT NOT NULL,
    created_at TEXT NOT NULL,
    authorization_id TEXT REFERENCES operations (id),
    capture_id TEXT REFERENCES operations (id),
    requested_minor INTEGER NOT NULL,
    captured_minor INTEGER NOT NULL DEFAULT 0 CHECK (captured_minor BETWEEN 0 AND amount_minor),
    refunded_minor INTEGER NOT NULL DEFAULT 0 CHECK (refunded_minor >= 0),
    fee_minor INTEGER NOT NULL DEFAULT 0,
    final INTEGER NOT NULL DEFAULT 0,
    payment_token TEXT,
    merchant_reference TEXT,
    network_transaction_id TEXT,
    decline_code TEXT,
    return_url TEXT,
    batch_id TEXT REFERENCES batches (batch_id),
    CHECK (type <> 'authorization' OR refunded_minor <= captured_minor),
    CHECK (type <> 'capture' OR refunded_minor <= amount_minor)
);
CREATE INDEX IF NOT EXISTS operations_by_reference ON operations (reference, seq);
CREATE INDEX IF NOT EXISTS operations_by_authorization ON operations (authorization_id, seq);
CREATE INDEX IF NOT EXISTS operations_unsettled ON operations (currency, seq)
    WHERE batch_id IS NULL AND status IN ('captured', 'refunded');
CREATE TABLE IF NOT EXISTS idempotency_keys (
    key TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    status INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    batch_id TEXT PRIMARY KEY,
    currency TEXT NOT NULL,
    line_count INTEGER NOT NULL,
    declared_net_minor INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    file BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS callbacks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    due_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS callbacks_due ON callbacks (due_at, seq) WHERE state = 'pending';
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class StoreBusyError(Exception):
    """The transaction before this one did not end in time; nothing was read or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of ``operations``: an authorization, capture, void or refund with its present state."""

    id: str
    type: str
    reference: str
    status: str
    amount_minor: int
    currency: str
    created_at: str
    requested_minor: int
    authorization_id: str | None = None
    capture_id: str | None = None
    captured_minor: int = 0
    refunded_minor: int = 0
    fee_minor: int = 0
    final: int = 0
    payment_token: str | None = None
    merchant_reference: str | None = None
    network_transaction_id: str | None = None
    decline_code: str | None = None
    return_url: str | None = None
    batch_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """The first answer to an idempotency key, and the fingerprint of the request that got it."""

    fingerprint: bytes
    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedCallback:
    """One sending of one callback."""

    seq: int
    body: bytes
    attempts: int
    due_at: float


# The condition of the partial index, word for word: SQLite uses the index only then.
UNSETTLED = "batch_id IS NULL AND status IN ('captured', 'refunded')"
COLUMNS = tuple(field.name for field in fields(Operation))
# Only names of columns are joined into SQL, here and below; values never are.
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM operations"  # noqa: S608
_INSERT = f"INSERT INTO operations ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608


class Transaction:
    """The reads and writes that are possible inside one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        return self._connection.execute(sql, values).fetchall()

    def changed(self, sql: str, *values: Any) -> int:
        """Run one statement and return how many rows it changed."""
        return self._connection.execute(sql, values).rowcount

    # -- operations

    def insert(self, operation: Operation) -> Operation:
        """Record a new operation."""
        self._connection.execute(_INSERT, [getattr(operation, name) for name in COLUMNS])
        return operation

    def update(self, operation_id: str, **changes: Any) -> Operation:
        """Change columns of one operation and return it as it is now."""
        assignments = ", ".join(f"{name} = ?" for name in changes)
        self.changed(f"UPDATE operations SET {assignments} WHERE id = ?", *changes.values(), operation_id)  # noqa: S608
        return self._one("id = ?", operation_id)

    def find(self, operation_id: str) -> Operation | None:
        """Return the operation with the acquirer's id."""
        found = self._operations("id = ?", operation_id, limit=1)
        return found[0] if found else None

    def by_reference(self, reference: str, *, limit: int) -> list[Operation]:
        """Return what was recorded under the caller's reference, oldest first."""
        return self._operations("reference = ?", reference, limit=limit)

    def void_of(self, authorization_id: str) -> Operation | None:
        """Return the void of an authorization."""
        found = self._operations("authorization_id = ? AND type = 'void'", authorization_id, limit=1)
        return found[0] if found else None

    def has_final_capture(self, authorization_id: str) -> bool:
        """Tell whether the authorization was closed by a capture marked final."""
        where = "authorization_id = ? AND type = 'capture' AND final = 1 AND status = 'captured'"
        return bool(self._operations(where, authorization_id, limit=1))

    def unsettled(self, currency: str, *, limit: int) -> list[Operation]:
        """Return captures and refunds that are in no batch yet, oldest first."""
        return self._operations(f"{UNSETTLED} AND currency = ?", currency, limit=limit)

    def unsettled_currencies(self) -> list[str]:
        """Return the currencies that have anything unsettled."""
        return [row[0] for row in self.rows(f"SELECT DISTINCT currency FROM operations WHERE {UNSETTLED}")]  # noqa: S608

    def _operations(self, where: str, *values: Any, limit: int) -> list[Operation]:
        rows = self.rows(f"{_SELECT} WHERE {where} ORDER BY seq LIMIT ?", *values, limit)
        return [Operation(**dict(zip(COLUMNS, row, strict=True))) for row in rows]

    def _one(self, where: str, *values: Any) -> Operation:
        return self._operations(where, *values, limit=1)[0]

    # -- idempotency keys

    def stored_answer(self, key: str) -> StoredAnswer | None:
        """Return the first answer to a key."""
        rows = self.rows("SELECT fingerprint, status, content_type, body FROM idempotency_keys WHERE key = ?", key)
        return StoredAnswer(**dict(zip(StoredAnswer.__slots__, rows[0], strict=True))) if rows else None

    def keep_answer(self, key: str, answer: StoredAnswer) -> None:
        """
        Store the first answer to a key.

        :raises sqlite3.IntegrityError: the key has one; the transaction, with its operation, is undone
        """
        self.changed(
            "INSERT INTO idempotency_keys (key, fingerprint, status, content_type, body) VALUES (?, ?, ?, ?, ?)",
            key,
            answer.fingerprint,
            answer.status,
            answer.content_type,
            answer.body,
        )

    def forget_keys(self) -> int:
        """Delete every idempotency key and return how many there were."""
        return self.changed("DELETE FROM idempotency_keys")

    # -- settings

    def setting(self, name: str) -> str | None:
        """Return a value that the control API stored."""
        rows = self.rows("SELECT value FROM settings WHERE name = ?", name)
        return rows[0][0] if rows else None

    def store_setting(self, name: str, value: str) -> None:
        """Store a value over the one before."""
        self.changed(
            "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value
        )


class Store:
    """The SQLite file of one acquirer."""

    def __init__(self, path: Path, *, lock_wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self._lock = threading.Lock()
        self._lock_wait_seconds = lock_wait_seconds
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        # NORMAL survives the death of the process, which is what is promised; only a power cut may lose the
        # last answers, and a sandbox need not pay an fsync per payment for that.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.executescript(SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """
        Run a block as one transaction: committed at its end, undone by any exception.

        :raises StoreBusyError: another request held the store for longer than the bound
        """
        if not self._lock.acquire(timeout=self._lock_wait_seconds):
            raise StoreBusyError
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(self._connection)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the file; a later transaction fails."""
        with self._lock:
            self._connection.close()
