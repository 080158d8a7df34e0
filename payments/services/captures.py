"""Captures: recorded in the request or with the approval, carried out by a worker, booked when confirmed."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import Max, QuerySet

from ledger.services import post_journal
from payments import postings
from payments.events import capture_data
from payments.models import Attempt, Capture, Payment
from payments.services.attempts import open_attempt
from payments.services.chronicle import Chronicle
from payments.services.retries import may_try_again, put_back
from payments.services.settling import announce_settled
from payments.services.transitions import lock_payment, store_payment
from payments.states import AttemptState, OperationState, OperationTrigger, PaymentState, next_operation_state
from routing.types import Operation
from zentra.core.errors import Conflict
from zentra.core.ids import new_id
from zentra.core.jobs import enqueue_on_commit
from zentra.core.transitions import IllegalTransition
from zentra.evidence.types import RequestContext
from zentra.idempotency.services import claim_key, finish_claim
from zentra.idempotency.types import Answer, Answerer, RequestKey
from zentra.tenancy.selectors import terms_of
from zentra.tenancy.types import Actor


class CaptureExceedsAuthorized(Conflict):
    code = "capture_exceeds_authorized"
    summary = "The capture is more than what is left of the authorization."
    remedy = "Capture at most `details.capturable_minor`."


class PaymentNotCapturable(Conflict):
    code = "payment_not_capturable"
    summary = "Only an authorized payment can be captured, and nothing beside or after its final capture."
    remedy = "Read the payment and its captures; capture once its status is authorized."


@transaction.atomic(durable=True)
def request_capture(
    *,
    workspace_id: UUID,
    payment_id: UUID,
    amount_minor: int | None,
    final: bool,
    key: RequestKey,
    actor: Actor,
    context: RequestContext,
    answer: Answerer,
) -> Answer:
    """Record a capture and queue it; no money moves here.

    :param amount_minor: minor units of the payment's currency; None for all that is left
    :param answer: renders the capture for the merchant; its bytes are kept under the key
    :raises PaymentNotFound: this workspace has no such payment
    :raises PaymentNotCapturable: the payment is not authorized, or has its final capture
    :raises CaptureExceedsAuthorized: more than is left; nothing is written
    :raises KeyReused: the key came with another request before
    """
    terms = terms_of(workspace_id)
    capture_id = new_id()
    claim = claim_key(workspace_id=workspace_id, key=key, resource_id=capture_id, clock=terms.clock)
    if not claim.fresh:
        return claim.answer or answer(Capture.objects.get(id=claim.resource))
    payment = lock_payment(workspace_id=workspace_id, payment_id=payment_id)
    if payment.state != PaymentState.AUTHORIZED:
        raise PaymentNotCapturable(f"the payment is {payment.status}", details={"status": payment.status})
    if _final_capture(payment).exists():
        raise PaymentNotCapturable("the payment has its final capture", details={"status": payment.status})
    left = payment.amounts.capturable
    wanted = left if amount_minor is None else amount_minor
    if not 0 < wanted <= left:
        raise CaptureExceedsAuthorized(field="amount_minor", details={"capturable_minor": left})
    chronicle = Chronicle(terms=terms, actor=actor, context=context)
    capture = record_capture(
        payment=payment, amount_minor=wanted, final=final, chronicle=chronicle, capture_id=capture_id
    )
    store_payment(payment=payment, chronicle=chronicle)
    chronicle.write()
    return finish_claim(claim_id=claim.id, answer=answer(capture), clock=terms.clock)


def _final_capture(payment: Payment) -> QuerySet[Capture]:
    """The capture that ends, or is about to end, the authorization; none when it was refused."""
    return Capture.objects.filter(payment=payment, final=True).exclude(state=OperationState.FAILED)


def record_capture(
    *, payment: Payment, amount_minor: int, final: bool, chronicle: Chronicle, capture_id: UUID | None = None
) -> Capture:
    """Write a pending capture of a locked payment and hint a worker; the caller stores the payment's totals."""
    last = Capture.objects.filter(payment=payment).aggregate(last=Max("number"))["last"] or 0
    now = chronicle.terms.clock.now()
    capture = Capture.objects.create(
        id=capture_id or new_id(),
        workspace_id=payment.workspace_id,
        payment=payment,
        number=last + 1,
        amount_minor=amount_minor,
        currency=payment.currency,
        final=final,
        state=OperationState.PENDING,
        created_at=now,
        due_at=now,
    )
    payment.capturing_minor += amount_minor
    chronicle.record(
        "capture.created",
        capture.public_id,
        payment_id=payment.id,
        after=capture.state,
        data={"amount_minor": amount_minor, "currency": capture.currency, "final": final},
    )
    enqueue_on_commit("payments.run_capture", workspace_id=str(payment.workspace_id), capture_id=str(capture.id))
    return capture


@transaction.atomic(durable=True)
def start_capture(*, workspace_id: UUID, capture_id: UUID) -> Attempt | None:
    """Commit a capture as sent. None when another worker has it, or it is done."""
    row = Capture.objects.filter(workspace_id=workspace_id, id=capture_id).first()
    if row is None:
        return None
    payment = lock_payment(workspace_id=workspace_id, payment_id=row.payment_id)
    capture = Capture.objects.select_for_update().get(id=capture_id)
    try:
        state = next_operation_state(OperationState(capture.state), OperationTrigger.SENT)
    except IllegalTransition:
        return None
    chronicle = Chronicle(terms=terms_of(workspace_id))
    authorization = Attempt.objects.get(payment=payment, operation=Operation.AUTHORIZE, state=AttemptState.APPROVED)
    attempt = open_attempt(
        payment=payment,
        operation=Operation.CAPTURE,
        provider_account_id=authorization.provider_account_id,
        amount_minor=capture.amount_minor,
        capture=capture,
        chronicle=chronicle,
    )
    chronicle.record("capture.sent", capture.public_id, payment_id=payment.id, before=capture.state, after=state)
    capture.state = state
    capture.save(update_fields=["state"])
    chronicle.write()
    return attempt


def apply_capture(*, payment: Payment, attempt: Attempt, chronicle: Chronicle) -> None:
    """Move a capture of a locked payment by its attempt's state, and book it when the provider confirmed."""
    capture = Capture.objects.select_for_update().get(payment=payment, id=attempt.capture_id)  # type: ignore[misc]
    state = AttemptState(attempt.state)
    if state is AttemptState.APPROVED:
        _confirmed(payment, capture, attempt, chronicle)
    elif state is AttemptState.FAILED and may_try_again(capture, attempt=attempt):
        put_back(capture, attempt=attempt, chronicle=chronicle)
    elif state in (AttemptState.DECLINED, AttemptState.FAILED):
        _refused(payment, capture, attempt, chronicle)


def _confirmed(payment: Payment, capture: Capture, attempt: Attempt, chronicle: Chronicle) -> None:
    now = chronicle.terms.clock.now()
    capture.state = next_operation_state(OperationState(capture.state), OperationTrigger.CONFIRMED)
    capture.succeeded_at, capture.pending_minor = now, capture.amount_minor
    capture.save(update_fields=["state", "succeeded_at", "pending_minor"])
    payment.capturing_minor -= capture.amount_minor
    payment.captured_minor += capture.amount_minor
    posting = postings.capture_confirmed(payment, capture, attempt.provider_account_id, chronicle.terms.today)
    posted = post_journal(workspace_id=payment.workspace_id, posting=posting, clock=chronicle.terms.clock)
    chronicle.record(
        "capture.succeeded",
        capture.public_id,
        payment_id=payment.id,
        before=OperationState.PROCESSING,
        after=capture.state,
        journal_ids=[posted.id],
        data={"amount_minor": capture.amount_minor, "provider_reference": attempt.provider_reference},
    )
    if capture.final:
        _release_rest(payment, chronicle, cause=f"final:{capture.id}")
    chronicle.announce("capture.succeeded", "capture", capture.public_id, capture_data(capture, payment.public_id))
    store_payment(payment=payment, chronicle=chronicle)
    chronicle.announce_payment("payment.captured", payment)


def _release_rest(payment: Payment, chronicle: Chronicle, *, cause: str) -> None:
    """A final capture ends the authorization: what is left of it is given back in the books.

    :param cause: names the one event that releases, for the ledger
    """
    rest = payment.amounts.capturable
    if rest <= 0:
        return
    payment.released_minor += rest
    posting = postings.reservation_released(payment, rest, chronicle.terms.today, cause=cause)
    posted = post_journal(workspace_id=payment.workspace_id, posting=posting, clock=chronicle.terms.clock)
    chronicle.record(
        "reservation.released",
        payment.public_id,
        payment_id=payment.id,
        journal_ids=[posted.id],
        data={"amount_minor": rest, "cause": "final_capture"},
    )


def _refused(payment: Payment, capture: Capture, attempt: Attempt, chronicle: Chronicle) -> None:
    capture.state = next_operation_state(OperationState(capture.state), OperationTrigger.REFUSED)
    capture.failure_code = attempt.code
    capture.save(update_fields=["state", "failure_code"])
    payment.capturing_minor -= capture.amount_minor
    if _final_capture(payment).filter(state=OperationState.SUCCEEDED).exists():
        # The final capture overtook this one, so this one's part can never be captured any more.
        _release_rest(payment, chronicle, cause=f"refused:{capture.id}")
    store_payment(payment=payment, chronicle=chronicle)
    chronicle.record(
        "capture.failed",
        capture.public_id,
        payment_id=payment.id,
        before=OperationState.PROCESSING,
        after=capture.state,
        data={"code": attempt.code},
    )
    chronicle.announce("capture.failed", "capture", capture.public_id, capture_data(capture, payment.public_id))
    announce_settled([payment], chronicle=chronicle)
