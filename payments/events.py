"""What events say about payments, captures and refunds: ids, amounts in minor units, states, codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zentra.core.clock import iso_utc
from zentra.core.ids import public_id

if TYPE_CHECKING:
    from payments.models import Capture, Payment, Refund


def payment_data(payment: Payment, *, outcome_unknown: bool = False) -> dict[str, Any]:
    """A payment as events and answers show it."""
    amounts = payment.amounts
    return {
        "id": payment.public_id,
        "reference": payment.reference,
        "status": payment.status,
        "states": payment.states(outcome_unknown=outcome_unknown),
        "currency": payment.currency,
        "amount_minor": amounts.amount,
        "authorized_minor": amounts.authorized,
        "capturable_minor": max(0, amounts.capturable) if payment.state == "authorized" else 0,
        "captured_minor": amounts.captured,
        "refunded_minor": amounts.refunded,
        "disputed_minor": amounts.disputed,
        "settled_minor": amounts.settled,
        "merchant_id": public_id("mer", payment.merchant_id),
        "customer_id": payment.customer.reference if payment.customer else None,
        "payment_token_id": payment.payment_token_id,
        "capture_mode": payment.capture_mode,
        "capture_method": payment.capture_method,
        "decline_code": payment.decline_code or None,
        "next_action": payment.next_action,
        "metadata": payment.metadata,
        "created_at": iso_utc(payment.created_at),
        "updated_at": iso_utc(payment.updated_at),
    }


def capture_data(capture: Capture, payment_public_id: str) -> dict[str, Any]:
    """A capture as events and answers show it."""
    return {
        "id": capture.public_id,
        "payment_id": payment_public_id,
        "number": capture.number,
        "status": capture.state,
        "amount_minor": capture.amount_minor,
        "currency": capture.currency,
        "final": capture.final,
        "settled_minor": capture.settled_minor,
        "failure_code": capture.failure_code or None,
        "created_at": iso_utc(capture.created_at),
    }


def refund_data(refund: Refund, payment: Payment) -> dict[str, Any]:
    """A refund as events and answers show it."""
    return {
        "id": refund.public_id,
        "reference": refund.reference,
        "payment_id": payment.public_id,
        "charge_reference": payment.reference,
        "status": refund.state,
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "reason": refund.reason or None,
        "failure_code": refund.failure_code or None,
        "created_at": iso_utc(refund.created_at),
    }
