"""
What the sandbox acquirer publishes: tokens, declining amounts, decline codes and the fee schedule.

This table is the only place that says what a token does. The acquirer acts on it and a test holds
``docs/sandbox.md`` against it, so that code and documentation cannot drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# 1.4 % of what is captured, rounded half up, plus 25 minor units; refunds are free. The numbers are minor units
# of whatever currency it is: the schedule knows no exponents.
FEE_PER_MILLE = 14
FEE_FIXED_MINOR = 25

# Below this amount the last three digits mean nothing, so that small amounts stay usable.
DECLINING_AMOUNTS_FROM_MINOR = 1000


class Delivery(StrEnum):
    """What becomes of an answer after the operation was recorded."""

    ANSWERED = "answered"
    LATE = "late"
    NEVER = "never"
    RESET = "reset"
    SERVER_ERROR = "server_error"
    GARBLED = "garbled"


class Outage(StrEnum):
    """A fault before anything is recorded."""

    UNAVAILABLE = "unavailable"
    SERVER_ERROR = "server_error"
    CONNECTION_RESET = "connection_reset"


class Approval(StrEnum):
    """Which amount an approval is for."""

    AS_ASKED = "as_asked"
    ONE_LOWER = "one_lower"
    HALF = "half"


class Later(StrEnum):
    """What happens to a capture or a refund of the authorization."""

    NORMAL = "normal"
    DECLINED = "declined"
    TIMEOUT = "timeout"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """A refusal as the issuer words it; ``network_code`` is the response code of ISO 8583, field 39."""

    code: str
    category: str
    network_code: str
    message: str
    retry_advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One sandbox token: what it does, and the sentence that documents it."""

    name: str
    summary: str
    decline: str | None = None
    challenge: bool = False
    outage: Outage | None = None
    outage_at: str | None = None
    approval: Approval = Approval.AS_ASKED
    delivery: Delivery = Delivery.ANSWERED
    capture: Later = Later.NORMAL
    refund: Later = Later.NORMAL
    callback_copies: int = 1


DECLINES: dict[str, Decline] = {
    decline.code: decline
    for decline in (
        Decline(
            code="insufficient_funds",
            category="soft",
            network_code="51",
            message="The account does not hold enough money.",
            retry_advice="retry_later",
        ),
        Decline(
            code="do_not_honor",
            category="soft",
            network_code="05",
            message="The issuer refused without giving a reason.",
            retry_advice="retry_later",
        ),
        Decline(
            code="issuer_unavailable",
            category="soft",
            network_code="91",
            message="The issuer could not be reached.",
            retry_advice="retry_later",
        ),
        Decline(
            code="stolen_card",
            category="hard",
            network_code="43",
            message="The card was reported stolen.",
            retry_advice="do_not_retry",
        ),
        Decline(
            code="risk_blocked",
            category="risk",
            network_code="59",
            message="The payment was blocked by the acquirer's risk rules.",
            retry_advice="do_not_retry",
        ),
        Decline(
            code="authentication_failed",
            category="hard",
            network_code="63",
            message="The customer did not confirm the payment.",
            retry_advice="retry_with_customer",
        ),
        Decline(
            code="capture_refused",
            category="hard",
            network_code="57",
            message="The acquirer refuses to capture this authorization.",
            retry_advice="do_not_retry",
        ),
        Decline(
            code="refund_refused",
            category="hard",
            network_code="57",
            message="The acquirer refuses to refund this payment.",
            retry_advice="do_not_retry",
        ),
    )
}

# Last three digits of the amount in minor units -> decline code.
DECLINING_AMOUNTS: dict[int, str] = {
    51: "insufficient_funds",
    5: "do_not_honor",
    43: "stolen_card",
    91: "issuer_unavailable",
}

BEHAVIOURS: dict[str, Behaviour] = {
    behaviour.name: behaviour
    for behaviour in (
        Behaviour(name="tok_sandbox_approved", summary="Approved."),
        Behaviour(
            name="tok_sandbox_declined_insufficient_funds",
            summary="Declined softly, insufficient_funds (51).",
            decline="insufficient_funds",
        ),
        Behaviour(
            name="tok_sandbox_declined_do_not_honor",
            summary="Declined softly, do_not_honor (05).",
            decline="do_not_honor",
        ),
        Behaviour(
            name="tok_sandbox_declined_stolen_card", summary="Declined hard, stolen_card (43).", decline="stolen_card"
        ),
        Behaviour(name="tok_sandbox_risk_blocked", summary="Blocked by risk rules (59).", decline="risk_blocked"),
        Behaviour(
            name="tok_sandbox_action_required",
            summary="Asks for the customer: a challenge page with Approve and Decline decides.",
            challenge=True,
        ),
        Behaviour(
            name="tok_sandbox_accept_then_timeout",
            summary="Recorded, never answered. A repeat with the same key and a query both find it.",
            delivery=Delivery.NEVER,
        ),
        Behaviour(
            name="tok_sandbox_late_answer",
            summary="Recorded, answered late (3 seconds unless configured otherwise).",
            delivery=Delivery.LATE,
        ),
        Behaviour(
            name="tok_sandbox_connection_reset",
            summary="The connection is reset after the request was read; nothing is recorded.",
            outage=Outage.CONNECTION_RESET,
        ),
        Behaviour(
            name="tok_sandbox_accept_then_reset",
            summary="Recorded, then the connection is reset.",
            delivery=Delivery.RESET,
        ),
        Behaviour(
            name="tok_sandbox_server_error",
            summary="500 with an opaque body that says nothing about the outcome; nothing is recorded.",
            outage=Outage.SERVER_ERROR,
        ),
        Behaviour(
            name="tok_sandbox_accept_then_server_error",
            summary="Recorded, then 500 with an opaque body.",
            delivery=Delivery.SERVER_ERROR,
        ),
        Behaviour(
            name="tok_sandbox_garbled_answer",
            summary="Recorded, answered 201 with a body that is cut off and no longer JSON.",
            delivery=Delivery.GARBLED,
        ),
        Behaviour(
            name="tok_sandbox_fault_at_alpha",
            summary="503 with nothing_authorized at the acquirer named alpha, approved at every other.",
            outage=Outage.UNAVAILABLE,
            outage_at="alpha",
        ),
        Behaviour(
            name="tok_sandbox_wrong_amount",
            summary="Approved and recorded with an amount one minor unit lower than asked.",
            approval=Approval.ONE_LOWER,
        ),
        Behaviour(
            name="tok_sandbox_partial_approval",
            summary="Approved for half of the amount, rounded down, whatever allow_partial says.",
            approval=Approval.HALF,
        ),
        Behaviour(
            name="tok_sandbox_callback_twice",
            summary="Approved; every callback about it is sent twice under one callback id.",
            callback_copies=2,
        ),
        Behaviour(
            name="tok_sandbox_capture_declined", summary="Approved; each capture is declined.", capture=Later.DECLINED
        ),
        Behaviour(
            name="tok_sandbox_capture_timeout",
            summary="Approved; each capture is recorded and never answered.",
            capture=Later.TIMEOUT,
        ),
        Behaviour(
            name="tok_sandbox_refund_declined",
            summary="Approved and captured normally; each refund is declined.",
            refund=Later.DECLINED,
        ),
        Behaviour(
            name="tok_sandbox_refund_timeout",
            summary="Approved and captured normally; each refund is recorded and never answered.",
            refund=Later.TIMEOUT,
        ),
        Behaviour(
            name="tok_sandbox_refund_pending",
            summary="Approved and captured normally; each refund is pending until /_control/refunds ends it.",
            refund=Later.PENDING,
        ),
    )
}


def fee_minor(amount_minor: int) -> int:
    """Return the acquirer's fee for a capture, in the minor units of its own currency."""
    return (amount_minor * FEE_PER_MILLE + 500) // 1000 + FEE_FIXED_MINOR


def declining_code(amount_minor: int) -> str | None:
    """Return the decline that the last three digits of an amount stand for, if any."""
    if amount_minor < DECLINING_AMOUNTS_FROM_MINOR:
        return None
    return DECLINING_AMOUNTS.get(amount_minor % 1000)


def approved_minor(*, asked_minor: int, approval: Approval) -> int:
    """Return the amount that is approved; 0 when the asked amount is too small for the rule."""
    if approval is Approval.ONE_LOWER:
        return asked_minor - 1
    if approval is Approval.HALF:
        return asked_minor // 2
    return asked_minor
