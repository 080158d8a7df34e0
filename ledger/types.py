"""Values that cross the ledger's border: what is to be booked, and what was booked.

Sign convention everywhere: an amount is an integer of minor units, debit positive, credit negative.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from zentra.core.money import MAX_AMOUNT_MINOR, currency_exponent

MAX_LEGS: Final = 20
MAX_KEY_LENGTH: Final = 200
MAX_KIND_LENGTH: Final = 64
MAX_OWNER_LENGTH: Final = 64
MAX_META_BYTES: Final = 4096


class InvalidPosting(ValueError):
    """A posting that no ledger could book: a defect of the code that built it, never of a client's request."""


class UnbalancedPosting(InvalidPosting):
    """The legs do not sum to zero, on balance and in the memo group apart."""


class UnknownAccountCode(InvalidPosting):
    """The chart of accounts has no such code."""


class AccountClass(StrEnum):
    """What an account is; the first digit of its code says it too."""

    ASSET = "asset"
    LIABILITY = "liability"
    INCOME = "income"
    EXPENSE = "expense"
    MEMO = "memo"

    @classmethod
    def of(cls, code: str) -> AccountClass:
        """The class of an account code by its first digit. :raises UnknownAccountCode: no class has that digit"""
        try:
            return _CLASS_BY_DIGIT[code[:1]]
        except KeyError:
            raise UnknownAccountCode(f"no account class for code {code!r:.12}") from None


_CLASS_BY_DIGIT: Final = {
    "1": AccountClass.ASSET,
    "2": AccountClass.LIABILITY,
    "4": AccountClass.INCOME,
    "5": AccountClass.EXPENSE,
    "9": AccountClass.MEMO,
}


class Side(StrEnum):
    DEBIT = "debit"
    CREDIT = "credit"

    @classmethod
    def of(cls, amount_minor: int) -> Side:
        return cls.DEBIT if amount_minor > 0 else cls.CREDIT


class BalanceMode(StrEnum):
    """``sync``: a balance row moves with every entry and can refuse. ``deferred``: the balance is summed when read."""

    SYNC = "sync"
    DEFERRED = "deferred"


@dataclass(frozen=True, slots=True)
class AccountKey:
    """Which account, inside a workspace and a currency. Accounts come into being when first named.

    :param code: code of the chart ('2020')
    :param owner_type: merchant, provider, bank, customer or platform; '' for accounts of the workspace itself
    :param owner_id: bare id of the owner as text
    :param dimension: bare id of what splits the account further (a batch of 1110, a case of 2900)
    """

    code: str
    owner_type: str = ""
    owner_id: str = ""
    dimension: str = ""

    def __str__(self) -> str:
        return ":".join(part for part in (self.code, self.owner_type, self.owner_id, self.dimension) if part)


@dataclass(frozen=True, slots=True)
class Leg:
    """One signed line of a posting: debit positive, credit negative, never zero."""

    account: AccountKey
    amount_minor: int


def legs_of(*lines: tuple[AccountKey, int]) -> tuple[Leg, ...]:
    """Legs from (account, signed amount) pairs. A line of zero is left out: a fee of nothing books nothing."""
    return tuple(Leg(account, amount_minor) for account, amount_minor in lines if amount_minor != 0)


@dataclass(frozen=True, slots=True)
class Posting:
    """One business event to be booked, whole or not at all. It cannot be built unbalanced.

    :param key: idempotency key derived from the business event ('capture:<capture id>'), unique in the workspace
    :param kind: what happened ('capture'), for people and reports
    :param effective_date: accounting day of the event in the workspace's time zone; a repeat carries the same day
    :param reverses_id: the journal that this one mirrors exactly
    :param meta: ids and rule versions that belong to the event; JSON-able, no personal data, equal on every repeat
    :raises InvalidPosting: too few or too many legs, an amount of zero or beyond 2^53−1, text that is empty or too long
    :raises UnbalancedPosting: the legs do not sum to zero, on balance and memo apart
    """

    key: str
    kind: str
    currency: str
    legs: tuple[Leg, ...]
    effective_date: date
    payment_id: UUID | None = None
    batch_id: UUID | None = None
    case_id: UUID | None = None
    reverses_id: UUID | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        currency_exponent(self.currency)
        _check_text("key", self.key, MAX_KEY_LENGTH)
        _check_text("kind", self.kind, MAX_KIND_LENGTH)
        if not 2 <= len(self.legs) <= MAX_LEGS:
            raise InvalidPosting(f"{self.key}: {len(self.legs)} legs; a posting has 2 to {MAX_LEGS}")
        if len(json.dumps(dict(self.meta))) > MAX_META_BYTES:
            raise InvalidPosting(f"{self.key}: meta is larger than {MAX_META_BYTES} bytes")
        for leg in self.legs:
            _check_leg(self.key, leg)
        _check_balance(self.key, self.legs)

    def fingerprint(self) -> bytes:
        """SHA-256 over everything that is booked (not the key, nor the order of legs): equal content, equal bytes."""
        return hashlib.sha256(self._canonical_form()).digest()

    def _canonical_form(self) -> bytes:
        """JSON with sorted keys, no spaces and the legs in a fixed order; it holds text and integers only."""
        content = {
            "kind": self.kind,
            "currency": self.currency,
            "legs": sorted(
                [
                    leg.account.code,
                    leg.account.owner_type,
                    leg.account.owner_id,
                    leg.account.dimension,
                    leg.amount_minor,
                ]
                for leg in self.legs
            ),
            "effective_date": self.effective_date.isoformat(),
            "payment_id": _id_text(self.payment_id),
            "batch_id": _id_text(self.batch_id),
            "case_id": _id_text(self.case_id),
            "reverses_id": _id_text(self.reverses_id),
            "meta": dict(self.meta),
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class PostedJournal:
    """What the ledger did with a posting.

    :param id: the journal; on a replay the one that was booked first
    :param replayed: the key was booked before with the same content, and nothing was written now
    :param entry_ids: its entries, in the order of the legs that were booked first
    """

    id: UUID
    replayed: bool
    entry_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TrialBalanceRow:
    """All accounts of one code and currency: turnover on each side, and what is left (debit positive)."""

    code: str
    name: str
    account_class: AccountClass
    currency: str
    debit_minor: int
    credit_minor: int
    balance_minor: int

    @property
    def is_memo(self) -> bool:
        """Memo accounts are off the balance sheet and net to zero among themselves."""
        return self.account_class is AccountClass.MEMO


@dataclass(frozen=True, slots=True)
class ProofResult:
    """What one proof of the books found wrong: one sentence per violation, none when it holds."""

    name: str
    violations: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.violations


def _id_text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _check_text(name: str, value: str, longest: int) -> None:
    if not 1 <= len(value) <= longest:
        raise InvalidPosting(f"{name} has {len(value)} characters; 1 to {longest} are allowed")


def _check_leg(key: str, leg: Leg) -> None:
    amount = leg.amount_minor
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise InvalidPosting(f"{key}: amounts are integers of minor units, not {type(amount).__name__}")
    if amount == 0 or abs(amount) > MAX_AMOUNT_MINOR:
        raise InvalidPosting(f"{key}: amount {amount} is zero or beyond {MAX_AMOUNT_MINOR}")
    for text in (leg.account.owner_type, leg.account.owner_id, leg.account.dimension):
        if len(text) > MAX_OWNER_LENGTH:
            raise InvalidPosting(f"{key}: an account's owner and dimension have at most {MAX_OWNER_LENGTH} characters")


def _check_balance(key: str, legs: tuple[Leg, ...]) -> None:
    left: dict[bool, int] = defaultdict(int)
    for leg in legs:
        left[AccountClass.of(leg.account.code) is AccountClass.MEMO] += leg.amount_minor
    for is_memo, amount_minor in left.items():
        if amount_minor != 0:
            group = "memo" if is_memo else "on-balance"
            raise UnbalancedPosting(f"{key}: the {group} legs leave {amount_minor} minor units")
