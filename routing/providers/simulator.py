"""Adapter to the sandbox acquirer (``docs/sandbox.md``). Only what its answers say explicitly is believed."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from routing.providers.base import Answer, CallbackFact, CallbackRefused, Capabilities, answered
from routing.providers.wire import Reply, json_exchange
from routing.types import (
    CODE_NOT_FOUND,
    CODE_PENDING,
    NextAction,
    Operation,
    ProviderEndpoint,
    ProviderRequest,
    ProviderResult,
    RetryAdvice,
    Verdict,
)

SIGNATURE_HEADER: Final = "x-acquirer-signature"
CALLBACK_TOLERANCE_SECONDS: Final = 300
MAX_CALLBACK_BYTES: Final = 64 * 1024

#: The references that the acquirer takes.
_ACQUIRER_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
#: The longest id of the acquirer that is kept.
_MAX_ID_LENGTH: Final = 128

#: The acquirer's word for each of our operations in its documents.
_OBJECTS: Final = {
    Operation.AUTHORIZE: "authorization",
    Operation.CAPTURE: "capture",
    Operation.VOID: "void",
    Operation.REFUND: "refund",
}
_OPERATIONS: Final = {word: operation for operation, word in _OBJECTS.items()}

_DONE: Final = frozenset(
    {
        ("authorization", "authorized"),
        ("authorization", "partially_authorized"),
        ("capture", "captured"),
        ("void", "voided"),
        ("refund", "refunded"),
    }
)
_DECLINES: Final = {
    "soft": Verdict.SOFT_DECLINE,
    "hard": Verdict.HARD_DECLINE,
    "risk": Verdict.RISK_BLOCK,
}
_ADVICE: Final = {
    "retry_later": RetryAdvice.SAME_PROVIDER_LATER,
    "retry_with_customer": RetryAdvice.STEP_UP,
    "do_not_retry": RetryAdvice.NEVER,
}
#: Refusals that the acquirer documents as recorded nowhere. Any other 409 or 422 may hide an operation under way.
_REFUSED: Final = frozenset(
    {
        "authorization_not_capturable",
        "authorization_not_voidable",
        "authorization_captured",
        "authorization_closed",
        "capture_exceeds_authorized",
        "refund_exceeds_captured",
        CODE_NOT_FOUND,
    }
)


class _Unreadable(Exception):
    """A document that does not say what it must."""


class SimulatorAdapter:
    """The sandbox acquirer over HTTP and JSON."""

    code = "simulator"
    capabilities = Capabilities(
        operations=frozenset(Operation),
        methods=("card",),
        replay_returns_every_outcome=True,
        key_retention_seconds=24 * 3600,
        query_by_own_reference=True,
        reference_max_length=64,
        callbacks=True,
        deadline_seconds=8.0,
        sandbox_only=True,
    )

    def authorize(self, endpoint: ProviderEndpoint, request: ProviderRequest) -> ProviderResult:
        document: dict[str, Any] = {
            "reference": request.reference,
            "amount_minor": request.amount_minor,
            "currency": request.currency,
            "payment_token": request.payment_token,
            "capture": False,
            "allow_partial": request.allow_partial,
        }
        # For people who look at the acquirer's reports; one that it would not take is no reason to fail a payment.
        if _ACQUIRER_REFERENCE.fullmatch(request.merchant_reference):
            document["merchant_reference"] = request.merchant_reference
        return _post(endpoint, request, "/v1/authorizations", document)

    def capture(self, endpoint: ProviderEndpoint, request: ProviderRequest) -> ProviderResult:
        document = {
            "reference": request.reference,
            "amount_minor": request.amount_minor,
            "currency": request.currency,
            "final": request.final,
        }
        return _post(endpoint, request, f"{_authorization(request)}/captures", document)

    def void(self, endpoint: ProviderEndpoint, request: ProviderRequest) -> ProviderResult:
        """By the acquirer's id of the authorization, or by our own reference of it when the id never arrived."""
        document = {"reference": request.reference}
        if request.original_reference:
            return _post(endpoint, request, f"{_authorization(request)}/void", document)
        document["original_reference"] = request.original_own_reference
        return _post(endpoint, request, "/v1/voids", document)

    def refund(self, endpoint: ProviderEndpoint, request: ProviderRequest) -> ProviderResult:
        document: dict[str, Any] = {
            "reference": request.reference,
            "authorization_id": request.original_reference,
            "amount_minor": request.amount_minor,
            "currency": request.currency,
        }
        if request.capture_reference:
            document["capture_id"] = request.capture_reference
        return _post(endpoint, request, "/v1/refunds", document)

    def query(self, endpoint: ProviderEndpoint, request: ProviderRequest) -> ProviderResult:
        path = f"/v1/operations?{urlencode({'reference': request.reference})}"
        reply = json_exchange(endpoint, request, method="GET", path=path, headers=_credential(endpoint))
        if isinstance(reply, ProviderResult):
            return reply
        try:
            if reply.status != 200:
                return _result(request, reply, _read_error(reply))
            return _result(request, reply, _read_found(reply, request))
        except _Unreadable as problem:
            return reply.unreadable(request, str(problem))

    def verify_callback(self, headers: Mapping[str, str], body: bytes, secret: str, now: datetime) -> None:
        """``t=<unix seconds>,v1=<hex>``: HMAC-SHA256 of "t.body", at most five minutes old or ahead.

        :param now: the machine's time; the acquirer signs with its own machine's time, not with a test clock
        """
        given = next((value for name, value in headers.items() if name.lower() == SIGNATURE_HEADER), "")
        parts = [part.strip().partition("=") for part in given.split(",")[:8]]
        times = [value for name, _, value in parts if name == "t"]
        if len(times) != 1 or not (times[0].isascii() and times[0].isdigit() and len(times[0]) < 12):
            raise CallbackRefused("the signature header has no single time")
        if abs(now.timestamp() - int(times[0])) > CALLBACK_TOLERANCE_SECONDS:
            raise CallbackRefused("the callback is too old or from the future")
        expected = hmac.new(secret.encode(), f"{times[0]}.".encode() + body, hashlib.sha256).hexdigest().encode()
        signatures = [value.encode() for name, _, value in parts if name == "v1"]
        if not secret or not any(hmac.compare_digest(expected, signature) for signature in signatures):
            raise CallbackRefused("no signature matches")

    def parse_callback(self, body: bytes) -> CallbackFact:
        if len(body) > MAX_CALLBACK_BYTES:
            raise CallbackRefused("the callback is too large")
        try:
            envelope = json.loads(body)
            if not isinstance(envelope, dict) or not isinstance(envelope.get("data"), dict):
                raise _Unreadable("not an event")
            event_id, event_type, document = _id(envelope), _text(envelope, "type"), envelope["data"]
            answer = _read_operation(document)
        except (ValueError, RecursionError, _Unreadable) as problem:
            raise CallbackRefused(f"the callback cannot be read: {type(problem).__name__}") from None
        return CallbackFact(
            provider_event_id=event_id,
            type=event_type,
            operation=_OPERATIONS[document["object"]],
            own_reference=document["reference"],
            provider_reference=document["id"],
            status=document["status"],
            verdict=answer.verdict,
            nothing_authorized=answer.nothing_authorized,
            amount_minor=document["amount_minor"],
            currency=document["currency"],
            code=answer.fields.get("code", ""),
            network_code=answer.fields.get("network_code", ""),
            partial=answer.fields.get("partial", False),
        )


def _credential(endpoint: ProviderEndpoint) -> dict[str, str]:
    return {"Authorization": f"Bearer {endpoint.credential}"}


def _authorization(request: ProviderRequest) -> str:
    return f"/v1/authorizations/{quote(request.original_reference, safe='')}"


def _post(
    endpoint: ProviderEndpoint, request: ProviderRequest, path: str, document: Mapping[str, Any]
) -> ProviderResult:
    """One keyed operation."""
    headers = {**_credential(endpoint), "Idempotency-Key": request.provider_key}
    reply = json_exchange(endpoint, request, method="POST", path=path, headers=headers, document=document)
    if isinstance(reply, ProviderResult):
        return reply
    try:
        if reply.status not in (200, 201, 402):
            return _result(request, reply, _read_error(reply))
        if reply.document.get("object") != _OBJECTS[request.operation]:
            raise _Unreadable("the answer is about another kind of operation")
        answer = _read_operation(reply.document)
        if (reply.status == 402) != (reply.document["status"] == "declined"):
            raise _Unreadable("status line and document contradict each other")
    except _Unreadable as problem:
        return reply.unreadable(request, str(problem))
    if request.operation is Operation.VOID and reply.status == 200:
        # The authorization was void already: the answer is the first void, under that one's reference.
        answer = Answer(verdict=answer.verdict, fields={**answer.fields, "own_reference": ""})
    return _result(request, reply, answer)


def _result(request: ProviderRequest, reply: Reply, answer: Answer) -> ProviderResult:
    replayed = reply.headers.get("idempotent-replay", "") == "true"
    fields = {**answer.fields, "replayed": replayed}
    return answered(
        request,
        Answer(
            verdict=answer.verdict,
            nothing_authorized=answer.nothing_authorized,
            retry_advice=answer.retry_advice,
            fields=fields,
        ),
        elapsed_ms=reply.elapsed_ms,
        exchange=reply.exchange,
    )


def _read_found(reply: Reply, request: ProviderRequest) -> Answer:
    """The operation asked about among those that carry our reference. :raises _Unreadable:"""
    documents = reply.document.get("operations")
    if not isinstance(documents, list) or not all(isinstance(item, dict) for item in documents):
        raise _Unreadable("no list of operations")
    wanted = _OBJECTS[request.about or Operation.AUTHORIZE]
    found = [item for item in documents if item.get("object") == wanted]
    if not found:
        return _not_found("no such operation under this reference")
    live = [item for item in found if item.get("status") not in ("declined", "failed", "voided")]
    answer = _read_operation((live or found)[-1])
    if len(live) > 1:
        # Our reference names one operation; a second live one is a double movement for an operator to look at.
        return Answer(
            verdict=answer.verdict,
            nothing_authorized=answer.nothing_authorized,
            retry_advice=answer.retry_advice,
            fields={**answer.fields, "conflicts": ("duplicate",)},
        )
    return answer


def _read_operation(document: Mapping[str, Any]) -> Answer:
    """What an operation's document says. :raises _Unreadable: a field is missing or a status is not known"""
    kind, status = _text(document, "object"), _text(document, "status")
    if kind not in _OPERATIONS:
        raise _Unreadable("an unknown kind of operation")
    fields: dict[str, Any] = {
        "provider_reference": _id(document),
        "own_reference": _text(document, "reference"),
        "amount_minor": _amount(document),
        "currency": _text(document, "currency"),
        "raw_status": status,
    }
    if (kind, status) in _DONE:
        return Answer(verdict=Verdict.APPROVED, fields={**fields, "partial": status == "partially_authorized"})
    if status == "declined":
        return _read_decline(document.get("decline"), fields)
    if (kind, status) == ("authorization", "action_required"):
        fields["next_action"] = _next_action(document.get("next_action"))
        return Answer(verdict=Verdict.ACTION_REQUIRED, retry_advice=RetryAdvice.STEP_UP, fields=fields)
    if (kind, status) == ("authorization", "voided"):
        # It was approved and given back: nothing is held any more, and this authorization is over.
        fields["code"] = "authorization_voided"
        return Answer(verdict=Verdict.HARD_DECLINE, nothing_authorized=True, fields=fields)
    if (kind, status) == ("refund", "failed"):
        fields["code"] = "refund_failed"
        return Answer(verdict=Verdict.HARD_DECLINE, nothing_authorized=True, fields=fields)
    if status == "pending":
        fields["code"] = CODE_PENDING
        return Answer(verdict=Verdict.UNKNOWN, retry_advice=RetryAdvice.RESOLVE_FIRST, fields=fields)
    raise _Unreadable("an unknown status")


def _read_decline(decline: Any, fields: dict[str, Any]) -> Answer:
    if not isinstance(decline, dict) or decline.get("category") not in _DECLINES:
        raise _Unreadable("a decline without a known category")
    return Answer(
        verdict=_DECLINES[decline["category"]],
        nothing_authorized=True,
        # Advice that we do not know is taken as the strictest one: every further try counts at the networks.
        retry_advice=_ADVICE.get(str(decline.get("retry_advice")), RetryAdvice.NEVER),
        fields={
            **fields,
            "code": _text(decline, "code"),
            "network_code": _text(decline, "network_code") if decline.get("network_code") else "",
            "message": str(decline.get("message") or ""),
        },
    )


def _read_error(reply: Reply) -> Answer:
    """What an error document says about the money. :raises _Unreadable: nothing that can be relied on"""
    error = reply.document.get("error")
    if not isinstance(error, dict):
        raise _Unreadable(f"status {reply.status} without an error document")
    code, status = _text(error, "code"), reply.status
    fields = {"code": code, "message": str(error.get("message") or ""), "raw_status": str(status)}
    if status == 503 and error.get("nothing_authorized") is True:
        return Answer(
            verdict=Verdict.PROVIDER_FAULT,
            nothing_authorized=True,
            retry_advice=RetryAdvice.OTHER_PROVIDER_NOW,
            fields=fields,
        )
    if status in (401, 403):
        return Answer(
            verdict=Verdict.CONFIG,
            nothing_authorized=True,
            retry_advice=RetryAdvice.OTHER_PROVIDER_NOW,
            fields=fields,
        )
    if status in (400, 413) or (status in (404, 409) and code in _REFUSED):
        return Answer(verdict=Verdict.INVALID_REQUEST, nothing_authorized=True, fields=fields)
    if status in (409, 422):
        # The key is busy, or belongs to another request: something may exist under it.
        return Answer(verdict=Verdict.UNKNOWN, retry_advice=RetryAdvice.RESOLVE_FIRST, fields=fields)
    raise _Unreadable(f"status {status} says nothing about the outcome")


def _not_found(message: str) -> Answer:
    fields = {"code": CODE_NOT_FOUND, "message": message, "raw_status": "404"}
    return Answer(verdict=Verdict.UNKNOWN, retry_advice=RetryAdvice.RESOLVE_FIRST, fields=fields)


def _next_action(action: Any) -> NextAction:
    if not isinstance(action, dict):
        raise _Unreadable("an action is required and none is named")
    return NextAction(type=_text(action, "type"), url=_text(action, "url"))


def _text(document: Mapping[str, Any], name: str) -> str:
    """Text that can be stored. :raises _Unreadable: none, too long, or with NUL, half characters or other controls"""
    value = document.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 2048 or not value.isprintable():
        raise _Unreadable(f"{name} is missing")
    return value


def _id(document: Mapping[str, Any]) -> str:
    value = _text(document, "id")
    if len(value) > _MAX_ID_LENGTH:
        raise _Unreadable("id is too long")
    return value


def _amount(document: Mapping[str, Any]) -> int:
    value = document.get("amount_minor")
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _Unreadable("amount_minor is missing")
    return value
