"""Voids: give an authorization back before anything was captured; carried out by a worker."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction

from payments.models import Attempt, Payment
from payments.services.attempts import held_authorization, open_attempt
from payments.services.chronicle import Chronicle
from payments.services.reservations import release_reservation
from payments.services.retries import MAX_UNSENT_TRIES, wait_after
from payments.services.transitions import advance_payment, lock_payment, store_payment
from payments.states import AttemptState, PaymentState, PaymentTrigger
from routing.types import Operation, Verdict
from zentra.core.errors import Conflict
from zentra.core.jobs import enqueue_on_commit
from zentra.evidence.types import RequestContext
from zentra.idempotency.services import claim_key, finish_claim
from zentra.idempotency.types import Answer, Answerer, RequestKey
from zentra.tenancy.selectors import terms_of
from zentra.tenancy.types import Actor


class PaymentNotVoidable(Conflict):
    code = "payment_not_voidable"
    summary = "Only an authorized payment of which nothing was captured can be voided."
    remedy = "Refund what was captured instead."


@transaction.atomic(durable=True)
def request_void(
    *,
    workspace_id: UUID,
    payment_id: UUID,
    key: RequestKey,
    actor: Actor,
    context: RequestContext,
    answer: Answerer,
) -> Answer:
    """Record a void and queue it. The answer is 202 until the provider confirmed; a repeat shows the present state.

    :raises PaymentNotFound: this workspace has no such payment
    :raises PaymentNotVoidable: not authorized, or something is captured or being captured; nothing is written
    :raises KeyReused: the key came with another request before
    """
    terms = terms_of(workspace_id)
    claim = claim_key(workspace_id=workspace_id, key=key, resource_id=payment_id, clock=terms.clock)
    payment = lock_payment(workspace_id=workspace_id, payment_id=payment_id)
    if not claim.fresh:
        return claim.answer or finish_claim(claim_id=claim.id, answer=answer(payment), clock=terms.clock)
    if payment.state != PaymentState.AUTHORIZED or payment.captured_minor or payment.capturing_minor:
        raise PaymentNotVoidable(f"the payment is {payment.status}", details={"status": payment.status})
    chronicle = Chronicle(terms=terms, actor=actor, context=context)
    advance_payment(payment=payment, trigger=PaymentTrigger.VOID_REQUESTED, chronicle=chronicle)
    plan_void(payment=payment, chronicle=chronicle)
    store_payment(payment=payment, chronicle=chronicle)
    chronicle.write()
    return finish_claim(claim_id=claim.id, answer=answer(payment), clock=terms.clock)


def plan_void(*, payment: Payment, chronicle: Chronicle, wait: timedelta = timedelta()) -> None:
    """Make a void of a locked payment due and hint a worker; the caller stores the payment."""
    payment.void_due_at = chronicle.terms.clock.now() + wait
    if not wait:
        enqueue_on_commit("payments.run_void", workspace_id=str(payment.workspace_id), payment_id=str(payment.id))


@transaction.atomic(durable=True)
def start_void(*, workspace_id: UUID, payment_id: UUID) -> Attempt | None:
    """Commit a void as sent. None when it is under way or done."""
    payment = lock_payment(workspace_id=workspace_id, payment_id=payment_id)
    if payment.void_due_at is None:
        return None
    chronicle = Chronicle(terms=terms_of(workspace_id))
    authorization = held_authorization(payment)
    attempt = open_attempt(
        payment=payment,
        operation=Operation.VOID,
        provider_account_id=authorization.provider_account_id,
        amount_minor=authorization.amount_minor,
        chronicle=chronicle,
    )
    payment.void_due_at = None
    store_payment(payment=payment, chronicle=chronicle)
    chronicle.write()
    return attempt


def apply_void(*, payment: Payment, attempt: Attempt, chronicle: Chronicle) -> None:
    """Move a locked payment by the state of its void's attempt. A try that never left stays to be tried again."""
    state = AttemptState(attempt.state)
    tries_again = state is AttemptState.FAILED and attempt.verdict == Verdict.PROVIDER_FAULT
    if tries_again and attempt.number < MAX_UNSENT_TRIES:
        plan_void(payment=payment, chronicle=chronicle, wait=wait_after(attempt.number))
    elif payment.state == PaymentState.PROCESSING:
        _apply_to_unwanted_part(payment, attempt, chronicle)
    elif state is AttemptState.APPROVED:
        advance_payment(payment=payment, trigger=PaymentTrigger.VOID_CONFIRMED, chronicle=chronicle)
        payment.released_minor = payment.authorized_minor
        release_reservation(payment=payment, amount_minor=payment.authorized_minor, cause="voided", chronicle=chronicle)
        chronicle.announce_payment("payment.voided", payment)
    elif state in (AttemptState.DECLINED, AttemptState.FAILED):
        advance_payment(payment=payment, trigger=PaymentTrigger.VOID_REFUSED, chronicle=chronicle)
        chronicle.announce_payment("payment.void_failed", payment)
    else:
        return
    store_payment(payment=payment, chronicle=chronicle)


def _apply_to_unwanted_part(payment: Payment, attempt: Attempt, chronicle: Chronicle) -> None:
    """The part that nobody wanted was given back, and the payment is declined; if it was not, a person has to look."""
    state = AttemptState(attempt.state)
    if state is AttemptState.APPROVED:
        advance_payment(payment=payment, trigger=PaymentTrigger.PROVIDER_DECLINED, chronicle=chronicle)
        release_reservation(payment=payment, amount_minor=payment.amount_minor, cause="declined", chronicle=chronicle)
        Attempt.objects.filter(id=held_authorization(payment).id).update(needs_operator=False)
        chronicle.announce_payment("payment.declined", payment)
    elif state in (AttemptState.DECLINED, AttemptState.FAILED):
        Attempt.objects.filter(id=attempt.id).update(needs_operator=True)
