"""
Settlement: close what is unsettled into one batch per currency and write its file.

The format is documented in ``docs/sandbox.md``. The anomalies are those that a reconciliation must find: a line
with a wrong amount, a line held back, a line twice, a line nobody knows, and a declared total that is not the sum.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from zentra.simulator.acquirer import new_id
from zentra.simulator.behaviours import fee_minor
from zentra.simulator.clock import iso
from zentra.simulator.store import Operation, Transaction
from zentra.simulator.wire import CURRENCY, MAX_AMOUNT_MINOR, REFERENCE, Fields, RequestRefusedError

# More unsettled operations than this stay for the next batch, so that one call stays within seconds.
MAX_LINES_PER_BATCH = 50_000
MAX_ANOMALIES = 1000
PAYOUT_DELAY = timedelta(days=1)

COLUMNS = (
    "record_type",
    "batch_id",
    "line_id",
    "line_type",
    "acquirer_reference",
    "merchant_reference",
    "currency",
    "gross_minor",
    "fee_minor",
    "net_minor",
    "booked_on",
    "value_on",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a file before it is numbered; ``gross_minor`` is negative for a refund."""

    line_type: str
    acquirer_reference: str
    merchant_reference: str
    gross_minor: int
    fee_minor: int
    booked_on: str

    @property
    def net_minor(self) -> int:
        """What the line pays out."""
        return self.gross_minor - self.fee_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One deliberate fault of a file, placed by ``reference`` (ours or the acquirer's) or by ``currency``."""

    type: str
    reference: str | None = None
    currency: str | None = None
    amount_minor: int = 0
    delta_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A closed batch as the control API answers it."""

    batch_id: str
    currency: str
    line_count: int
    declared_net_minor: int
    created_at: str
    sha256: str

    def document(self) -> dict[str, Any]:
        """Return the JSON document of the batch."""
        return {
            "batch_id": self.batch_id,
            "currency": self.currency,
            "line_count": self.line_count,
            "declared_net_minor": self.declared_net_minor,
            "created_at": self.created_at,
            "sha256": self.sha256,
            "file": f"/v1/settlement/batches/{self.batch_id}/file",
        }


def read_anomalies(fields: Fields) -> list[Anomaly]:
    """
    Read the ``anomalies`` of a settlement request.

    :raises RequestRefusedError: 400 for an unknown type or a field of the wrong shape
    """
    listed = fields.value("anomalies") or []
    if not isinstance(listed, list) or len(listed) > MAX_ANOMALIES:
        raise RequestRefusedError(
            400, "invalid_field", f"anomalies must be a list of at most {MAX_ANOMALIES}", field_name="anomalies"
        )
    return [_read_anomaly(Fields(entry)) for entry in listed]


def close_batches(tx: Transaction, *, now: datetime, currency: str | None, anomalies: Sequence[Anomaly]) -> list[Batch]:
    """
    Close one batch per currency that has anything unsettled, or that an anomaly invents a line for.

    A line that is held back stays unsettled and comes with a later batch.

    :raises RequestRefusedError: 400 when an anomaly names nothing in these batches; nothing is closed
    """
    currencies = set(tx.unsettled_currencies())
    currencies |= {
        anomaly.currency for anomaly in anomalies if anomaly.type == "unknown_reference" and anomaly.currency
    }
    if currency is not None:
        currencies &= {currency}
    settled = {name: tx.unsettled(name, limit=MAX_LINES_PER_BATCH) for name in sorted(currencies)}
    placed = _place_anomalies(anomalies, settled)
    batches = [
        _close_batch(tx, now=now, currency=name, operations=operations, anomalies=placed[name])
        for name, operations in settled.items()
    ]
    return [batch for batch in batches if batch is not None]


def list_batches(tx: Transaction, *, limit: int) -> list[Batch]:
    """Return the newest batches, newest first."""
    rows = tx.rows(
        "SELECT batch_id, currency, line_count, declared_net_minor, created_at, file"
        " FROM batches ORDER BY rowid DESC LIMIT ?",
        limit,
    )
    names = ("batch_id", "currency", "line_count", "declared_net_minor", "created_at")
    return [
        Batch(**dict(zip(names, row[:-1], strict=True)), sha256=hashlib.sha256(row[-1]).hexdigest()) for row in rows
    ]


def batch_file(tx: Transaction, batch_id: str) -> bytes:
    """
    Return the file of a batch, the same bytes every time.

    :raises RequestRefusedError: 404 when there is no such batch
    """
    rows = tx.rows("SELECT file FROM batches WHERE batch_id = ?", batch_id)
    if not rows:
        raise RequestRefusedError(404, "batch_not_found", "No batch has this id.")
    return bytes(rows[0][0])


def _read_anomaly(fields: Fields) -> Anomaly:
    kind = fields.value("type")
    currency = fields.optional_text("currency", CURRENCY)
    if kind in ("wrong_amount", "missing_line", "duplicate_line"):
        delta_minor = _delta(fields) if kind == "wrong_amount" else 0
        return Anomaly(type=kind, reference=fields.text("reference", REFERENCE), delta_minor=delta_minor)
    if kind == "unknown_reference":
        return Anomaly(type=kind, amount_minor=fields.amount(), currency=currency)
    if kind == "declared_total":
        return Anomaly(type=kind, delta_minor=_delta(fields), currency=currency)
    raise RequestRefusedError(400, "invalid_field", "unknown type of anomaly", field_name="anomalies.type")


def _delta(fields: Fields) -> int:
    delta_minor = fields.integer("delta_minor", -MAX_AMOUNT_MINOR, MAX_AMOUNT_MINOR)
    if delta_minor == 0:
        raise RequestRefusedError(400, "invalid_field", "delta_minor must not be 0", field_name="delta_minor")
    return delta_minor


def _place_anomalies(anomalies: Sequence[Anomaly], settled: dict[str, list[Operation]]) -> dict[str, list[Anomaly]]:
    """Say which batch each anomaly goes to: by reference, by currency, or because there is one only."""
    currency_of: dict[str, str] = {}
    for currency, operations in settled.items():
        for operation in operations:
            currency_of |= {operation.id: currency, operation.reference: currency}
    placed: dict[str, list[Anomaly]] = {currency: [] for currency in settled}
    for anomaly in anomalies:
        if anomaly.reference is not None:
            target = currency_of.get(anomaly.reference)
            if target is None:
                raise RequestRefusedError(
                    400, "reference_not_unsettled", f"{anomaly.reference} is in none of these batches"
                )
        else:
            only = next(iter(settled)) if len(settled) == 1 else None
            target = anomaly.currency or only
            if target not in placed:
                raise RequestRefusedError(
                    400, "currency_required", f"name the currency of a batch for {anomaly.type}", field_name="currency"
                )
        placed[target].append(anomaly)
    return placed


def _close_batch(
    tx: Transaction, *, now: datetime, currency: str, operations: list[Operation], anomalies: list[Anomaly]
) -> Batch | None:
    held_back = {anomaly.reference for anomaly in anomalies if anomaly.type == "missing_line"}
    operations = [operation for operation in operations if not held_back & {operation.id, operation.reference}]
    lines = _with_anomalies([_line(operation) for operation in operations], anomalies, booked_on=_day(now))
    delta_minor = sum(anomaly.delta_minor for anomaly in anomalies if anomaly.type == "declared_total")
    if not lines:
        # Every line is held back: there is nothing to pay out and no file.
        return None
    gross_minor = sum(line.gross_minor for line in lines) + delta_minor
    charged_minor = sum(line.fee_minor for line in lines)
    batch_id = new_id("bat_")
    file = _write_file(
        batch_id, currency, lines, declared=(gross_minor, charged_minor, gross_minor - charged_minor), now=now
    )
    batch = Batch(
        batch_id=batch_id,
        currency=currency,
        line_count=len(lines),
        declared_net_minor=gross_minor - charged_minor,
        created_at=iso(now),
        sha256=hashlib.sha256(file).hexdigest(),
    )
    tx.changed(
        "INSERT INTO batches (batch_id, currency, line_count, declared_net_minor, created_at, file)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        batch.batch_id,
        currency,
        batch.line_count,
        batch.declared_net_minor,
        batch.created_at,
        file,
    )
    for operation in operations:
        tx.changed("UPDATE operations SET batch_id = ? WHERE id = ?", batch_id, operation.id)
    return batch


def _line(operation: Operation) -> Line:
    sale = operation.type == "capture"
    return Line(
        line_type="sale" if sale else "refund",
        acquirer_reference=operation.id,
        merchant_reference=operation.reference,
        gross_minor=operation.amount_minor if sale else -operation.amount_minor,
        fee_minor=operation.fee_minor,
        booked_on=operation.created_at[:10],
    )


def _with_anomalies(lines: list[Line], anomalies: list[Anomaly], *, booked_on: str) -> list[Line]:
    by_reference: dict[str | None, list[Anomaly]] = {}
    for anomaly in anomalies:
        by_reference.setdefault(anomaly.reference, []).append(anomaly)
    faulty: list[Line] = []
    for line in lines:
        named = by_reference.get(line.acquirer_reference, []) + by_reference.get(line.merchant_reference, [])
        delta_minor = sum(anomaly.delta_minor for anomaly in named if anomaly.type == "wrong_amount")
        if (line.gross_minor + delta_minor) * line.gross_minor <= 0:
            raise RequestRefusedError(
                400, "invalid_field", "delta_minor must leave the line its sign", field_name="delta_minor"
            )
        copies = 1 + sum(anomaly.type == "duplicate_line" for anomaly in named)
        faulty += [replace(line, gross_minor=line.gross_minor + delta_minor)] * copies
    for anomaly in anomalies:
        if anomaly.type == "unknown_reference":
            faulty.append(
                Line(
                    line_type="sale",
                    acquirer_reference=new_id("cap_psp_"),
                    merchant_reference=new_id("unknown_"),
                    gross_minor=anomaly.amount_minor,
                    fee_minor=fee_minor(anomaly.amount_minor),
                    booked_on=booked_on,
                )
            )
    return faulty


def _write_file(
    batch_id: str, currency: str, lines: list[Line], *, declared: tuple[int, int, int], now: datetime
) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    value_on = _day(now + PAYOUT_DELAY)
    for number, line in enumerate(lines, start=1):
        amounts = (line.gross_minor, line.fee_minor, line.net_minor)
        references = (line.acquirer_reference, line.merchant_reference)
        line_id = f"{batch_id}-{number:06d}"
        writer.writerow(
            ("line", batch_id, line_id, line.line_type, *references, currency, *amounts, line.booked_on, value_on)
        )
    writer.writerow(("batch", batch_id, len(lines), "payout", "", "", currency, *declared, _day(now), value_on))
    return text.getvalue().encode()


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
