"""The HTTP answer for a payment, by its state: the verdict is in the status code (docs/decisions/0002)."""

from __future__ import annotations

from typing import Any

from payments.events import capture_data, payment_data, refund_data
from payments.models import Capture, Payment, Refund
from payments.selectors import outcome_unknown
from payments.states import PaymentState
from zentra.api import envelope
from zentra.core.errors import Conflict, PaymentRequired, Unprocessable, ZentraError
from zentra.idempotency.types import Answer, Answerer


class PaymentDeclined(PaymentRequired):
    code = "payment_declined"


class PaymentRejected(Unprocessable):
    code = "payment_rejected"
    summary = "The payment was refused before any provider was asked."
    remedy = "`details.reason` says why; change the payment, or ask the operator to change the policy or the routing."


class PaymentFailed(PaymentRequired):
    code = "payment_failed"
    summary = "No provider could take the payment; nothing was authorized anywhere."
    remedy = "Repeat later with a new idempotency key."


class VoidRefused(Conflict):
    code = "void_refused"
    summary = "The provider did not void the authorization; the payment is authorized as before."
    remedy = "Capture the payment, or repeat the void later with a new idempotency key."


_REFUSALS: dict[str, type[ZentraError]] = {
    PaymentState.DECLINED: PaymentDeclined,
    PaymentState.REJECTED: PaymentRejected,
    PaymentState.FAILED: PaymentFailed,
}


def payment_answer(request_id: str) -> Answerer:
    """Renders the answer to POST /payments: 201, 202 while the outcome is not known, 402 or 422 for a refusal."""

    def render(payment: Payment) -> Answer:
        unknown = outcome_unknown(payment)
        data = payment_data(payment, outcome_unknown=unknown)
        refusal = _REFUSALS.get(payment.state)
        if refusal is not None:
            return _refused(refusal, payment, data, request_id)
        status = 202 if payment.state == PaymentState.PROCESSING else 201
        return _answer(status, data, request_id)

    return render


def void_answer(request_id: str) -> Answerer:
    """Renders the answer to a void: 202 until the provider decided, then 200, or 409 when it refused."""

    def render(payment: Payment) -> Answer:
        if payment.state == PaymentState.AUTHORIZED:
            data = payment_data(payment)
            return _error(VoidRefused(details={"payment": data}), request_id)
        status = 202 if payment.state == PaymentState.VOIDING else 200
        return _answer(status, payment_data(payment), request_id)

    return render


def capture_answer(request_id: str) -> Answerer:
    """Renders the answer to a capture: 201 with the capture as it was recorded."""

    def render(capture: Capture) -> Answer:
        return _answer(201, capture_data(capture, capture.payment.public_id), request_id)

    return render


def refund_answer(request_id: str) -> Answerer:
    """Renders the answer to a refund: 201 with the refund as it was recorded."""

    def render(refund: Refund) -> Answer:
        return _answer(201, refund_data(refund, refund.payment), request_id)

    return render


def _answer(status: int, data: dict[str, Any], request_id: str) -> Answer:
    body = envelope.to_bytes(envelope.success(data, request_id=request_id))
    return Answer(status=status, body=body, request_id=request_id)


def _refused(refusal: type[ZentraError], payment: Payment, data: dict[str, Any], request_id: str) -> Answer:
    return _error(refusal(details={"payment": data, "reason": payment.decline_code}), request_id)


def _error(error: ZentraError, request_id: str) -> Answer:
    body = envelope.to_bytes(envelope.failure(error, request_id=request_id))
    return Answer(status=error.status, body=body, request_id=request_id)
