"""Open, call, record: the same three steps for every operation, with no transaction open across the network."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from payments.models import Attempt, Payment
from payments.services import attempts, captures, refunds, voids
from payments.services.authorizations import apply_authorization
from payments.services.chronicle import Chronicle
from payments.services.transitions import lock_payment
from payments.states import AttemptState
from routing.types import Operation, ProviderResult
from zentra.core.transitions import IllegalTransition
from zentra.evidence.types import RequestContext
from zentra.idempotency.services import finish_claim
from zentra.idempotency.types import Answer, Answerer
from zentra.tenancy.selectors import terms_of
from zentra.tenancy.types import RUNTIME, Actor


@dataclass(frozen=True, slots=True)
class Recorded:
    """What recording an answer led to: another attempt to carry out, or the answer for the client if one was asked."""

    following: Attempt | None = None
    answer: Answer | None = None
    #: 'applied', 'nothing_to_do', or 'contradicts_decision': the attempt is decided, and this says otherwise.
    outcome: str = "applied"


def run_authorization(
    *, attempt: Attempt, actor: Actor, context: RequestContext, answer: Answerer | None = None
) -> Answer | None:
    """Carry an authorization out, and each one that it fails over to. Ends: every attempt has another account."""
    while True:
        result = attempts.call(attempt)
        recorded = record_outcome(
            workspace_id=attempt.workspace_id,
            attempt_id=attempt.id,
            result=result,
            via="answer",
            actor=actor,
            context=context,
            answer=answer,
        )
        if recorded.following is None:
            return recorded.answer
        attempt = recorded.following


def run_capture(*, workspace_id: UUID, capture_id: UUID) -> None:
    """Carry a pending capture out. Does nothing when another worker has it; safe to run twice."""
    attempt = captures.start_capture(workspace_id=workspace_id, capture_id=capture_id)
    _run(attempt)


def run_refund(*, workspace_id: UUID, refund_id: UUID) -> None:
    """Carry a pending refund out. Does nothing when another worker has it; safe to run twice."""
    attempt = refunds.start_refund(workspace_id=workspace_id, refund_id=refund_id)
    _run(attempt)


def run_void(*, workspace_id: UUID, payment_id: UUID) -> None:
    """Carry a requested void out. Does nothing when another worker has it; safe to run twice."""
    attempt = voids.start_void(workspace_id=workspace_id, payment_id=payment_id)
    _run(attempt)


def _run(attempt: Attempt | None) -> None:
    if attempt is None:
        return
    result = attempts.call(attempt)
    record_outcome(workspace_id=attempt.workspace_id, attempt_id=attempt.id, result=result, via="answer")


@transaction.atomic(durable=True)
def record_outcome(
    *,
    workspace_id: UUID,
    attempt_id: UUID,
    result: ProviderResult,
    via: str,
    actor: Actor = RUNTIME,
    context: RequestContext | None = None,
    answer: Answerer | None = None,
) -> Recorded:
    """Write what is known of an attempt and everything that follows from it, whole or not at all.

    A fact about an attempt that is decided already changes nothing: the first decision stands. An approval of what was
    taken for refused is put before a person.

    :param via: how it became known; see `attempts.answer_attempt`
    :param answer: renders the payment for the waiting client; a final answer is kept under the payment's key
    """
    payment_id = Attempt.objects.values_list("payment_id", flat=True).get(workspace_id=workspace_id, id=attempt_id)
    payment = lock_payment(workspace_id=workspace_id, payment_id=payment_id)
    attempt = Attempt.objects.select_related("capture", "refund").get(id=attempt_id)
    attempt.payment = payment
    chronicle = Chronicle(terms=terms_of(workspace_id), actor=actor, context=context or RequestContext())
    following, outcome = _record(payment, attempt, result, via, chronicle)
    chronicle.write()
    if following is not None or answer is None:
        return Recorded(following=following, outcome=outcome)
    rendered = answer(payment)
    if payment.claim_id is not None:
        rendered = finish_claim(claim_id=payment.claim_id, answer=rendered, clock=chronicle.terms.clock)
    return Recorded(answer=rendered, outcome=outcome)


def _record(
    payment: Payment, attempt: Attempt, result: ProviderResult, via: str, chronicle: Chronicle
) -> tuple[Attempt | None, str]:
    before = AttemptState(attempt.state)
    try:
        after = attempts.answer_attempt(attempt=attempt, result=result, via=via, chronicle=chronicle)
    except IllegalTransition:
        contradicted = attempts.contradict(attempt=attempt, result=result, via=via, chronicle=chronicle)
        return None, "contradicts_decision" if contradicted else "nothing_to_do"
    if after is before:
        return None, "applied"
    if attempt.operation == Operation.AUTHORIZE:
        following = apply_authorization(payment=payment, attempt=attempt, result=result, via=via, chronicle=chronicle)
        return following, "applied"
    if attempt.operation == Operation.CAPTURE:
        captures.apply_capture(payment=payment, attempt=attempt, chronicle=chronicle)
    elif attempt.operation == Operation.REFUND:
        refunds.apply_refund(payment=payment, attempt=attempt, chronicle=chronicle)
    else:
        voids.apply_void(payment=payment, attempt=attempt, chronicle=chronicle)
    return None, "applied"
