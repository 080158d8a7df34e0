"""The control API: what tests and demos do to an acquirer that no merchant could."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from zentra.simulator import settlement
from zentra.simulator.callbacks import CallbackTarget
from zentra.simulator.clock import MAX_OFFSET_SECONDS, iso
from zentra.simulator.wire import CURRENCY, TOKEN, Answer, Fields, Request, RequestRefusedError, json_answer

if TYPE_CHECKING:
    from zentra.simulator.api import AcquirerApi

MAX_FAULT_SECONDS = 3600.0

Action = Callable[[Request, str], Answer]


class Control:
    """
    The actions under ``/_control/``.

    Faults (down, hang) end with the process: a restart is how an acquirer comes back. What changes the books'
    view of the world (clock, callback address) is stored like any operation.
    """

    def __init__(self, api: AcquirerApi, *, callback_secret: str) -> None:
        # Set by the listener, which alone can close itself.
        self.go_down: Callable[[float], None] = lambda seconds: None
        self._api = api
        self._callback_secret = callback_secret
        self._hang_until = 0.0

    def restore(self) -> None:
        """Take up what was stored before the last restart."""
        with self._api.store.transaction() as tx:
            offset = tx.setting("clock_offset_seconds")
            callback_url = tx.setting("callback_url")
        self._api.clock.offset_seconds = int(offset or 0)
        if callback_url is not None:
            self._point_callbacks(callback_url)

    def actions(self) -> list[tuple[str, str, Action]]:
        """Return method, name and handler of every action."""
        return [
            ("POST", "down", self._down),
            ("POST", "hang", self._hang),
            ("POST", "forget_keys", self._forget_keys),
            ("POST", "clock", self._clock),
            ("POST", "callback", self._callback),
            ("POST", "refunds", self._refunds),
            ("POST", "settlement", self._settlement),
            ("GET", "counters", self._counters),
        ]

    def hanging(self) -> bool:
        """Tell whether requests are accepted and not answered at present."""
        return time.monotonic() < self._hang_until

    def _down(self, request: Request, _: str) -> Answer:
        seconds = Fields.parse(request.body).seconds("seconds", 0.1, MAX_FAULT_SECONDS)
        self.go_down(seconds)
        return json_answer(200, {"down_for_seconds": seconds})

    def _hang(self, request: Request, _: str) -> Answer:
        fields = Fields.parse(request.body)
        seconds = fields.seconds("seconds", 0, MAX_FAULT_SECONDS) if fields.has("seconds") else None
        self._hang_until = math.inf if seconds is None else time.monotonic() + seconds
        return json_answer(200, {"hanging_for_seconds": seconds})

    def _forget_keys(self, _request: Request, _: str) -> Answer:
        with self._api.store.transaction() as tx:
            forgotten = tx.forget_keys()
        return json_answer(200, {"forgotten": forgotten})

    def _clock(self, request: Request, _: str) -> Answer:
        fields = Fields.parse(request.body)
        offset_seconds = fields.integer("offset_seconds", -MAX_OFFSET_SECONDS, MAX_OFFSET_SECONDS)
        with self._api.store.transaction() as tx:
            tx.store_setting("clock_offset_seconds", str(offset_seconds))
        self._api.clock.offset_seconds = offset_seconds
        return json_answer(200, {"offset_seconds": offset_seconds, "now": iso(self._api.clock.now())})

    def _callback(self, request: Request, _: str) -> Answer:
        url = Fields.parse(request.body).optional_url("url")
        with self._api.store.transaction() as tx:
            tx.store_setting("callback_url", url or "")
        self._point_callbacks(url or "")
        self._api.callbacks.wake()
        return json_answer(200, {"url": url})

    def _point_callbacks(self, url: str) -> None:
        target = CallbackTarget(url=url, secret=self._callback_secret) if url else None
        self._api.callbacks.target = target

    def _refunds(self, request: Request, _: str) -> Answer:
        fields = Fields.parse(request.body)
        outcome = fields.value("status")
        if outcome not in ("refunded", "failed"):
            raise RequestRefusedError(400, "invalid_field", "status must be refunded or failed", field_name="status")
        with self._api.store.transaction() as tx:
            refund = self._api.acquirer.end_refund(tx, fields.text("id", TOKEN), succeeded=outcome == "refunded")
            document = self._api.acquirer.document(tx, refund)
        self._api.callbacks.wake()
        return json_answer(200, document)

    def _settlement(self, request: Request, _: str) -> Answer:
        fields = Fields.parse(request.body)
        currency = fields.optional_text("currency", CURRENCY)
        anomalies = settlement.read_anomalies(fields)
        with self._api.store.transaction() as tx:
            batches = settlement.close_batches(tx, now=self._api.clock.now(), currency=currency, anomalies=anomalies)
        return json_answer(200, {"batches": [batch.document() for batch in batches]})

    def _counters(self, _request: Request, _: str) -> Answer:
        with self._api.store.transaction() as tx:
            operations = tx.rows("SELECT type, status, count(*) FROM operations GROUP BY type, status")
            callbacks = dict(tx.rows("SELECT state, count(*) FROM callbacks GROUP BY state"))
            keys = tx.rows("SELECT count(*) FROM idempotency_keys")[0][0]
        recorded = dict.fromkeys(("authorization", "capture", "void", "refund"), 0)
        by_status: dict[str, int] = {}
        for kind, status, count in operations:
            recorded[kind] += count
            by_status[f"{kind}.{status}"] = count
        return json_answer(
            200,
            {
                "calls": dict(sorted(self._api.calls.copy().items())),
                "operations": recorded,
                "operations_by_status": by_status,
                "idempotency_keys": keys,
                "callbacks": {"pending": 0, "delivered": 0, "failed": 0} | callbacks,
            },
        )
