"""Keys, fingerprints and answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import rfc8785

from zentra.core.crypto import keyed_hash
from zentra.core.errors import BadRequest

API_VERSION = "v1"
_KEY_FORM = re.compile(r"[A-Za-z0-9_.:\-]{1,255}")


class IdempotencyKeyRequired(BadRequest):
    code = "idempotency_key_required"
    summary = "An operation that moves money needs an idempotency key."
    remedy = "Send `idempotency_key` in the body or the `Idempotency-Key` header; repeat it when you repeat."


class IdempotencyKeyInvalid(BadRequest):
    code = "idempotency_key_invalid"
    summary = "The idempotency key is not 1 to 255 characters of A–Z a–z 0–9 _ . : -"
    remedy = "Use a stable id of your own business operation."


class IdempotencyKeyConflict(BadRequest):
    code = "idempotency_key_conflict"
    summary = "The idempotency keys of body and header differ."
    remedy = "Send one of them, or the same in both."


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The identity of a mutation: which operation, under which key, with which content.

    ``resource`` is the public prefix of what the operation makes ('pay').
    """

    operation: str
    key: str
    fingerprint: bytes
    resource: str
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as bytes. ``final`` answers are kept and given again; a 202 never is."""

    status: int
    body: bytes
    request_id: str = ""
    replayed: bool = False

    @property
    def final(self) -> bool:
        return self.status != 202 and self.status < 500


@dataclass(frozen=True, slots=True)
class Claim:
    """What a key stands for: fresh, or the resource that came of it and, once known, the answer.

    ``resource_id`` is None for a refusal that was kept: nothing came of it but the answer.
    """

    id: int
    fresh: bool
    resource_id: UUID | None = None
    answer: Answer | None = None

    @property
    def resource(self) -> UUID:
        """The resource of a claim that has no answer yet. :raises LookupError: the claim is a kept refusal"""
        if self.resource_id is None:
            raise LookupError("a kept refusal has no resource")
        return self.resource_id


#: Renders the answer for a resource in its present state.
Answerer = Callable[[Any], Answer]


def request_key(in_body: str | None, in_header: str | None) -> str:
    """The one key of a request. The header may be a bare token or a quoted structured-field string (RFC 8941).

    :raises IdempotencyKeyRequired: neither is there
    :raises IdempotencyKeyConflict: both are there and differ
    :raises IdempotencyKeyInvalid: outside the accepted form
    """
    header = in_header.strip() if in_header is not None else None
    if header is not None and len(header) >= 2 and header[0] == header[-1] == '"':
        header = header[1:-1]
    if in_body is not None and header is not None and in_body != header:
        raise IdempotencyKeyConflict(field="idempotency_key")
    key = in_body if in_body is not None else header
    if key is None:
        raise IdempotencyKeyRequired(field="idempotency_key")
    if not isinstance(key, str) or not _KEY_FORM.fullmatch(key):
        raise IdempotencyKeyInvalid(
            field="idempotency_key", details={"expected": "1 to 255 characters of A–Z a–z 0–9 _ . : -"}
        )
    return key


def fingerprint(body: Mapping[str, Any], path: Mapping[str, str]) -> bytes:
    """A keyed hash over the canonical form (RFC 8785) of the validated body without its key, the path and the version.

    Keyed, because a body may hold what must not be guessed from a hash.
    """
    content = {name: value for name, value in body.items() if name != "idempotency_key"}
    canonical = rfc8785.dumps({"version": API_VERSION, "path": dict(path), "body": _plain(content)})
    return keyed_hash("idempotency-fingerprint", canonical)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)
