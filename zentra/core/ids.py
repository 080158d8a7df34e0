"""Ids: UUIDv7 (RFC 9562 §5.7) in the database, TypeID text outside ('pay_01h2xcejqtf2nbrexx3vqjhp41').

TypeID text is a lower-case prefix, an underscore and 26 characters of Crockford base32 over the 128 bits, as the
TypeID specification 0.3 (github.com/jetify-com/typeid) describes. Time-ordered keys keep index pages hot.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from zentra.core.errors import NotFound

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
#: Characters of a TypeID behind its prefix.
ID_LENGTH: Final = 26

#: Every prefix of the public contract and what it names.
PREFIXES: Final = {
    "org": "organization",
    "wsp": "workspace",
    "mer": "merchant",
    "key": "API key",
    "cus": "customer",
    "tok": "payment token",
    "pay": "payment",
    "att": "attempt",
    "cap": "capture",
    "re": "refund",
    "dsp": "dispute",
    "rte": "routing decision",
    "rul": "routing rule",
    "pac": "provider account",
    "acc": "ledger account",
    "jrn": "journal",
    "fil": "settlement file",
    "btc": "settlement batch",
    "cas": "drift case",
    "po": "payout",
    "run": "reconciliation run",
    "evt": "event",
    "whe": "webhook endpoint",
    "whd": "webhook delivery",
    "wrj": "webhook recovery job",
    "evd": "evidence record",
    "cbk": "provider callback",
}


class InvalidId(ValueError):
    """The text is not an id of the expected kind."""


def new_id() -> UUID:
    """A fresh UUIDv7: the time in milliseconds in front, random behind."""
    return uuid7()


def public_id(prefix: str, value: UUID) -> str:
    """The TypeID text of a UUID. :raises KeyError: the prefix is not in PREFIXES"""
    PREFIXES[prefix]
    number = value.int
    characters = []
    for _ in range(ID_LENGTH):
        characters.append(_ALPHABET[number & 31])
        number >>= 5
    return f"{prefix}_{''.join(reversed(characters))}"


def abbreviated(text: str) -> str:
    """A public id for a narrow table: 'pay_…6kz3q8d1'. Never for machines."""
    prefix, mark, tail = text.rpartition("_")
    return f"{prefix}{mark}…{tail[-8:]}" if len(tail) > 12 else text


def parse_public_id(prefix: str, text: str) -> UUID:
    """The UUID behind a TypeID text of one kind.

    :raises InvalidId: another prefix, a wrong length, a character outside the alphabet, or more than 128 bits
    """
    head, _, tail = text.rpartition("_")
    if head != prefix or len(tail) != ID_LENGTH or tail[0] > "7":
        raise InvalidId(f"not a {PREFIXES[prefix]} id")
    number = 0
    for character in tail:
        if character not in _VALUES:
            raise InvalidId(f"not a {PREFIXES[prefix]} id")
        number = number << 5 | _VALUES[character]
    return UUID(int=number)


def parse_or_not_found(prefix: str, text: str) -> UUID:
    """As parse_public_id, for ids in a path: a text that can be no id names nothing. :raises NotFound:"""
    try:
        return parse_public_id(prefix, text)
    except InvalidId:
        raise NotFound(f"no {PREFIXES[prefix]} has this id") from None
