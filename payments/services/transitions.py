"""The only writers of Payment.state and Attempt.state: both are locked, moved along their table, and recorded."""

from __future__ import annotations

from uuid import UUID

from payments.models import Attempt, Payment
from payments.selectors import PaymentNotFound
from payments.services.chronicle import Chronicle
from payments.states import (
    AttemptState,
    AttemptTrigger,
    PaymentState,
    PaymentTrigger,
    next_attempt_state,
    next_payment_state,
)
from zentra.core.db import require_transaction

_MOVING_FIELDS = (
    "state",
    "decline_code",
    "next_action",
    "authorized_minor",
    "released_minor",
    "capturing_minor",
    "captured_minor",
    "refunding_minor",
    "refunded_minor",
    "settled_minor",
    "settled_at",
    "void_due_at",
    "updated_at",
)


def lock_payment(*, workspace_id: UUID, payment_id: UUID) -> Payment:
    """A payment under its row lock, which decides every race about it. Locked before anything that belongs to it.

    :raises PaymentNotFound: this workspace has no such payment
    :raises NotInTransaction:
    """
    require_transaction()
    found = (
        Payment.objects.select_for_update(of=("self",))
        .select_related("customer")
        .filter(workspace_id=workspace_id, id=payment_id)
        .first()
    )
    if found is None:
        raise PaymentNotFound
    return found


def advance_payment(*, payment: Payment, trigger: PaymentTrigger, chronicle: Chronicle) -> None:
    """Move a locked payment along its table and record it. ``store_payment`` writes the row.

    :raises IllegalTransition: the table has no such edge; nothing changes
    """
    before = payment.state
    payment.state = next_payment_state(PaymentState(payment.state), trigger)
    chronicle.record(
        f"payment.{trigger.value}", payment.public_id, payment_id=payment.id, before=before, after=payment.state
    )


def store_payment(*, payment: Payment, chronicle: Chronicle) -> None:
    """Write the state and the totals of a locked payment."""
    payment.updated_at = chronicle.terms.clock.now()
    payment.save(update_fields=_MOVING_FIELDS)


def advance_attempt(*, attempt: Attempt, trigger: AttemptTrigger) -> AttemptState:
    """Move an attempt along its table; the caller records it with the rest of the answer.

    :raises IllegalTransition: the table has no such edge; nothing changes
    """
    attempt.state = next_attempt_state(AttemptState(attempt.state), trigger)
    return AttemptState(attempt.state)
