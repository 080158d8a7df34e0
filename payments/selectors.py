"""Reads of payments; the workspace comes first, always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet

from ledger.selectors import entries_of_payment
from payments.events import capture_data, payment_data, refund_data
from payments.models import Attempt, Capture, Payment, Refund, RuntimeStep
from payments.states import REFERENCE_FREE_STATES, UNRESOLVED_ATTEMPTS, OperationState, PaymentState
from routing.selectors import candidates_of, decisions_of_payment, shown_candidates
from routing.types import Operation
from webhooks.selectors import events_of_objects
from zentra.core.clock import iso_utc
from zentra.core.errors import NotFound
from zentra.core.ids import InvalidId, parse_public_id, public_id
from zentra.core.registries import trace_sections
from zentra.evidence.selectors import evidence_of_payment

if TYPE_CHECKING:
    from routing.models import RoutingDecision


#: How many attempts, captures and refunds of one payment a trace shows.
MAX_TRACED: Final = 200
#: How many rows a figure of the console is counted from at most.
MAX_COUNTED: Final = 10_000


class PaymentNotFound(NotFound):
    code = "payment_not_found"
    summary = "No such payment exists in this workspace."


class RefundNotFound(NotFound):
    code = "refund_not_found"
    summary = "No such refund exists in this workspace."


def payments_of(workspace_id: UUID) -> QuerySet[Payment]:
    """The payments of a workspace, newest first."""
    return Payment.objects.filter(workspace_id=workspace_id).select_related("customer").order_by("-id")


def payment_by_id(workspace_id: UUID, payment_id: UUID) -> Payment:
    """:raises PaymentNotFound:"""
    found = payments_of(workspace_id).filter(id=payment_id).first()
    if found is None:
        raise PaymentNotFound
    return found


def payment_by_reference(workspace_id: UUID, text: str) -> Payment:
    """By id ('pay_…') or by the merchant's reference: the live payment of that reference, or its newest.

    :raises PaymentNotFound:
    """
    rows = payments_of(workspace_id)
    try:
        return payment_by_id(workspace_id, parse_public_id("pay", text))
    except (InvalidId, PaymentNotFound):
        named = list(rows.filter(reference=text)[:100])
    if not named:
        raise PaymentNotFound
    live = [payment for payment in named if PaymentState(payment.state) not in REFERENCE_FREE_STATES]
    return (live or named)[0]


def predecessors_of(payment: Payment) -> list[str]:
    """Public ids of the other payments that had this reference, newest first, at most 100."""
    rows = payments_of(payment.workspace_id).filter(reference=payment.reference).exclude(id=payment.id)
    return [row.public_id for row in rows[:100]]


def outcome_unknown(payment: Payment) -> bool:
    """Whether the authorization was answered by nobody so far."""
    if payment.state != PaymentState.PROCESSING:
        return False
    return Attempt.objects.filter(
        payment=payment, operation=Operation.AUTHORIZE, state__in=[*UNRESOLVED_ATTEMPTS, "conflicted"]
    ).exists()


def unfinished_count() -> int:
    """How many operations of all workspaces still wait for a worker or for their outcome; a person's are left out."""
    waiting = [OperationState.PENDING, OperationState.PROCESSING]
    return (
        Attempt.objects.filter(state__in=UNRESOLVED_ATTEMPTS, needs_operator=False).count()
        + Capture.objects.filter(state__in=waiting).count()
        + Refund.objects.filter(state__in=waiting).count()
        + Payment.objects.filter(state=PaymentState.VOIDING).count()
    )


def captures_of(payment: Payment) -> QuerySet[Capture]:
    return Capture.objects.filter(payment=payment).order_by("number")


def refunds_of_workspace(workspace_id: UUID) -> QuerySet[Refund]:
    """The refunds of a workspace, newest first."""
    return (
        Refund.objects.filter(workspace_id=workspace_id).select_related("payment", "payment__customer").order_by("-id")
    )


def refund_by_reference(workspace_id: UUID, text: str) -> Refund:
    """By id ('re_…') or by reference, the newest. :raises RefundNotFound:"""
    rows = refunds_of_workspace(workspace_id)
    try:
        found = rows.filter(id=parse_public_id("re", text)).first()
    except InvalidId:
        found = None
    found = found or rows.filter(reference=text).first()
    if found is None:
        raise RefundNotFound
    return found


def attempts_in_doubt(workspace_ids: Collection[UUID] | None) -> QuerySet[Attempt]:
    """Attempts whose outcome nobody knows, those that wait for a person first, then the oldest.

    :param workspace_ids: None for every workspace, as a superuser sees them
    """
    rows = Attempt.objects.select_related("payment", "provider_account", "workspace").filter(
        Q(needs_operator=True) | Q(state__in=UNRESOLVED_ATTEMPTS)
    )
    rows = rows if workspace_ids is None else rows.filter(workspace_id__in=workspace_ids)
    return rows.order_by("-needs_operator", "sent_at", "id")


def newest_payments(workspace_ids: Collection[UUID] | None) -> QuerySet[Payment]:
    """Payments of several workspaces, newest first; None for every workspace."""
    rows = Payment.objects.select_related("customer", "workspace").order_by("-id")
    return rows if workspace_ids is None else rows.filter(workspace_id__in=workspace_ids)


def states_since(workspace_ids: Collection[UUID] | None, since: datetime) -> Counter[str]:
    """How many payments are in which state, of those made since a moment; of the newest MAX_COUNTED alone."""
    rows = newest_payments(workspace_ids).select_related(None).values_list("state", "created_at")
    return Counter(state for state, created_at in rows[:MAX_COUNTED] if created_at >= since)


def trace_of(workspace_id: UUID, payment_id: UUID) -> dict[str, Any]:
    """The whole story of one payment: state, route, attempts, ledger, events and deliveries, settlement, evidence.

    At most MAX_TRACED attempts, captures and refunds, the oldest ones.

    :raises PaymentNotFound:
    """
    payment = payment_by_id(workspace_id, payment_id)
    captures = list(captures_of(payment)[:MAX_TRACED])
    refunds = list(payment.refunds.order_by("number")[:MAX_TRACED])
    attempts = payment.attempts.select_related("provider_account").order_by("sent_at", "id")
    objects = [payment.public_id, *(row.public_id for row in captures), *(row.public_id for row in refunds)]
    return {
        "payment": payment_data(payment, outcome_unknown=outcome_unknown(payment)),
        "runtime": [
            {"stage": step.stage, "at": iso_utc(step.at)}
            for step in RuntimeStep.objects.filter(payment=payment).order_by("at", "id")
        ],
        "policy": payment.policy,
        "route": [decision_data(decision) for decision in decisions_of_payment(workspace_id, payment_id)],
        "attempts": [attempt_data(attempt) for attempt in attempts[:MAX_TRACED]],
        "captures": [capture_data(capture, payment.public_id) for capture in captures],
        "refunds": [refund_data(refund, payment) for refund in refunds],
        "ledger": [ledger_line(entry) for entry in entries_of_payment(workspace_id, payment_id)],
        "events": events_of_objects(workspace_id, objects),
        **trace_sections(workspace_id=workspace_id, payment_id=payment_id),
        "evidence": evidence_of_payment(workspace_id, payment_id),
    }


def ledger_line(entry: dict[str, Any]) -> dict[str, Any]:
    """A ledger entry as the trace shows it, under the product's account name and credit positive."""
    return {
        **entry,
        "effective_date": entry["effective_date"].isoformat(),
        "posted_at": iso_utc(entry["posted_at"]),
    }


def decision_data(decision: RoutingDecision) -> dict[str, Any]:
    """A routing decision as the trace shows it: every candidate, and why it was passed over."""
    chosen = decision.chosen_account_id
    return {
        "id": decision.public_id,
        "chosen_account_id": public_id("pac", chosen) if chosen else None,
        "candidates": shown_candidates(candidates_of(decision)),
        "ruleset": decision.ruleset_fingerprint,
        "made_at": iso_utc(decision.made_at),
    }


def attempt_data(attempt: Attempt) -> dict[str, Any]:
    """An attempt as the trace shows it: both axes, the provider's reference, how and when it became known."""
    return {
        "id": attempt.public_id,
        "operation": attempt.operation,
        "number": attempt.number,
        "provider_account_id": public_id("pac", attempt.provider_account_id),
        "provider_account": attempt.provider_account.name,
        "status": attempt.state,
        "transport": attempt.transport or None,
        "verdict": attempt.verdict or None,
        "code": attempt.code or None,
        "network_code": attempt.network_code or None,
        "retry_advice": attempt.retry_advice or None,
        "provider_reference": attempt.provider_reference or None,
        "amount_minor": attempt.amount_minor,
        "currency": attempt.currency,
        "sent_at": iso_utc(attempt.sent_at),
        "answered_at": iso_utc(attempt.answered_at) if attempt.answered_at else None,
        "elapsed_ms": attempt.elapsed_ms,
        "resolved_by": attempt.resolved_by or None,
        "needs_operator": attempt.needs_operator,
        "conflicts": attempt.conflicts,
    }
