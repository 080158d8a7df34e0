"""Signatures of deliveries: values in, values out.

Two headers carry the same HMAC-SHA256 under the same key (the bytes behind the base64 of ``whsec_…``):

* ``webhook-signature: v1,<base64>`` over ``id.timestamp.body``, with ``webhook-id`` and ``webhook-timestamp``
  (Standard Webhooks 1.0.0, github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md);
* ``x-zentra-signature: t=<timestamp>,v1=<hex>`` over ``timestamp.body``.

While a secret is being rotated both the new and the old one sign, the new one first.
``tests/webhooks/vectors.json`` holds worked examples.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets as random_source
from collections.abc import Mapping, Sequence

SECRET_BYTES = 32
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
SECRET_PREFIX = "whsec_"  # noqa: S105 - the public form's prefix
TOLERANCE_SECONDS = 300
_MAX_SIGNATURES = 8


class MalformedSecret(ValueError):
    """The text is not ``whsec_`` and the base64 of 24 to 64 bytes."""


def new_secret() -> bytes:
    """A fresh random signing key."""
    return random_source.token_bytes(SECRET_BYTES)


def secret_text(secret: bytes) -> str:
    """The form in which a merchant gets a key, once."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def parse_secret(text: str) -> bytes:
    """The key behind its text. :raises MalformedSecret:"""
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedSecret("not base64") from None
    if not text.startswith(SECRET_PREFIX) or not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise MalformedSecret("wrong prefix or length")
    return secret


def signature_headers(*, event_id: str, timestamp: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The four headers that let a receiver verify a delivery.

    :param event_id: the public id of the event: the same on every attempt, so receivers deduplicate by it
    :param timestamp: Unix seconds of this attempt
    :param secrets: the live keys, newest first; at least one
    """
    if not secrets:
        raise ValueError("no key to sign with")
    standard = " ".join(f"v1,{standard_signature(secret, event_id, timestamp, body)}" for secret in secrets)
    own = ",".join(f"v1={own_signature(secret, timestamp, body)}" for secret in secrets)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": standard,
        "x-zentra-signature": f"t={timestamp},{own}",
    }


def standard_signature(secret: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    """Base64 of HMAC-SHA256 over ``id.timestamp.body``."""
    message = f"{event_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(secret, message, hashlib.sha256).digest()).decode()


def own_signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """Hex of HMAC-SHA256 over ``timestamp.body``."""
    return hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def verify_standard(*, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: int) -> bool:
    """Whether the Standard Webhooks headers (lower-case names) were made with one of the keys, recently.

    :param now: Unix seconds at the receiver; up to TOLERANCE_SECONDS either way are accepted
    """
    event_id = headers.get("webhook-id", "")
    timestamp = _fresh_timestamp(headers.get("webhook-timestamp", ""), now)
    if timestamp is None or not event_id:
        return False
    given = [
        value
        for version, _, value in (part.partition(",") for part in headers.get("webhook-signature", "").split(" "))
        if version == "v1"
    ]
    return _any_match(given, [standard_signature(secret, event_id, timestamp, body) for secret in secrets])


def verify_own(*, header: str, body: bytes, secrets: Sequence[bytes], now: int) -> bool:
    """Whether an ``x-zentra-signature`` was made over these bytes with one of the keys, recently."""
    parts = [part.partition("=") for part in header.split(",")]
    timestamps = [value for name, _, value in parts if name == "t"]
    timestamp = _fresh_timestamp(timestamps[0], now) if len(timestamps) == 1 else None
    if timestamp is None:
        return False
    given = [value for name, _, value in parts if name == "v1"]
    return _any_match(given, [own_signature(secret, timestamp, body) for secret in secrets])


def _fresh_timestamp(text: str, now: int) -> int | None:
    """The timestamp, when it is a plain number within the tolerance."""
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and str(int(text)) == text):
        return None
    return int(text) if abs(now - int(text)) <= TOLERANCE_SECONDS else None


def _any_match(given: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether any given signature equals any expected one, each compared in constant time."""
    pairs = ((one, other) for one in given[:_MAX_SIGNATURES] for other in expected)
    return any([hmac.compare_digest(one.encode(), other.encode()) for one, other in pairs])
