"""POST /payments: one key, one payment, one charge.

TX 1 claims the key, judges policy, plans the route, reserves in the ledger, and commits the payment with its first
attempt as sent. Only then is the provider called. A repeat of the key never comes this far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import IntegrityError, transaction

from ledger.services import post_journal
from payments import postings
from payments.models import Attempt, Customer, Payment, RuntimeStep
from payments.policy import PolicyFacts, Verdict, first_refusal, judge
from payments.selectors import payment_by_id
from payments.services.attempts import open_attempt
from payments.services.chronicle import Chronicle
from payments.services.execution import run_authorization
from payments.states import REFERENCE_FREE_STATES, PaymentState
from payments.types import NewPayment, RuntimeStage
from routing.services import plan_route, record_decision
from routing.types import Operation, RoutePlan, RouteRequest
from zentra.core.errors import Conflict
from zentra.core.ids import new_id, public_id
from zentra.evidence.types import RequestContext
from zentra.idempotency.services import claim_key, finish_claim
from zentra.idempotency.types import Answer, Answerer, RequestKey
from zentra.tenancy.selectors import WorkspaceTerms, merchant_for_payment, terms_of
from zentra.tenancy.types import Actor

if TYPE_CHECKING:
    from zentra.tenancy.models import Merchant

NO_ROUTE = "no_route_available"


class ReferenceInUse(Conflict):
    code = "reference_in_use"
    summary = "Another live payment of this workspace has this reference."
    remedy = "Use a reference of its own for every payment; repeat with the same idempotency key to repeat."


@dataclass(frozen=True, slots=True)
class _Opened:
    """What TX 1 came to: an answer, or an attempt to carry out."""

    answer: Answer | None = None
    attempt: Attempt | None = None


def create_payment(
    *,
    workspace_id: UUID,
    new: NewPayment,
    key: RequestKey,
    actor: Actor,
    context: RequestContext,
    answer: Answerer,
) -> Answer:
    """Take a payment in and authorize it within the request.

    A repeat with the same key is answered from the first payment: byte for byte once its outcome is known, with its
    present state (202) until then.

    :param answer: renders the payment for the client
    :raises KeyReused: the key came with another request before
    :raises KeyInProgress: the first request with the key has not committed yet
    :raises MerchantUnknown: no such active merchant
    :raises ReferenceInUse: another live payment has the reference; nothing is written
    """
    opened = _open(workspace_id=workspace_id, new=new, key=key, actor=actor, context=context, answer=answer)
    if opened.attempt is None:
        return opened.answer  # type: ignore[return-value]  # one of the two is always there
    answered = run_authorization(attempt=opened.attempt, actor=actor, context=context, answer=answer)
    return answered or answer(payment_by_id(workspace_id, opened.attempt.payment_id))


def _open(
    *,
    workspace_id: UUID,
    new: NewPayment,
    key: RequestKey,
    actor: Actor,
    context: RequestContext,
    answer: Answerer,
) -> _Opened:
    try:
        return _open_in_transaction(
            workspace_id=workspace_id, new=new, key=key, actor=actor, context=context, answer=answer
        )
    except IntegrityError as error:
        if "payment_reference_once" not in str(error):
            raise
        holder = Payment.objects.filter(workspace_id=workspace_id, reference=new.reference).exclude(
            state__in=REFERENCE_FREE_STATES
        )
        details = {"payment_id": holder[0].public_id} if holder else {}
        raise ReferenceInUse(field="reference", details=details) from None


@transaction.atomic(durable=True)
def _open_in_transaction(
    *,
    workspace_id: UUID,
    new: NewPayment,
    key: RequestKey,
    actor: Actor,
    context: RequestContext,
    answer: Answerer,
) -> _Opened:
    terms, payment_id = terms_of(workspace_id), new_id()
    claim = claim_key(workspace_id=workspace_id, key=key, resource_id=payment_id, clock=terms.clock)
    if not claim.fresh:
        return _Opened(answer=claim.answer or _present(workspace_id, claim.resource, claim.id, answer, terms))
    accepted_at = terms.clock.now()
    merchant = merchant_for_payment(workspace_id, new.merchant_id)
    verdicts = judge(
        PolicyFacts(
            amount_minor=new.amount_minor,
            limit_minor=terms.payment_limit_minor,
            environment=terms.environment,
            payment_token_id=new.payment_token_id,
        )
    )
    controlled_at = terms.clock.now()
    refusal = first_refusal(verdicts)
    plan = None if refusal else _plan(terms, new, merchant, payment_id)
    refused_with = refusal.reason if refusal else "" if plan and plan.chosen else NO_ROUTE
    chronicle = Chronicle(terms=terms, actor=actor, context=context)
    payment = _write(payment_id, claim.id, new, merchant, verdicts, refused_with, chronicle)
    attempt = None
    stages = {RuntimeStage.ACCEPTED: accepted_at, RuntimeStage.CONTROLLED: controlled_at}
    if plan is not None:
        attempt = _reserve_and_route(payment, plan, chronicle, stages)
    chronicle.announce_payment("payment.created", payment)
    if attempt is None:
        chronicle.announce_payment("payment.rejected", payment)
    chronicle.write()
    _write_stages(payment, stages, terms)
    if attempt is not None:
        return _Opened(attempt=attempt)
    return _Opened(answer=finish_claim(claim_id=claim.id, answer=answer(payment), clock=terms.clock))


def _present(workspace_id: UUID, payment_id: UUID, claim_id: int, answer: Answerer, terms: WorkspaceTerms) -> Answer:
    """The present state of the payment behind a key; the answer is kept as soon as it is final."""
    return finish_claim(claim_id=claim_id, answer=answer(payment_by_id(workspace_id, payment_id)), clock=terms.clock)


def _plan(terms: WorkspaceTerms, new: NewPayment, merchant: Merchant, payment_id: UUID) -> RoutePlan:
    request = RouteRequest(
        workspace_id=terms.workspace_id,
        environment=terms.environment,
        amount_minor=new.amount_minor,
        currency=new.currency,
        method="card",
        merchant_id=merchant.id,
        capture_method=new.capture_method.value,
    )
    return plan_route(request=request, seed=str(payment_id), clock=terms.clock)


def _write(
    payment_id: UUID,
    claim_id: int,
    new: NewPayment,
    merchant: Merchant,
    verdicts: Sequence[Verdict],
    refused_with: str,
    chronicle: Chronicle,
) -> Payment:
    """The payment's row, and the evidence that it was accepted or refused by policy."""
    now = chronicle.terms.clock.now()
    state = PaymentState.REJECTED if refused_with else PaymentState.PROCESSING
    payment = Payment.objects.create(
        id=payment_id,
        workspace_id=chronicle.terms.workspace_id,
        merchant=merchant,
        customer=_customer(new.customer_id, chronicle),
        claim_id=claim_id,
        reference=new.reference or public_id("pay", payment_id),
        currency=new.currency,
        capture_mode=new.capture_mode,
        capture_method=new.capture_method,
        payment_token_id=new.payment_token_id,
        allow_partial=new.allow_partial,
        metadata=new.metadata,
        state=state,
        decline_code=refused_with,
        policy=[verdict.name for verdict in verdicts],
        amount_minor=new.amount_minor,
        created_at=now,
        updated_at=now,
    )
    chronicle.record(
        "payment.created",
        payment.public_id,
        payment_id=payment.id,
        after=state,
        policy=payment.policy,
        data={
            "amount_minor": new.amount_minor,
            "currency": new.currency,
            "merchant": merchant.public_id,
            "refused_with": refused_with,
        },
    )
    return payment


def _customer(reference: str, chronicle: Chronicle) -> Customer | None:
    """The customer of this reference, made on first use."""
    if not reference:
        return None
    customer, _ = Customer.objects.get_or_create(
        workspace_id=chronicle.terms.workspace_id,
        reference=reference,
        defaults={"created_at": chronicle.terms.clock.now()},
    )
    return customer


def _reserve_and_route(
    payment: Payment, plan: RoutePlan, chronicle: Chronicle, stages: dict[RuntimeStage, datetime]
) -> Attempt | None:
    """Reserve in the ledger, store the decision, open the first attempt. Without a route nothing is reserved."""
    clock = chronicle.terms.clock
    if plan.chosen is not None:
        posting = postings.reservation(payment, chronicle.terms.today)
        posted = post_journal(workspace_id=payment.workspace_id, posting=posting, clock=clock)
        stages[RuntimeStage.LEDGERED] = clock.now()
        chronicle.record(
            "payment.reserved",
            payment.public_id,
            payment_id=payment.id,
            journal_ids=[posted.id],
            data={"amount_minor": payment.amount_minor, "currency": payment.currency},
        )
    decision = record_decision(payment_id=payment.id, plan=plan)
    chronicle.record(
        "route.decided",
        decision.public_id,
        payment_id=payment.id,
        after=public_id("pac", plan.chosen.account_id) if plan.chosen else "",
        data={"candidates": len(plan.candidates), "ruleset": plan.ruleset_fingerprint},
    )
    if plan.chosen is None:
        return None
    stages[RuntimeStage.ROUTED] = clock.now()
    return open_attempt(
        payment=payment,
        operation=Operation.AUTHORIZE,
        provider_account_id=plan.chosen.account_id,
        amount_minor=payment.amount_minor,
        chronicle=chronicle,
    )


def _write_stages(payment: Payment, stages: dict[RuntimeStage, datetime], terms: WorkspaceTerms) -> None:
    """The runtime's stages with their times: events and evidence were written last, in this transaction."""
    now = terms.clock.now()
    stages[RuntimeStage.SYNCHRONIZED] = now
    stages[RuntimeStage.EVIDENCED] = now
    RuntimeStep.objects.bulk_create([RuntimeStep(payment=payment, stage=stage, at=at) for stage, at in stages.items()])
