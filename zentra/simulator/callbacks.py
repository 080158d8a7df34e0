"""
Callbacks to the merchant: queued in the transaction of their operation, signed, retried within bounds.

Delivery is at least once. A killed process sends after its restart what it had queued; the receiver tells repeats
by the callback's id.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog

from zentra.simulator.acquirer import new_id
from zentra.simulator.clock import SimulatorClock, iso
from zentra.simulator.store import QueuedCallback, Store, Transaction

log = structlog.get_logger(__name__)

# A callback normally follows the answer; this much head start makes it so without promising it.
HEAD_START_SECONDS = 0.25
# After these waits between tries a callback has failed for good.
RETRY_AFTER_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
SEND_TIMEOUT_SECONDS = 5.0
# Callbacks beyond this many unsent ones are dropped: a receiver that is away must not fill the disk.
MAX_PENDING = 10_000
IDLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackTarget:
    """Where an acquirer sends its callbacks and what it signs them with."""

    url: str
    secret: str


class CallbackQueue:
    """The queue of one acquirer and the one thread that empties it."""

    def __init__(self, *, acquirer: str, store: Store, clock: SimulatorClock, target: CallbackTarget | None) -> None:
        self.target = target
        self._acquirer = acquirer
        self._store = store
        self._clock = clock
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"callbacks-{acquirer}", daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def stop(self) -> None:
        """Stop sending and wait for the one under way; what is queued stays queued."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=SEND_TIMEOUT_SECONDS + 1)

    def wake(self) -> None:
        """Look at the queue now: something was committed."""
        self._wake.set()

    def queue(self, tx: Transaction, document: dict[str, Any], copies: int) -> None:
        """Queue the callback about an operation, within the transaction that recorded it."""
        if self.target is None:
            return
        pending = tx.rows("SELECT count(*) FROM callbacks WHERE state = 'pending'")[0][0]
        if pending + copies > MAX_PENDING:
            log.warning("callback_dropped", acquirer=self._acquirer, operation_id=document["id"])
            return
        callback_id = new_id("cbk_")
        body = json.dumps(
            {
                "id": callback_id,
                "type": f"{document['object']}.{document['status']}",
                "created_at": iso(self._clock.now()),
                "acquirer": self._acquirer,
                "data": document,
            },
            separators=(",", ":"),
        ).encode()
        for _ in range(copies):
            tx.changed(
                "INSERT INTO callbacks (id, body, due_at) VALUES (?, ?, ?)",
                callback_id,
                body,
                time.time() + HEAD_START_SECONDS,
            )

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                wait_seconds = self._send_due()
            except Exception:
                # The thread must outlive a busy store or a disk that is full for a moment.
                log.exception("callback_queue_failed", acquirer=self._acquirer)
                wait_seconds = 1.0
            self._wake.wait(timeout=wait_seconds)

    def _send_due(self) -> float:
        """Send everything that is due and return how long nothing will be."""
        while not self._stopping:
            target = self.target
            callback = self._next()
            if target is None or callback is None:
                return IDLE_SECONDS
            wait_seconds = callback.due_at - time.time()
            if wait_seconds > 0:
                return min(wait_seconds, IDLE_SECONDS)
            self._record(callback, delivered=self._send(target, callback))
        return 0.0

    def _next(self) -> QueuedCallback | None:
        with self._store.transaction() as tx:
            rows = tx.rows(
                "SELECT seq, body, attempts, due_at FROM callbacks WHERE state = 'pending' ORDER BY due_at, seq LIMIT 1"
            )
        return QueuedCallback(**dict(zip(QueuedCallback.__slots__, rows[0], strict=True))) if rows else None

    def _send(self, target: CallbackTarget, callback: QueuedCallback) -> bool:
        try:
            status = post(target.url, callback.body, signature=sign(target.secret, callback.body, int(time.time())))
        except (OSError, http.client.HTTPException) as failure:
            log.info("callback_not_delivered", acquirer=self._acquirer, error=type(failure).__name__)
            return False
        log.info("callback_sent", acquirer=self._acquirer, status=status, attempt=callback.attempts + 1)
        return 200 <= status < 300

    def _record(self, callback: QueuedCallback, *, delivered: bool) -> None:
        attempts = callback.attempts + 1
        due_at = callback.due_at
        if delivered:
            state = "delivered"
        elif attempts > len(RETRY_AFTER_SECONDS):
            state = "failed"
        else:
            state, due_at = "pending", time.time() + RETRY_AFTER_SECONDS[attempts - 1]
        with self._store.transaction() as tx:
            tx.changed(
                "UPDATE callbacks SET state = ?, attempts = ?, due_at = ? WHERE seq = ?",
                state,
                attempts,
                due_at,
                callback.seq,
            )


def sign(secret: str, body: bytes, timestamp: int) -> str:
    """Return ``t=<unix seconds>,v1=<hex>``: HMAC-SHA256 over the timestamp, a dot and the body."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def post(url: str, body: bytes, *, signature: str) -> int:
    """POST a signed body and return the status; redirects are answers, not followed."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=SEND_TIMEOUT_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=SEND_TIMEOUT_SECONDS)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Content-Type": "application/json", "X-Acquirer-Signature": signature}
        connection.request("POST", path, body=body, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()
