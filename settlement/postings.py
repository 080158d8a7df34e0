"""The journals of settlement, each a pure function from values to legs or a posting.

Debit is positive. 1110 is kept per batch and 2900 per case. The memo account 9030 is docs/decisions/0009, control
totals are 0041, how a case ends is 0044; a line releases at most its own part of what is pending.
In this version the merchant gets the gross; the provider's cost stays in 5010 until merchant pricing exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final
from uuid import UUID

from ledger.types import AccountKey, Leg, Posting, legs_of
from payments.postings import merchant_account, provider_account
from settlement.types import Resolution, Verdict

if TYPE_CHECKING:
    from payments.types import SettlementItem
    from settlement.models import DriftCase, SettlementBatch, SettlementLine

PROVIDER_COST: Final = AccountKey("5010")
WRITTEN_OFF: Final = AccountKey("5090")
GAINED: Final = AccountKey("4090")


def in_transit(provider_account_id: UUID, batch_id: UUID) -> AccountKey:
    """1110 of one batch: what the provider owes the bank for it."""
    return AccountKey("1110", "provider", str(provider_account_id), str(batch_id))


def suspense(provider_account_id: UUID, case_id: UUID) -> AccountKey:
    """2900 of one case."""
    return AccountKey("2900", "provider", str(provider_account_id), str(case_id))


def clearing(kind: str, provider_account_id: UUID) -> AccountKey:
    """The account that a line clears: 1100 for a capture, 2050 for a refund."""
    return provider_account("1100" if kind == "capture" else "2050", provider_account_id)


@dataclass(frozen=True, slots=True)
class Release:
    """Pending money that becomes the merchant's: what the merchant owed is repaid first, the rest is available."""

    merchant_id: UUID
    amount_minor: int = 0
    repaid_minor: int = 0

    def legs(self) -> tuple[Leg, ...]:
        return legs_of(
            (merchant_account("2010", self.merchant_id), self.amount_minor),
            (merchant_account("1200", self.merchant_id), -self.repaid_minor),
            (merchant_account("2020", self.merchant_id), self.repaid_minor - self.amount_minor),
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """An amount that the merchant bears: from this capture's pending, then what is available, then as a debt."""

    merchant_id: UUID
    pending_minor: int
    available_minor: int
    owed_minor: int

    def legs(self) -> tuple[Leg, ...]:
        return legs_of(
            (merchant_account("2010", self.merchant_id), self.pending_minor),
            (merchant_account("2020", self.merchant_id), self.available_minor),
            (merchant_account("1200", self.merchant_id), self.owed_minor),
        )


def release_of(item: SettlementItem, wanted_minor: int, receivable_minor: int) -> Release:
    """Release at most what of the capture is still pending. A refund releases nothing.

    :param receivable_minor: what the merchant owes (1200) at this moment
    """
    amount = min(wanted_minor, item.pending_minor) if item.kind == "capture" else 0
    return Release(item.merchant_id, amount, min(amount, max(0, receivable_minor)))


def line_booked(
    line: SettlementLine,
    batch: SettlementBatch,
    *,
    verdict: Verdict,
    item: SettlementItem | None,
    release: Release | None,
    case_id: UUID | None,
) -> Posting:
    """A line in the books. What was captured or refunded is cleared in full; a difference goes to the case.

    A line that claims no item (unknown, duplicate, other currency) is suspense altogether.
    """
    account = batch.provider_account_id
    expected = 0
    claimed = item if verdict in (Verdict.MATCHED, Verdict.AMOUNT_DIFFERS) else None
    legs: tuple[Leg, ...] = ()
    if claimed is not None:
        expected = claimed.amount_minor if claimed.kind == "capture" else -claimed.amount_minor
        legs = _cleared(claimed, account, expected) + (release.legs() if release else ())
    legs = (
        *legs_of((in_transit(account, batch.id), line.net_minor), (PROVIDER_COST, line.fee_minor)),
        *legs,
        *(legs_of((suspense(account, case_id), expected - line.gross_minor)) if case_id else ()),
    )
    return Posting(
        key=f"settle:{line.id}",
        kind=f"settlement_{line.line_type}_{verdict}",
        currency=line.currency,
        legs=legs,
        effective_date=line.booked_on,
        payment_id=item.payment_id if item else None,
        batch_id=batch.id,
        case_id=case_id,
        meta={"line": line.id, "file": str(line.file_id), "row": line.row},
    )


def suspense_of(line: SettlementLine, verdict: Verdict, item: SettlementItem | None) -> int:
    """What a drifted line puts on 2900, debit positive."""
    if item is None or verdict is not Verdict.AMOUNT_DIFFERS:
        return -line.gross_minor
    return (item.amount_minor if item.kind == "capture" else -item.amount_minor) - line.gross_minor


def control_accepted(batch: SettlementBatch, case: DriftCase, day: date) -> Posting:
    """The difference between the declared net and the lines goes to 1110 of the batch, against suspense."""
    amount = batch.control_open_minor
    return Posting(
        key=f"control:{batch.id}:{batch.control_rounds + 1}",
        kind="settlement_control_accepted",
        currency=batch.currency,
        legs=legs_of(
            (in_transit(batch.provider_account_id, batch.id), amount),
            (suspense(batch.provider_account_id, case.id), -amount),
        ),
        effective_date=day,
        batch_id=batch.id,
        case_id=case.id,
    )


def case_closed(
    case: DriftCase,
    resolution: Resolution,
    *,
    item: SettlementItem | None,
    release: Release | None,
    charge: Charge | None,
    day: date,
) -> Posting | None:
    """The journal that ends a case; None where no money moves.

    What is taken away is the suspense of the case or, where no line came at all, the capture from 1100. It goes to the
    account that the resolution names. What of the capture is still pending goes to the merchant, unless the merchant
    bears the difference.
    """
    account = case.provider_account_id
    if resolution is Resolution.REVIEWED:
        return None
    if case.suspense_minor:
        amount, source = case.suspense_minor, legs_of((suspense(account, case.id), -case.suspense_minor))
    elif item is not None:
        amount = item.amount_minor
        source = _cleared(item, account, amount)
    else:
        return None
    legs = (*_target(case, resolution, amount, item, charge), *source, *(release.legs() if release else ()))
    return Posting(
        key=f"close:{case.id}",
        kind=f"drift_{resolution}",
        currency=case.currency,
        legs=legs,
        effective_date=day,
        payment_id=item.payment_id if item else case.payment_id,
        batch_id=case.batch_id,
        case_id=case.id,
    )


def _target(
    case: DriftCase, resolution: Resolution, amount: int, item: SettlementItem | None, charge: Charge | None
) -> Sequence[Leg]:
    """Where the money of a case goes. ``amount`` is debit positive."""
    account = case.provider_account_id
    if resolution in (Resolution.LATE_SALE_LINE, Resolution.LATE_REFUND_LINE):
        if item is None:
            raise ValueError("a late line needs its item")
        return _cleared(item, account, -amount)
    if resolution is Resolution.MERCHANT_BEARS:
        if charge is None:
            raise ValueError("a charge to the merchant needs its parts")
        return charge.legs()
    if resolution is Resolution.PROVIDER_CORRECTS_PAYOUT:
        if case.batch_id is None:
            raise ValueError("a correction of a payout needs its batch")
        return legs_of((in_transit(account, case.batch_id), amount))
    targets = {
        Resolution.WRITTEN_OFF: WRITTEN_OFF,
        Resolution.PROVIDER_FEE: PROVIDER_COST,
        Resolution.GAINED: GAINED,
    }
    return legs_of((targets[resolution], amount))


def _cleared(item: SettlementItem, provider_account_id: UUID, expected_minor: int) -> tuple[Leg, ...]:
    """An item leaves its clearing account; a capture also leaves the memo account of what waits for settlement."""
    legs = legs_of((clearing(item.kind, provider_account_id), -expected_minor))
    if item.kind == "capture":
        legs += legs_of(
            (merchant_account("9030", item.merchant_id), expected_minor),
            (merchant_account("9010", item.merchant_id), -expected_minor),
        )
    return legs
