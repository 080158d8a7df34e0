"""Encryption at rest and keyed hashes. AES-256-GCM with associated data, so that a ciphertext moved to another row
or column does not open (NIST SP 800-38D). Keys come from the environment; none has a default in production."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

_VERSION = b"\x01"
_NONCE_BYTES = 12


class CannotDecrypt(Exception):
    """The blob was made with another key or for another place, or was changed."""


def seal(plaintext: bytes, *, context: str) -> bytes:
    """Encrypt for one place. ``context`` names it ('table|column|workspace|row') and must be given again to open."""
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + nonce + AESGCM(_key("encryption")).encrypt(nonce, plaintext, context.encode())


def unseal(blob: bytes, *, context: str) -> bytes:
    """Decrypt what ``seal`` made for the same context. :raises CannotDecrypt:"""
    blob = bytes(blob)
    if blob[:1] != _VERSION:
        raise CannotDecrypt("unknown format")
    nonce, body = blob[1 : 1 + _NONCE_BYTES], blob[1 + _NONCE_BYTES :]
    try:
        return AESGCM(_key("encryption")).decrypt(nonce, body, context.encode())
    except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
        raise CannotDecrypt("wrong key, wrong place, or changed") from None


def keyed_hash(purpose: str, message: bytes) -> bytes:
    """HMAC-SHA256 of a message under a key of its own per purpose (API keys, provider keys, fingerprints)."""
    return hmac.new(_key(purpose), message, hashlib.sha256).digest()


def base32_digest(digest: bytes, *, length: int) -> str:
    """The first ``length`` lower-case base32 characters of a digest (RFC 4648 §6)."""
    return base64.b32encode(digest).decode().lower().rstrip("=")[:length]


def _key(purpose: str) -> bytes:
    """A 32-byte key derived per purpose from the deployment's master key (HMAC as a PRF, RFC 5869 §2.3)."""
    return hmac.new(settings.ZENTRA_MASTER_KEY, b"zentra/" + purpose.encode(), hashlib.sha256).digest()
