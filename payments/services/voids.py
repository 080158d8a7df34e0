"""Voids: give an authorization back before anything was captured; carried out by a worker."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from payments.models import Attempt, Payment
from payments.services.attempts import open_attempt
from payments.services.authorizations import release_reservation
from payments.services.chronicle import Chronicle
from payments.services.transitions import advance_payment, lock_payment, store_payment
from payments.states import UNRESOLVED_ATTEMPTS, AttemptState, PaymentState, PaymentTrigger
from routing.types import Operation
from zentra.core.errors import Conflict
from zentra.core.jobs import enqueue_on_commit
from zentra.evidence.types import RequestContext
from zentra.idempotency.services import claim_key, finish_claim
from zentra.idempotency.types import Answer, Answerer, RequestKey
from zentra.tenancy.selectors import terms_of
from zentra.tenancy.types import Actor

#: A void that never left is tried again by the sweep; after so many tries the payment is authorized again.
MAX_VOID_TRIES = 12


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
    store_payment(payment=payment, chronicle=chronicle)
    chronicle.write()
    enqueue_on_commit("payments.run_void", workspace_id=str(workspace_id), payment_id=str(payment_id))
    return finish_claim(claim_id=claim.id, answer=answer(payment), clock=terms.clock)


@transaction.atomic(durable=True)
def start_void(*, workspace_id: UUID, payment_id: UUID) -> Attempt | None:
    """Commit a void as sent. None when it is under way or done."""
    payment = lock_payment(workspace_id=workspace_id, payment_id=payment_id)
    open_void = Attempt.objects.filter(
        payment=payment, operation=Operation.VOID, state__in=[*UNRESOLVED_ATTEMPTS, AttemptState.CONFLICTED]
    )
    if payment.state != PaymentState.VOIDING or open_void.exists():
        return None
    chronicle = Chronicle(terms=terms_of(workspace_id))
    authorization = Attempt.objects.get(payment=payment, operation=Operation.AUTHORIZE, state=AttemptState.APPROVED)
    attempt = open_attempt(
        payment=payment,
        operation=Operation.VOID,
        provider_account_id=authorization.provider_account_id,
        amount_minor=payment.authorized_minor,
        chronicle=chronicle,
    )
    chronicle.write()
    return attempt


def apply_void(*, payment: Payment, attempt: Attempt, chronicle: Chronicle) -> None:
    """Move a locked payment by the state of its void's attempt. A try that never left stays to be tried again."""
    state = AttemptState(attempt.state)
    if state is AttemptState.APPROVED:
        advance_payment(payment=payment, trigger=PaymentTrigger.VOID_CONFIRMED, chronicle=chronicle)
        payment.released_minor = payment.authorized_minor
        release_reservation(payment=payment, amount_minor=payment.authorized_minor, cause="voided", chronicle=chronicle)
        chronicle.announce_payment("payment.voided", payment)
    elif state is AttemptState.DECLINED or (state is AttemptState.FAILED and _given_up(attempt)):
        advance_payment(payment=payment, trigger=PaymentTrigger.VOID_REFUSED, chronicle=chronicle)
        chronicle.announce_payment("payment.void_failed", payment)
    else:
        return
    store_payment(payment=payment, chronicle=chronicle)


def _given_up(attempt: Attempt) -> bool:
    return attempt.verdict != "provider_fault" or attempt.number >= MAX_VOID_TRIES
