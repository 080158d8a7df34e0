"""The state machines of payment, attempt, capture and refund: tables of data, read by one pure function each.

What a table does not name is refused. ``status`` and the state per axis are derived, never stored apart from the facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from zentra.core.transitions import follow


class PaymentState(StrEnum):
    """The authorization axis of a payment. ``PROCESSING`` covers the unknown outcome: it stays until it is known."""

    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"
    AUTHORIZED = "authorized"
    DECLINED = "declined"
    FAILED = "failed"
    REJECTED = "rejected"
    VOIDING = "voiding"
    VOIDED = "voided"
    EXPIRED = "expired"


class PaymentTrigger(StrEnum):
    """Past facts that move a payment."""

    PROVIDER_APPROVED = "provider_approved"
    CUSTOMER_ACTION_ASKED = "customer_action_asked"
    PROVIDER_DECLINED = "provider_declined"
    NO_PROVIDER_LEFT = "no_provider_left"
    VOID_REQUESTED = "void_requested"
    VOID_CONFIRMED = "void_confirmed"
    VOID_REFUSED = "void_refused"
    AUTHORIZATION_EXPIRED = "authorization_expired"


PAYMENT_TRANSITIONS: Final = {
    (PaymentState.PROCESSING, PaymentTrigger.PROVIDER_APPROVED): PaymentState.AUTHORIZED,
    (PaymentState.PROCESSING, PaymentTrigger.CUSTOMER_ACTION_ASKED): PaymentState.REQUIRES_ACTION,
    (PaymentState.PROCESSING, PaymentTrigger.PROVIDER_DECLINED): PaymentState.DECLINED,
    (PaymentState.PROCESSING, PaymentTrigger.NO_PROVIDER_LEFT): PaymentState.FAILED,
    (PaymentState.REQUIRES_ACTION, PaymentTrigger.PROVIDER_APPROVED): PaymentState.AUTHORIZED,
    (PaymentState.REQUIRES_ACTION, PaymentTrigger.PROVIDER_DECLINED): PaymentState.DECLINED,
    (PaymentState.REQUIRES_ACTION, PaymentTrigger.AUTHORIZATION_EXPIRED): PaymentState.EXPIRED,
    (PaymentState.AUTHORIZED, PaymentTrigger.VOID_REQUESTED): PaymentState.VOIDING,
    (PaymentState.AUTHORIZED, PaymentTrigger.AUTHORIZATION_EXPIRED): PaymentState.EXPIRED,
    (PaymentState.VOIDING, PaymentTrigger.VOID_CONFIRMED): PaymentState.VOIDED,
    (PaymentState.VOIDING, PaymentTrigger.VOID_REFUSED): PaymentState.AUTHORIZED,
}

#: States in which a payment no longer holds its reference: another payment may take it.
REFERENCE_FREE_STATES: Final = (
    PaymentState.DECLINED,
    PaymentState.FAILED,
    PaymentState.REJECTED,
    PaymentState.VOIDED,
    PaymentState.EXPIRED,
)
#: States in which the outcome of the authorization is not known yet.
OPEN_STATES: Final = (PaymentState.PROCESSING,)


class AttemptState(StrEnum):
    """One try of one operation at one provider account. ``SENT`` is committed before the wire is touched."""

    SENT = "sent"
    UNKNOWN = "unknown"
    ACTION_REQUIRED = "action_required"
    APPROVED = "approved"
    DECLINED = "declined"
    FAILED = "failed"
    CONFLICTED = "conflicted"


class AttemptTrigger(StrEnum):
    APPROVED = "approved"
    ACTION_REQUIRED = "action_required"
    DECLINED = "declined"
    NOTHING_HAPPENED = "nothing_happened"
    NO_ANSWER = "no_answer"
    ANSWER_DIFFERS = "answer_differs"


def _attempt_edges() -> dict[tuple[AttemptState, AttemptTrigger], AttemptState]:
    targets = {
        AttemptTrigger.APPROVED: AttemptState.APPROVED,
        AttemptTrigger.ACTION_REQUIRED: AttemptState.ACTION_REQUIRED,
        AttemptTrigger.DECLINED: AttemptState.DECLINED,
        AttemptTrigger.NOTHING_HAPPENED: AttemptState.FAILED,
        AttemptTrigger.NO_ANSWER: AttemptState.UNKNOWN,
        AttemptTrigger.ANSWER_DIFFERS: AttemptState.CONFLICTED,
    }
    edges = {
        (state, trigger): target
        for state in (AttemptState.SENT, AttemptState.UNKNOWN)
        for trigger, target in targets.items()
    }
    for trigger in (AttemptTrigger.APPROVED, AttemptTrigger.DECLINED, AttemptTrigger.ANSWER_DIFFERS):
        edges[AttemptState.ACTION_REQUIRED, trigger] = targets[trigger]
    # Asked about and not decided yet, or not told: it is still the customer's turn.
    for trigger in (AttemptTrigger.ACTION_REQUIRED, AttemptTrigger.NO_ANSWER):
        edges[AttemptState.ACTION_REQUIRED, trigger] = AttemptState.ACTION_REQUIRED
    return edges


ATTEMPT_TRANSITIONS: Final = _attempt_edges()
#: States of an attempt whose outcome the resolver still has to find out.
UNRESOLVED_ATTEMPTS: Final = (AttemptState.SENT, AttemptState.UNKNOWN)
#: States of an attempt that the resolver asks about: the unresolved ones, and those whose callback may be lost.
ASKED_ATTEMPTS: Final = (*UNRESOLVED_ATTEMPTS, AttemptState.ACTION_REQUIRED)

#: States of an attempt of which nothing is taken to have come.
REFUSED_ATTEMPTS: Final = (AttemptState.DECLINED, AttemptState.FAILED)


class OperationState(StrEnum):
    """Captures and refunds: recorded in the request, carried out by a worker."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class OperationTrigger(StrEnum):
    SENT = "sent"
    NOT_SENT = "not_sent"
    CONFIRMED = "confirmed"
    REFUSED = "refused"


OPERATION_TRANSITIONS: Final = {
    (OperationState.PENDING, OperationTrigger.SENT): OperationState.PROCESSING,
    (OperationState.PENDING, OperationTrigger.REFUSED): OperationState.FAILED,
    (OperationState.PROCESSING, OperationTrigger.NOT_SENT): OperationState.PENDING,
    (OperationState.PROCESSING, OperationTrigger.CONFIRMED): OperationState.SUCCEEDED,
    (OperationState.PROCESSING, OperationTrigger.REFUSED): OperationState.FAILED,
}


def next_payment_state(state: PaymentState, trigger: PaymentTrigger) -> PaymentState:
    """:raises IllegalTransition: the table has no such edge"""
    return follow(PAYMENT_TRANSITIONS, state, trigger)


def next_attempt_state(state: AttemptState, trigger: AttemptTrigger) -> AttemptState:
    """:raises IllegalTransition: the table has no such edge"""
    return follow(ATTEMPT_TRANSITIONS, state, trigger)


def next_operation_state(state: OperationState, trigger: OperationTrigger) -> OperationState:
    """:raises IllegalTransition: the table has no such edge"""
    return follow(OPERATION_TRANSITIONS, state, trigger)


@dataclass(frozen=True, slots=True)
class Amounts:
    """The running totals of a payment in minor units; ``…ing`` are commanded and not yet answered.

    ``released`` is what of the authorization will never be captured: the rest after a final capture, or a void.
    """

    amount: int
    authorized: int = 0
    released: int = 0
    capturing: int = 0
    captured: int = 0
    refunding: int = 0
    refunded: int = 0
    disputed: int = 0
    settled: int = 0

    @property
    def capturable(self) -> int:
        """What may still be captured."""
        return self.authorized - self.released - self.captured - self.capturing

    @property
    def refundable(self) -> int:
        """What may still be refunded."""
        return max(0, self.captured - self.refunded - self.refunding - self.disputed)


def status_of(state: PaymentState, amounts: Amounts) -> str:
    """The one word that the API shows for a payment."""
    if state is not PaymentState.AUTHORIZED or amounts.captured == 0:
        return state.value
    return "partially_captured" if amounts.capturable or amounts.capturing else "captured"


def axis_states(state: PaymentState, amounts: Amounts, *, settled: bool, outcome_unknown: bool) -> dict[str, str]:
    """The state of each axis: authorization, capture, refund, dispute, settlement."""
    authorization = "outcome_unknown" if state is PaymentState.PROCESSING and outcome_unknown else state.value
    return {
        "authorization": authorization,
        "capture": _progress(amounts.capturing, amounts.captured, amounts.authorized - amounts.released, "captured"),
        "refund": _progress(amounts.refunding, amounts.refunded, amounts.captured, "refunded"),
        "dispute": "disputed" if amounts.disputed else "none",
        "settlement": "settled" if settled else "partially_settled" if amounts.settled else "none",
    }


def _progress(pending: int, done: int, whole: int, word: str) -> str:
    if done and done >= whole:
        return word
    if done:
        return f"partially_{word}"
    return "pending" if pending else "none"
