"""
The business rules of the sandbox acquirer: authorize, capture, void, refund, challenge, query, balances.

Each rule gets the open transaction and the fields of the request, records what happened and returns the answer.
A request that breaks a rule raises ``RequestRefusedError`` before anything is written.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from zentra.simulator.behaviours import (
    BEHAVIOURS,
    DECLINES,
    Behaviour,
    Delivery,
    Later,
    Outage,
    approved_minor,
    declining_code,
    fee_minor,
)
from zentra.simulator.clock import SimulatorClock, iso
from zentra.simulator.store import Operation, Transaction
from zentra.simulator.wire import (
    CURRENCY,
    REFERENCE,
    TOKEN,
    Answer,
    Fields,
    RequestRefusedError,
    error_answer,
    json_answer,
)

APPROVED = ("authorized", "partially_authorized")
MAX_OPERATIONS_PER_QUERY = 100
OPAQUE_ERROR = b"<html><body><h1>500 Internal Server Error</h1></body></html>\n"

# Called with the operation and the number of copies, inside the transaction of the operation.
QueueCallback = Callable[[Transaction, dict[str, Any], int], None]


class Acquirer:
    """One acquirer by name, with the clock it books by and the address its challenge pages are reached at."""

    def __init__(
        self, *, name: str, clock: SimulatorClock, public_url: Callable[[], str], queue_callback: QueueCallback
    ) -> None:
        self.name = name
        self._clock = clock
        self._public_url = public_url
        self._queue_callback = queue_callback

    # -- authorizations

    def authorize(self, tx: Transaction, fields: Fields) -> Answer:
        """
        Decide on an authorization.

        An outage comes first and records nothing; then the amount may decline; then the token speaks. What
        becomes of the answer afterwards is the token's as well, so a decline can be lost like an approval.
        """
        asked_minor, behaviour = fields.amount(), _behaviour(fields)
        operation = self._new(
            fields,
            "psp_",
            type="authorization",
            status="declined",
            amount_minor=asked_minor,
            currency=fields.text("currency", CURRENCY),
            requested_minor=asked_minor,
            payment_token=behaviour.name,
            merchant_reference=fields.optional_text("merchant_reference", REFERENCE),
            return_url=fields.optional_url("return_url"),
        )
        fields.flag("allow_partial")
        if fields.flag("capture"):
            raise RequestRefusedError(
                400, "invalid_field", "capture must be false: captures are requests of their own", field_name="capture"
            )
        if behaviour.outage and behaviour.outage_at in (None, self.name):
            return _outage(behaviour.outage)
        decline_code = declining_code(asked_minor) or behaviour.decline
        if decline_code:
            operation = replace(operation, decline_code=decline_code)
        elif behaviour.challenge:
            operation = replace(operation, status="action_required")
        else:
            operation = _approved(operation, behaviour)
        return self._recorded(tx, operation, behaviour.delivery)

    def decide_challenge(self, tx: Transaction, authorization_id: str, *, approve: bool) -> Operation | None:
        """
        Take the customer's decision on the challenge page; None when it was decided or voided before.

        :raises RequestRefusedError: 404 for an unknown id
        """
        authorization = self.authorization(tx, authorization_id)
        if authorization.status != "action_required":
            return None
        if approve:
            changed = _approved(authorization, BEHAVIOURS[authorization.payment_token or ""])
        else:
            changed = replace(authorization, status="declined", decline_code="authentication_failed")
        changed = tx.update(
            authorization_id,
            status=changed.status,
            decline_code=changed.decline_code,
            network_transaction_id=changed.network_transaction_id,
        )
        self._announce(tx, changed)
        return changed

    # -- captures, voids, refunds

    def capture(self, tx: Transaction, fields: Fields, authorization_id: str) -> Answer:
        """Capture an authorization in part or in full: the sum of captures never exceeds it."""
        authorization = self.authorization(tx, authorization_id)
        amount_minor, behaviour = (fields.amount(), BEHAVIOURS[authorization.payment_token or ""])
        operation = self._new(
            fields,
            "cap_psp_",
            type="capture",
            status="captured",
            amount_minor=amount_minor,
            currency=_same_currency(fields, authorization),
            requested_minor=amount_minor,
            authorization_id=authorization_id,
            final=int(fields.flag("final")),
        )
        if authorization.status not in APPROVED:
            raise RequestRefusedError(
                409, "authorization_not_capturable", f"The authorization is {authorization.status}."
            )
        if tx.has_final_capture(authorization_id):
            raise RequestRefusedError(409, "authorization_closed", "A final capture was made before.")
        if authorization.captured_minor + amount_minor > authorization.amount_minor:
            raise RequestRefusedError(
                409, "capture_exceeds_authorized", "The captures would exceed the authorized amount."
            )
        if behaviour.capture is Later.DECLINED:
            return self._recorded(tx, replace(operation, status="declined", decline_code="capture_refused"))
        tx.update(authorization_id, captured_minor=authorization.captured_minor + amount_minor)
        operation = replace(operation, fee_minor=fee_minor(amount_minor))
        delivery = Delivery.NEVER if behaviour.capture is Later.TIMEOUT else Delivery.ANSWERED
        return self._recorded(tx, operation, delivery)

    def void(self, tx: Transaction, fields: Fields, authorization_id: str) -> Answer:
        """Void an authorization without captures; a second void answers 200 with the first one."""
        authorization = self.authorization(tx, authorization_id)
        operation = self._new(
            fields,
            "void_psp_",
            type="void",
            status="voided",
            amount_minor=authorization.amount_minor,
            currency=authorization.currency,
            requested_minor=authorization.amount_minor,
            authorization_id=authorization_id,
        )
        earlier = tx.void_of(authorization_id)
        if earlier is not None:
            return json_answer(200, self.document(tx, earlier))
        if authorization.status == "declined":
            raise RequestRefusedError(409, "authorization_not_voidable", "The authorization is declined.")
        if authorization.captured_minor:
            raise RequestRefusedError(409, "authorization_captured", "Captured money is refunded, not voided.")
        tx.insert(operation)
        self._announce(tx, tx.update(authorization_id, status="voided"))
        return json_answer(201, self.document(tx, operation))

    def void_by_reference(self, tx: Transaction, fields: Fields) -> Answer:
        """
        Void the authorization that was recorded under the caller's own reference.

        :raises RequestRefusedError: 404 when there is none, 409 when more than one is open
        """
        reference = fields.text("original_reference", REFERENCE)
        found = tx.by_reference(reference, limit=MAX_OPERATIONS_PER_QUERY)
        authorizations = [operation for operation in found if operation.type == "authorization"]
        live = [operation for operation in authorizations if operation.status not in ("declined", "voided")]
        if not authorizations:
            raise RequestRefusedError(404, "operation_not_found", "No authorization has this reference.")
        if len(live) > 1:
            raise RequestRefusedError(409, "reference_ambiguous", "Several open authorizations have this reference.")
        return self.void(tx, fields, (live or authorizations)[-1].id)

    def refund(self, tx: Transaction, fields: Fields) -> Answer:
        """Refund captured money: never more than what is captured and not refunded yet."""
        authorization = self.authorization(tx, fields.text("authorization_id", TOKEN))
        amount_minor, behaviour = (fields.amount(), BEHAVIOURS[authorization.payment_token or ""])
        capture = _capture_of(tx, authorization, fields.optional_text("capture_id", TOKEN))
        operation = self._new(
            fields,
            "ref_psp_",
            type="refund",
            status="pending" if behaviour.refund is Later.PENDING else "refunded",
            amount_minor=amount_minor,
            currency=_same_currency(fields, authorization),
            requested_minor=amount_minor,
            authorization_id=authorization.id,
            capture_id=capture.id if capture else None,
        )
        left_minor = authorization.captured_minor - authorization.refunded_minor
        if capture:
            left_minor = min(left_minor, capture.amount_minor - capture.refunded_minor)
        if amount_minor > left_minor:
            raise RequestRefusedError(
                409, "refund_exceeds_captured", f"At most {left_minor} minor units can be refunded."
            )
        if behaviour.refund is Later.DECLINED:
            return self._recorded(tx, replace(operation, status="declined", decline_code="refund_refused"))
        _add_refunded(tx, operation, amount_minor)
        delivery = Delivery.NEVER if behaviour.refund is Later.TIMEOUT else Delivery.ANSWERED
        return self._recorded(tx, operation, delivery)

    def end_refund(self, tx: Transaction, refund_id: str, *, succeeded: bool) -> Operation:
        """End a pending refund; a failed one gives its amount back to what can be refunded."""
        refund = tx.find(refund_id)
        if refund is None or refund.type != "refund":
            raise RequestRefusedError(404, "operation_not_found", "No refund has this id.")
        if refund.status != "pending":
            raise RequestRefusedError(409, "refund_not_pending", f"The refund is {refund.status}.")
        if not succeeded:
            _add_refunded(tx, refund, -refund.amount_minor)
        refund = tx.update(refund_id, status="refunded" if succeeded else "failed")
        self._announce(tx, refund)
        return refund

    # -- reads

    def authorization(self, tx: Transaction, authorization_id: str) -> Operation:
        """
        Return an authorization by the acquirer's id.

        :raises RequestRefusedError: 404 when there is none
        """
        found = tx.find(authorization_id)
        if found is None or found.type != "authorization":
            raise RequestRefusedError(404, "operation_not_found", "No authorization has this id.")
        return found

    def operation(self, tx: Transaction, operation_id: str) -> Answer:
        """Return any operation as it is now."""
        found = tx.find(operation_id)
        if found is None:
            raise RequestRefusedError(404, "operation_not_found", "No operation has this id.")
        return json_answer(200, self.document(tx, found))

    def operations(self, tx: Transaction, reference: str) -> Answer:
        """Return every operation that was recorded under the caller's own reference."""
        if not REFERENCE.fullmatch(reference):
            raise RequestRefusedError(
                400, "invalid_field", "reference must be given in the query", field_name="reference"
            )
        found = tx.by_reference(reference, limit=MAX_OPERATIONS_PER_QUERY + 1)
        if not found:
            raise RequestRefusedError(404, "operation_not_found", "No operation has this reference.")
        shown = [self.document(tx, operation) for operation in found[:MAX_OPERATIONS_PER_QUERY]]
        return json_answer(200, {"operations": shown, "has_more": len(found) > MAX_OPERATIONS_PER_QUERY})

    def balances(self, tx: Transaction) -> Answer:
        """Return the sums per currency, always counted from the operations and batches themselves."""
        rows = tx.rows(
            "SELECT currency,"
            " SUM(CASE WHEN status = 'captured' THEN amount_minor ELSE 0 END),"
            " SUM(CASE WHEN status = 'refunded' THEN amount_minor ELSE 0 END),"
            " SUM(fee_minor),"
            " SUM(CASE WHEN batch_id IS NOT NULL THEN 0 WHEN status = 'captured'"
            "     THEN amount_minor - fee_minor WHEN status = 'refunded' THEN -amount_minor ELSE 0 END)"
            " FROM operations WHERE type IN ('capture', 'refund') GROUP BY currency"
        )
        paid_out = dict(tx.rows("SELECT currency, SUM(declared_net_minor) FROM batches GROUP BY currency"))
        names = ("captured_minor", "refunded_minor", "fees_minor", "unsettled_minor")
        sums = {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}
        for currency in sorted(sums.keys() | paid_out.keys()):
            sums.setdefault(currency, dict.fromkeys(names, 0))["paid_out_minor"] = paid_out.get(currency, 0)
        return json_answer(200, {"balances": dict(sorted(sums.items())), "as_of": iso(self._clock.now())})

    # -- documents

    def document(self, tx: Transaction, operation: Operation) -> dict[str, Any]:
        """Return the JSON document of an operation as it is now."""
        shown: dict[str, Any] = {
            "id": operation.id,
            "object": operation.type,
            "reference": operation.reference,
            "status": operation.status,
            "amount_minor": operation.amount_minor,
            "currency": operation.currency,
        }
        if operation.type == "authorization":
            shown |= {
                "requested_amount_minor": operation.requested_minor,
                "captured_minor": operation.captured_minor,
                "refunded_minor": operation.refunded_minor,
                "voided": operation.status == "voided",
                "merchant_reference": operation.merchant_reference,
                "network_transaction_id": operation.network_transaction_id,
            }
        else:
            shown["authorization_id"] = operation.authorization_id
        if operation.type == "capture":
            shown |= {"refunded_minor": operation.refunded_minor, "fee_minor": operation.fee_minor}
            shown |= {"final": bool(operation.final), "batch_id": operation.batch_id}
        if operation.type == "refund":
            shown |= {"capture_id": operation.capture_id, "batch_id": operation.batch_id}
        if operation.type == "void":
            voided = tx.find(operation.authorization_id or "")
            shown["original_reference"] = voided.reference if voided else None
        shown["created_at"] = operation.created_at
        if operation.decline_code:
            shown["decline"] = asdict(DECLINES[operation.decline_code])
        if operation.status == "action_required":
            shown["next_action"] = {"type": "redirect", "url": f"{self._public_url()}/challenge/{operation.id}"}
        return shown

    # -- building blocks

    def _new(self, fields: Fields, prefix: str, **columns: Any) -> Operation:
        return Operation(
            id=new_id(prefix),
            reference=fields.text("reference", REFERENCE),
            created_at=iso(self._clock.now()),
            **columns,
        )

    def _recorded(self, tx: Transaction, operation: Operation, delivery: Delivery = Delivery.ANSWERED) -> Answer:
        tx.insert(operation)
        document = self._announce(tx, operation)
        return _delivered(json_answer(402 if operation.decline_code else 201, document), delivery)

    def _announce(self, tx: Transaction, operation: Operation) -> dict[str, Any]:
        """Queue the callback about an operation; nobody is told while the customer has yet to decide."""
        document = self.document(tx, operation)
        if operation.status != "action_required":
            parent = tx.find(operation.authorization_id or operation.id)
            token = parent.payment_token if parent else None
            self._queue_callback(tx, document, BEHAVIOURS[token or ""].callback_copies)
        return document


def new_id(prefix: str) -> str:
    """Return a fresh id: the prefix and 26 characters that nobody can guess."""
    return prefix + base64.b32encode(secrets.token_bytes(17)).decode()[:26].lower()


def _behaviour(fields: Fields) -> Behaviour:
    token = fields.text("payment_token", TOKEN)
    if token not in BEHAVIOURS:
        raise RequestRefusedError(
            400, "unknown_payment_token", "payment_token is not a sandbox token", field_name="payment_token"
        )
    return BEHAVIOURS[token]


def _approved(operation: Operation, behaviour: Behaviour) -> Operation:
    amount_minor = approved_minor(asked_minor=operation.requested_minor, approval=behaviour.approval)
    if amount_minor < 1:
        raise RequestRefusedError(
            400, "invalid_field", "amount_minor must be at least 2 with this token", field_name="amount_minor"
        )
    partial = behaviour.approval.value == "half"
    return replace(
        operation,
        status="partially_authorized" if partial else "authorized",
        amount_minor=amount_minor,
        network_transaction_id=str(secrets.randbelow(9 * 10**14) + 10**14),
    )


def _outage(outage: Outage) -> Answer:
    if outage is Outage.UNAVAILABLE:
        message = "The acquirer is unavailable; nothing was authorized."
        return error_answer(503, "acquirer_unavailable", message, nothing_authorized=True)
    # Not kept under the key: nothing was executed, so a repeat is executed afresh.
    delivery = Delivery.RESET if outage is Outage.CONNECTION_RESET else Delivery.ANSWERED
    return Answer(status=500, body=OPAQUE_ERROR, content_type="text/html", delivery=delivery, keep=False)


def _delivered(answer: Answer, delivery: Delivery) -> Answer:
    if delivery is Delivery.SERVER_ERROR:
        return Answer(status=500, body=OPAQUE_ERROR, content_type="text/html")
    if delivery is Delivery.GARBLED:
        return replace(answer, body=answer.body[: len(answer.body) // 2])
    return replace(answer, delivery=delivery)


def _same_currency(fields: Fields, authorization: Operation) -> str:
    currency = fields.text("currency", CURRENCY)
    if currency != authorization.currency:
        raise RequestRefusedError(
            400, "invalid_field", f"currency must be {authorization.currency}", field_name="currency"
        )
    return currency


def _capture_of(tx: Transaction, authorization: Operation, capture_id: str | None) -> Operation | None:
    if capture_id is None:
        return None
    capture = tx.find(capture_id)
    if capture is None or capture.authorization_id != authorization.id or capture.status != "captured":
        raise RequestRefusedError(404, "operation_not_found", "The authorization has no such capture.")
    return capture


def _add_refunded(tx: Transaction, refund: Operation, amount_minor: int) -> None:
    for operation_id in (refund.authorization_id, refund.capture_id):
        if operation_id:
            tx.changed(
                "UPDATE operations SET refunded_minor = refunded_minor + ? WHERE id = ?", amount_minor, operation_id
            )
