"""What of a reservation is given back."""

from __future__ import annotations

from ledger.services import post_journal
from payments import postings
from payments.models import Payment
from payments.services.chronicle import Chronicle


def release_reservation(*, payment: Payment, amount_minor: int, cause: str, chronicle: Chronicle) -> None:
    """Give back what of the reservation will not be used; nothing for an amount of zero."""
    if amount_minor <= 0:
        return
    posting = postings.reservation_released(payment, amount_minor, chronicle.terms.today, cause=cause)
    posted = post_journal(workspace_id=payment.workspace_id, posting=posting, clock=chronicle.terms.clock)
    chronicle.record(
        "reservation.released",
        payment.public_id,
        payment_id=payment.id,
        journal_ids=[posted.id],
        data={"amount_minor": amount_minor, "cause": cause},
    )
