"""Settlement files in the simulator's format, made for the tests: lines of real captures, with faults where asked."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from uuid import uuid4

from payments.models import Capture, Refund
from settlement.formats.simulator import COLUMNS
from tests.factories.payments import attempt_of

DAY = date(2026, 3, 2)


@dataclass(frozen=True)
class Line:
    line_type: str = "sale"
    acquirer_reference: str = ""
    merchant_reference: str = ""
    gross_minor: int = 0
    fee_minor: int = 0
    currency: str = "EUR"
    line_id: str = ""
    booked_on: date = DAY

    def but(self, **changes: Any) -> Line:
        return replace(self, **changes)


def line_of(item: Capture | Refund, *, fee_minor: int = 0, **changes: Any) -> Line:
    """The line that a provider would write about a capture or refund."""
    attempt = attempt_of(item)
    sale = isinstance(item, Capture)
    plain = Line(
        line_type="sale" if sale else "refund",
        acquirer_reference=attempt.provider_reference,
        merchant_reference=attempt.reference,
        gross_minor=item.amount_minor if sale else -item.amount_minor,
        fee_minor=fee_minor,
        currency=item.currency,
    )
    return replace(plain, **changes)


def unknown_line(gross_minor: int, **changes: Any) -> Line:
    plain = Line(
        line_type="sale" if gross_minor > 0 else "refund",
        acquirer_reference=f"psp_{uuid4().hex}",
        merchant_reference=uuid4().hex,
        gross_minor=gross_minor,
    )
    return replace(plain, **changes)


def file_of(
    *lines: Line, batch: str = "bat_1", declared_delta_minor: int = 0, declared: bool = True, currency: str = "EUR"
) -> bytes:
    """A file of one batch. ``declared_delta_minor`` falsifies the declared gross and net."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, line in enumerate(lines, start=1):
        writer.writerow(
            (
                "line",
                batch,
                line.line_id or f"{batch}-{number:06d}",
                line.line_type,
                line.acquirer_reference,
                line.merchant_reference,
                line.currency,
                line.gross_minor,
                line.fee_minor,
                line.gross_minor - line.fee_minor,
                line.booked_on,
                DAY,
            )
        )
    gross = sum(line.gross_minor for line in lines) + declared_delta_minor
    fee = sum(line.fee_minor for line in lines)
    if declared:
        unit = lines[0].currency if lines else currency
        writer.writerow(("batch", batch, len(lines), "payout", "", "", unit, gross, fee, gross - fee, DAY, DAY))
    return text.getvalue().encode()
