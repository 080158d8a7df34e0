"""The text of API keys: how one is made, recognised and hashed.

Form: ``sk_sandbox_`` + 8 characters public id + 32 random base62 characters (≥ 190 bit) + 6 characters CRC-32.
The checksum lets a scanner or the edge reject a mistyped key without a look-up; the scheme is the one GitHub
describes for its tokens ("Behind GitHub's new authentication token formats", 2021). A key has full entropy, so a
fast keyed hash (HMAC-SHA256) is right; a slow password hash would only cost every request.
"""

from __future__ import annotations

import hmac
import secrets
import string
import zlib
from dataclasses import dataclass

from zentra.core.crypto import keyed_hash
from zentra.tenancy.types import Environment, KeyKind

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PUBLIC_LENGTH, _RANDOM_LENGTH, _CHECKSUM_LENGTH = 8, 32, 6
MAX_KEY_LENGTH = 80


@dataclass(frozen=True, slots=True)
class KeyText:
    """A well-formed key. ``text`` is the secret itself: it is shown once and never stored or logged."""

    kind: KeyKind
    environment: Environment
    public: str
    text: str

    def __repr__(self) -> str:
        return f"KeyText({self.kind}_{self.environment}_{self.public}…)"

    def digest(self) -> bytes:
        """What is stored: HMAC-SHA256 of the whole text under the deployment's key."""
        return keyed_hash("api-key", self.text.encode())

    def matches(self, digest: bytes) -> bool:
        """Compare with a stored digest in constant time."""
        return hmac.compare_digest(self.digest(), bytes(digest))


def generate_key(kind: KeyKind, environment: Environment) -> KeyText:
    """A new random key."""
    public = "".join(secrets.choice(_BASE62) for _ in range(_PUBLIC_LENGTH))
    head = f"{kind}_{environment}_{public}" + "".join(secrets.choice(_BASE62) for _ in range(_RANDOM_LENGTH))
    return KeyText(kind=kind, environment=environment, public=public, text=head + _checksum(head))


def parse_key(text: str) -> KeyText | None:
    """The parts of a key, or None when the text cannot be one (length, form, alphabet, checksum)."""
    if len(text) > MAX_KEY_LENGTH:
        return None
    kind, _, rest = text.partition("_")
    environment, _, body = rest.partition("_")
    if kind not in set(KeyKind) or environment not in set(Environment):
        return None
    if len(body) != _PUBLIC_LENGTH + _RANDOM_LENGTH + _CHECKSUM_LENGTH or set(body) - set(_BASE62):
        return None
    if not hmac.compare_digest(_checksum(text[:-_CHECKSUM_LENGTH]), text[-_CHECKSUM_LENGTH:]):
        return None
    return KeyText(kind=KeyKind(kind), environment=Environment(environment), public=body[:_PUBLIC_LENGTH], text=text)


def _checksum(head: str) -> str:
    number, characters = zlib.crc32(head.encode()), []
    for _ in range(_CHECKSUM_LENGTH):
        number, index = divmod(number, 62)
        characters.append(_BASE62[index])
    return "".join(reversed(characters))
