"""Refunds: taken from the books in the request, carried out by a worker, given back exactly if the provider refuses."""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Max

from ledger.selectors import balance_of
from ledger.services import lock_available, post_journal
from payments import postings
from payments.events import refund_data
from payments.models import Attempt, Capture, Payment, Refund
from payments.selectors import payment_by_reference
from payments.services.attempts import open_attempt
from payments.services.chronicle import Chronicle
from payments.services.retries import may_try_again, put_back
from payments.services.transitions import lock_payment, store_payment
from payments.states import AttemptState, OperationState, OperationTrigger, next_operation_state
from routing.types import Operation
from zentra.core.errors import Conflict
from zentra.core.ids import new_id, public_id
from zentra.core.jobs import enqueue_on_commit
from zentra.core.transitions import IllegalTransition
from zentra.evidence.types import RequestContext
from zentra.idempotency.services import claim_key, finish_claim
from zentra.idempotency.types import Answer, Answerer, RequestKey
from zentra.tenancy.selectors import terms_of
from zentra.tenancy.types import Actor


class RefundExceedsPayment(Conflict):
    code = "refund_exceeds_payment"
    summary = "The refund is more than what is left of the captured amount."
    remedy = "Refund at most `details.refundable_minor`."


class RefundReferenceInUse(Conflict):
    code = "refund_reference_in_use"
    summary = "Another refund of this workspace has this reference."
    remedy = "Use a reference of its own for every refund; repeat with the same idempotency key to repeat."


@transaction.atomic(durable=True)
def request_refund(
    *,
    workspace_id: UUID,
    charge_reference: str,
    amount_minor: int | None,
    reference: str,
    reason: str,
    key: RequestKey,
    actor: Actor,
    context: RequestContext,
    answer: Answerer,
) -> Answer:
    """Record a refund, take it from the merchant's money and queue it; the provider is not called here.

    :param charge_reference: the payment's reference or id
    :param amount_minor: minor units of the payment's currency; None for all that is left
    :param reference: the merchant's own, '' to take the refund's id
    :raises PaymentNotFound: this workspace has no such payment
    :raises RefundExceedsPayment: more than is left to give back; nothing is written
    :raises RefundReferenceInUse: another refund has the reference
    :raises KeyReused: the key came with another request before
    """
    terms = terms_of(workspace_id)
    refund_id = new_id()
    claim = claim_key(workspace_id=workspace_id, key=key, resource_id=refund_id, clock=terms.clock)
    if not claim.fresh:
        return claim.answer or answer(Refund.objects.select_related("payment").get(id=claim.resource))
    found = payment_by_reference(workspace_id, charge_reference)
    payment = lock_payment(workspace_id=workspace_id, payment_id=found.id)
    left = payment.amounts.refundable
    wanted = left if amount_minor is None else amount_minor
    if not 0 < wanted <= left:
        raise RefundExceedsPayment(field="amount_minor", details={"refundable_minor": left})
    own = reference or public_id("re", refund_id)
    if Refund.objects.filter(workspace_id=workspace_id, reference=own).exclude(state=OperationState.FAILED).exists():
        raise RefundReferenceInUse(field="reference")
    chronicle = Chronicle(terms=terms, actor=actor, context=context)
    try:
        refund = _record(payment, refund_id, wanted, own, reason, claim.id, chronicle)
    except IntegrityError as error:
        # Another payment's refund took the reference between the question and the row.
        if "refund_reference_once" not in str(error):
            raise
        raise RefundReferenceInUse(field="reference") from None
    store_payment(payment=payment, chronicle=chronicle)
    chronicle.announce("refund.created", "refund", refund.public_id, refund_data(refund, payment))
    chronicle.write()
    return finish_claim(claim_id=claim.id, answer=answer(refund), clock=terms.clock)


def _record(
    payment: Payment, refund_id: UUID, amount: int, reference: str, reason: str, claim_id: int, chronicle: Chronicle
) -> Refund:
    """Write the refund of a locked payment with its sources, book it, and hint a worker."""
    number = (Refund.objects.filter(payment=payment).aggregate(last=Max("number"))["last"] or 0) + 1
    taken = _take_pending(payment, amount)
    from_pending = sum(minor for _, minor in taken)
    from_available = _available(payment, amount - from_pending)
    now = chronicle.terms.clock.now()
    refund = Refund.objects.create(
        id=refund_id,
        workspace_id=payment.workspace_id,
        payment=payment,
        number=number,
        amount_minor=amount,
        currency=payment.currency,
        state=OperationState.PENDING,
        reference=reference,
        reason=reason,
        claim_id=claim_id,
        from_pending_minor=from_pending,
        from_available_minor=from_available,
        from_receivable_minor=amount - from_pending - from_available,
        pending_taken=[[str(capture_id), minor] for capture_id, minor in taken],
        created_at=now,
        due_at=now,
    )
    payment.refunding_minor += amount
    posting = postings.refund_requested(payment, refund, _provider_account_id(payment), chronicle.terms.today)
    posted = post_journal(workspace_id=payment.workspace_id, posting=posting, clock=chronicle.terms.clock)
    chronicle.record(
        "refund.created",
        refund.public_id,
        payment_id=payment.id,
        after=refund.state,
        journal_ids=[posted.id],
        data={"amount_minor": amount, "currency": refund.currency},
    )
    enqueue_on_commit("payments.run_refund", workspace_id=str(payment.workspace_id), refund_id=str(refund.id))
    return refund


def _take_pending(payment: Payment, amount: int) -> list[tuple[UUID, int]]:
    """Use up this payment's own pending money, oldest capture first; never another payment's."""
    taken, left = [], amount
    captures = Capture.objects.select_for_update().filter(payment=payment, pending_minor__gt=0).order_by("number")
    for capture in captures:
        minor = min(left, capture.pending_minor)
        if minor == 0:
            break
        capture.pending_minor -= minor
        capture.save(update_fields=["pending_minor"])
        taken.append((capture.id, minor))
        left -= minor
    return taken


def _available(payment: Payment, wanted: int) -> int:
    """How much of the rest the merchant's available money covers; locked until the refund is booked."""
    if wanted == 0:
        return 0
    account = postings.merchant_account("2020", payment.merchant_id)
    posted = lock_available(workspace_id=payment.workspace_id, account=account, currency=payment.currency)
    return min(wanted, max(0, -posted))


def _provider_account_id(payment: Payment) -> UUID:
    """The account that authorized the payment: its refunds and captures go there too."""
    return Attempt.objects.values_list("provider_account_id", flat=True).get(
        payment=payment, operation=Operation.AUTHORIZE, state=AttemptState.APPROVED
    )


@transaction.atomic(durable=True)
def start_refund(*, workspace_id: UUID, refund_id: UUID) -> Attempt | None:
    """Commit a refund as sent. None when another worker has it, or it is done."""
    row = Refund.objects.filter(workspace_id=workspace_id, id=refund_id).first()
    if row is None:
        return None
    payment = lock_payment(workspace_id=workspace_id, payment_id=row.payment_id)
    refund = Refund.objects.select_for_update().get(id=refund_id)
    try:
        state = next_operation_state(OperationState(refund.state), OperationTrigger.SENT)
    except IllegalTransition:
        return None
    chronicle = Chronicle(terms=terms_of(workspace_id))
    attempt = open_attempt(
        payment=payment,
        operation=Operation.REFUND,
        provider_account_id=_provider_account_id(payment),
        amount_minor=refund.amount_minor,
        refund=refund,
        chronicle=chronicle,
    )
    chronicle.record("refund.sent", refund.public_id, payment_id=payment.id, before=refund.state, after=state)
    refund.state = state
    refund.save(update_fields=["state"])
    chronicle.write()
    return attempt


def apply_refund(*, payment: Payment, attempt: Attempt, chronicle: Chronicle) -> None:
    """Move a refund of a locked payment by its attempt's state."""
    refund = Refund.objects.select_for_update().get(payment=payment, id=attempt.refund_id)  # type: ignore[misc]
    state = AttemptState(attempt.state)
    if state is AttemptState.APPROVED:
        _confirmed(payment, refund, attempt, chronicle)
    elif state is AttemptState.FAILED and may_try_again(refund, attempt=attempt):
        put_back(refund, attempt=attempt, chronicle=chronicle)
    elif state in (AttemptState.DECLINED, AttemptState.FAILED):
        _refused(payment, refund, attempt, chronicle)


def _confirmed(payment: Payment, refund: Refund, attempt: Attempt, chronicle: Chronicle) -> None:
    refund.state = next_operation_state(OperationState(refund.state), OperationTrigger.CONFIRMED)
    refund.succeeded_at = chronicle.terms.clock.now()
    refund.save(update_fields=["state", "succeeded_at"])
    payment.refunding_minor -= refund.amount_minor
    payment.refunded_minor += refund.amount_minor
    store_payment(payment=payment, chronicle=chronicle)
    chronicle.record(
        "refund.posted",
        refund.public_id,
        payment_id=payment.id,
        before=OperationState.PROCESSING,
        after=refund.state,
        data={"amount_minor": refund.amount_minor, "provider_reference": attempt.provider_reference},
    )
    chronicle.announce("refund.posted", "refund", refund.public_id, refund_data(refund, payment))


def _refused(payment: Payment, refund: Refund, attempt: Attempt, chronicle: Chronicle) -> None:
    """Give everything back; pending that was taken from a capture settled since becomes available money."""
    refund.state = next_operation_state(OperationState(refund.state), OperationTrigger.REFUSED)
    refund.failure_code = attempt.code
    refund.save(update_fields=["state", "failure_code"])
    payment.refunding_minor -= refund.amount_minor
    store_payment(payment=payment, chronicle=chronicle)
    settled_since = _restore_pending(refund)
    posting = postings.refund_failed(
        payment,
        refund,
        attempt.provider_account_id,
        chronicle.terms.today,
        settled_since_minor=settled_since,
        still_owed_minor=_still_owed(payment, refund),
    )
    posted = post_journal(workspace_id=payment.workspace_id, posting=posting, clock=chronicle.terms.clock)
    chronicle.record(
        "refund.failed",
        refund.public_id,
        payment_id=payment.id,
        before=OperationState.PROCESSING,
        after=refund.state,
        journal_ids=[posted.id],
        data={"code": attempt.code},
    )
    chronicle.announce("refund.failed", "refund", refund.public_id, refund_data(refund, payment))


def _still_owed(payment: Payment, refund: Refund) -> int:
    """What of the debt that a refund made the merchant still owes: settlements may have repaid it since."""
    if refund.from_receivable_minor == 0:
        return 0
    # Whoever repays a debt locks 2020 first, so what is read of 1200 under this lock is what is booked against.
    available = postings.merchant_account("2020", payment.merchant_id)
    lock_available(workspace_id=payment.workspace_id, account=available, currency=payment.currency)
    debt = postings.merchant_account("1200", payment.merchant_id)
    return min(refund.from_receivable_minor, max(0, balance_of(payment.workspace_id, debt, payment.currency)))


def _restore_pending(refund: Refund) -> int:
    """Put the taken pending back on captures that still wait for their line; returns what belongs to the others.

    A capture waits no more when it has a line, or when the case about its missing line was closed.
    """
    settled_since = 0
    for capture_id, minor in refund.pending_taken:
        capture = Capture.objects.select_for_update().get(id=capture_id)
        if capture.settled_minor or capture.settled_at:
            settled_since += minor
        else:
            capture.pending_minor += minor
            capture.save(update_fields=["pending_minor"])
    return settled_since
