"""What settlement reports about captures and refunds: building blocks that run in settlement's own transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from payments.events import capture_data, refund_data
from payments.models import Attempt, Capture, Payment, Refund
from payments.services.chronicle import Chronicle
from payments.services.transitions import store_payment
from payments.states import AttemptState, OperationState
from payments.types import SettledItem, SettlementItem
from zentra.core.db import require_transaction

MAX_ITEMS = 500


def lock_items(*, workspace_id: UUID, item_ids: Sequence[tuple[str, UUID]]) -> dict[UUID, SettlementItem]:
    """Lock captures and refunds with their payments (payments first, in id order) and say what they are now.

    :param item_ids: pairs of kind ('capture' or 'refund') and id, at most MAX_ITEMS; foreign ids are left out
    :raises NotInTransaction: the locks would be gone at once
    """
    require_transaction()
    if len(item_ids) > MAX_ITEMS:
        raise ValueError(f"at most {MAX_ITEMS} items at once")
    captures = _ids(item_ids, "capture")
    refunds = _ids(item_ids, "refund")
    payment_ids = {
        *Capture.objects.filter(workspace_id=workspace_id, id__in=captures).values_list("payment_id", flat=True),
        *Refund.objects.filter(workspace_id=workspace_id, id__in=refunds).values_list("payment_id", flat=True),
    }
    payments = {row.id: row for row in _lock_payments(payment_ids)}
    rows: list[Capture | Refund] = [
        *Capture.objects.select_for_update().filter(workspace_id=workspace_id, id__in=captures).order_by("id"),
        *Refund.objects.select_for_update().filter(workspace_id=workspace_id, id__in=refunds).order_by("id"),
    ]
    accounts = _provider_accounts(captures, refunds)
    return {row.id: _item(row, payments[row.payment_id], accounts.get(row.id)) for row in rows}


def settle_items(*, items: Sequence[SettledItem], batch_public_id: str, chronicle: Chronicle) -> None:
    """Apply matched lines to their captures and refunds, and announce what is settled by them.

    :param items: at most MAX_ITEMS, of one workspace, locked with ``lock_items`` before
    """
    require_transaction()
    by_id = {item.item_id: item for item in items}
    now = chronicle.terms.clock.now()
    payments = {row.id: row for row in _lock_payments({item.payment_id for item in items})}
    captures = list(Capture.objects.filter(id__in=[item.item_id for item in items if item.kind == "capture"]))
    refunds = list(Refund.objects.filter(id__in=[item.item_id for item in items if item.kind == "refund"]))
    for row in [*captures, *refunds]:
        item = by_id[row.id]
        row.settled_minor += item.settled_minor
        row.settled_at = now if item.explained else None
    for capture in captures:
        item = by_id[capture.id]
        capture.pending_minor -= item.released_minor
        payment = payments[capture.payment_id]
        payment.settled_minor += item.settled_minor
        payment.updated_at = now
        data = {**capture_data(capture, payment.public_id), "batch_id": batch_public_id, "explained": item.explained}
        chronicle.announce("capture.settled", "capture", capture.public_id, data)
    for refund in refunds:
        payment = payments[refund.payment_id]
        data = {**refund_data(refund, payment), "batch_id": batch_public_id}
        chronicle.announce("refund.settled", "refund", refund.public_id, data)
    Capture.objects.bulk_update(captures, ["settled_minor", "settled_at", "pending_minor"])
    Refund.objects.bulk_update(refunds, ["settled_minor", "settled_at"])
    Payment.objects.bulk_update(payments.values(), ["settled_minor", "updated_at"])
    for item in items:
        chronicle.record(
            f"{item.kind}.settled",
            next(row.public_id for row in [*captures, *refunds] if row.id == item.item_id),
            payment_id=item.payment_id,
            data={
                "batch": batch_public_id,
                "settled_minor": item.settled_minor,
                "released_minor": item.released_minor,
                "explained": item.explained,
            },
        )
    announce_settled(payments.values(), chronicle=chronicle)


def explain_items(
    *, workspace_id: UUID, item_ids: Sequence[tuple[str, UUID]], chronicle: Chronicle, released_minor: int = 0
) -> None:
    """The case about a drifted line was closed: its items count as settled now.

    :param released_minor: what of the capture's pending the closing journal moved on; for one capture only
    """
    require_transaction()
    locked = lock_items(workspace_id=workspace_id, item_ids=item_ids)
    now = chronicle.terms.clock.now()
    for model in (Capture, Refund):
        model.objects.filter(id__in=locked, settled_at__isnull=True).update(settled_at=now)
    if released_minor:
        (capture,) = Capture.objects.filter(id__in=locked)
        capture.pending_minor -= released_minor
        capture.save(update_fields=["pending_minor"])
    announce_settled(_lock_payments({item.payment_id for item in locked.values()}), chronicle=chronicle)


def announce_settled(payments: Iterable[Payment], *, chronicle: Chronicle) -> None:
    """payment.settled once, when every capture has its line or a closed case and none is still to come.

    :param payments: under their row locks
    """
    require_transaction()
    for payment in payments:
        if payment.settled_at or payment.capturing_minor or payment.amounts.capturable or not payment.captured_minor:
            continue
        waiting = Capture.objects.filter(payment=payment, state=OperationState.SUCCEEDED, settled_at__isnull=True)
        if waiting.exists():
            continue
        payment.settled_at = chronicle.terms.clock.now()
        store_payment(payment=payment, chronicle=chronicle)
        chronicle.record("payment.settled", payment.public_id, payment_id=payment.id)
        chronicle.announce_payment("payment.settled", payment)


def _ids(item_ids: Sequence[tuple[str, UUID]], kind: str) -> list[UUID]:
    return [item_id for item_kind, item_id in item_ids if item_kind == kind]


def _lock_payments(ids: set[UUID]) -> list[Payment]:
    rows = Payment.objects.select_for_update(of=("self",)).select_related("customer")
    return list(rows.filter(id__in=ids).order_by("id"))


def _provider_accounts(captures: Sequence[UUID], refunds: Sequence[UUID]) -> dict[UUID, UUID]:
    approved = Attempt.objects.filter(state=AttemptState.APPROVED)
    return {
        **dict(approved.filter(capture_id__in=captures).values_list("capture_id", "provider_account_id")),
        **dict(approved.filter(refund_id__in=refunds).values_list("refund_id", "provider_account_id")),
    }


def _item(row: Capture | Refund, payment: Payment, provider_account_id: UUID | None) -> SettlementItem:
    return SettlementItem(
        kind="capture" if isinstance(row, Capture) else "refund",
        id=row.id,
        payment_id=row.payment_id,
        merchant_id=payment.merchant_id,
        provider_account_id=provider_account_id,
        currency=row.currency,
        amount_minor=row.amount_minor,
        pending_minor=row.pending_minor if isinstance(row, Capture) else 0,
        has_line=bool(row.settled_minor or row.settled_at),
    )
