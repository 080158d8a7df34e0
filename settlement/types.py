"""Values of settlement that cross its modules: what a file says, what a line turned out to be, how a case may end.

Amounts are integer minor units. Gross is signed as the provider pays: positive for a sale, negative for a refund.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID


class LineType(StrEnum):
    """What a settlement line is about; each settles one kind of item of payments."""

    SALE = "sale"
    REFUND = "refund"

    @property
    def item_kind(self) -> str:
        """The kind of item that such a line settles."""
        return "capture" if self is LineType.SALE else "refund"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedLine:
    """One line of a provider's file. ``extra`` keeps the columns that the format does not name.

    :param row: line number in the file, the header being 1
    :param gross_minor: signed: positive for a sale, negative for a refund
    :param fee_minor: what the provider keeps; ``net_minor`` = gross − fee
    """

    row: int
    batch: str
    line_id: str
    line_type: LineType
    provider_reference: str
    own_reference: str
    currency: str
    gross_minor: int
    fee_minor: int
    net_minor: int
    booked_on: date
    value_on: date
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredTotals:
    """What a file says the sum of a batch is; the control against which its lines are held."""

    row: int
    batch: str
    currency: str
    line_count: int
    gross_minor: int
    fee_minor: int
    net_minor: int
    value_on: date


@dataclass(frozen=True, slots=True)
class LineError:
    """A row that could not be used: its number in the file and why. Never the row's content."""

    row: int
    reason: str


ParsedRow = ParsedLine | DeclaredTotals | LineError


class UnreadableFile(ValueError):
    """The file has no usable header: not one row of it can be understood."""


class FileStatus(StrEnum):
    """How much of a file could be used."""

    READ = "read"
    READ_WITH_ERRORS = "read_with_errors"
    UNREADABLE = "unreadable"


class Verdict(StrEnum):
    """What a line turned out to be."""

    MATCHED = "matched"
    AMOUNT_DIFFERS = "amount_differs"
    CURRENCY_DIFFERS = "currency_differs"
    DUPLICATE = "duplicate"
    UNKNOWN_REFERENCE = "unknown_reference"


class MatchRule(StrEnum):
    """By what a line found its item."""

    PROVIDER_REFERENCE = "provider_reference"
    OWN_REFERENCE = "own_reference"
    OPERATOR = "operator"


class DriftClass(StrEnum):
    """Why a case exists. The first four are verdicts about lines."""

    AMOUNT_DIFFERS = "amount_differs"
    CURRENCY_DIFFERS = "currency_differs"
    DUPLICATE = "duplicate"
    UNKNOWN_REFERENCE = "unknown_reference"
    MISSING_LINE = "missing_line"
    CONTROL_TOTAL = "control_total"


class Resolution(StrEnum):
    """The closed list of ways in which a case ends. The last two are the platform's own."""

    WRITTEN_OFF = "written_off"
    GAINED = "gained"
    PROVIDER_FEE = "provider_fee"
    MERCHANT_BEARS = "merchant_bears"
    PROVIDER_CORRECTS_PAYOUT = "provider_corrects_payout"
    LATE_SALE_LINE = "late_sale_line"
    LATE_REFUND_LINE = "late_refund_line"
    REVIEWED = "reviewed"
    LINE_ARRIVED = "line_arrived"
    TOTALS_AGREE = "totals_agree"


#: Resolutions that no person chooses: a later line or file explained the case.
AUTOMATIC_RESOLUTIONS: Final = (Resolution.LINE_ARRIVED, Resolution.TOTALS_AGREE)


class Severity(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class RunScope(StrEnum):
    """What made a reconciliation run: an imported file, the nightly schedule, a request, a person at the console."""

    FILE = "file"
    NIGHTLY = "nightly"
    REQUEST = "request"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An item of payments that a line may be about, as `payments_settlement_item` shows it. Amounts are positive."""

    kind: str
    item_id: UUID
    payment_id: UUID
    own_reference: str
    provider_reference: str
    currency: str
    amount_minor: int
    succeeded_at: datetime
    has_line: bool

    @property
    def expected_minor(self) -> int:
        """The gross that its line should carry: signed as lines are."""
        return self.amount_minor if self.kind == "capture" else -self.amount_minor


#: Version of the rules in matching.py; part of every run and match, so that a result can be explained later.
RULESET_VERSION: Final = "2026.1"
