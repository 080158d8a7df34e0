"""Values of routing that cross into other apps: requests, plans, and what a provider's answer means.

Two axes describe every provider call. ``Transport`` says what is known about the wire, ``Verdict`` what is known about
the money. A third, ``RetryAdvice``, says what may be tried next. They are kept apart because "no answer" and "no" are
different facts, and only the second one allows another try.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

#: The most that a provider account may let one call take.
MAX_DEADLINE_SECONDS: Final = 60.0


class Operation(StrEnum):
    """What a provider can be asked to do. ``QUERY`` asks what became of an earlier operation."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    QUERY = "query"


class Transport(StrEnum):
    """What is known about the wire.

    ``NOT_SENT``: no byte of the request can have reached the provider (refused, no address, TLS, bulkhead full).
    ``SENT_NO_ANSWER``: it may have arrived and nothing came back (deadline, reset).
    ``ANSWERED_UNREADABLE``: something came back that says nothing reliable (500, broken body, missing fields).
    """

    NOT_SENT = "not_sent"
    SENT_NO_ANSWER = "sent_no_answer"
    ANSWERED = "answered"
    ANSWERED_UNREADABLE = "answered_unreadable"


class Verdict(StrEnum):
    """What is known about the money.

    ``CONFIG`` is our side of the contract (credential, merchant set-up), ``INVALID_REQUEST`` this request's content,
    ``PROVIDER_FAULT`` the provider's own trouble, ``UNKNOWN`` everything that is not an explicit statement.
    """

    APPROVED = "approved"
    ACTION_REQUIRED = "action_required"
    SOFT_DECLINE = "soft_decline"
    HARD_DECLINE = "hard_decline"
    INVALID_REQUEST = "invalid_request"
    CONFIG = "config"
    PROVIDER_FAULT = "provider_fault"
    RISK_BLOCK = "risk_block"
    UNKNOWN = "unknown"


class RetryAdvice(StrEnum):
    """What may be tried after a result. Never-retry codes of the card networks become ``NEVER``."""

    NEVER = "never"
    SAME_PROVIDER_LATER = "same_provider_later"
    OTHER_PROVIDER_NOW = "other_provider_now"
    STEP_UP = "step_up"
    UPDATE_INSTRUMENT = "update_instrument"
    RESOLVE_FIRST = "resolve_first"


#: Verdicts that an issuer or a risk engine reached: they stand on a repeat of the same request, too.
DECLINES: Final = frozenset({Verdict.SOFT_DECLINE, Verdict.HARD_DECLINE, Verdict.RISK_BLOCK})

#: The codes that the platform itself puts on a result; every other code is the provider's own.
CODE_NOT_FOUND: Final = "operation_not_found"
CODE_PENDING: Final = "operation_pending"
CODE_BUSY: Final = "provider_busy"
CODE_UNREACHABLE: Final = "provider_unreachable"
CODE_NO_ANSWER: Final = "provider_no_answer"
CODE_UNREADABLE: Final = "provider_answer_unreadable"
CODE_UNSUPPORTED: Final = "operation_not_supported"
CODE_ADAPTER_FAILED: Final = "adapter_failed"


@dataclass(frozen=True, slots=True)
class NextAction:
    """What the customer has to do before the provider decides. ``type`` is 'redirect' or the provider's own word."""

    type: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRequest:
    """The facts a route is decided from. Values only: routing never sees a payment.

    :param amount_minor: minor units of ``currency``
    :param method: 'card', 'bank_debit', …
    :param capture_method: 'automatic' or 'manual'
    :param credential_account_ids: the provider accounts that hold a credential for this payment method;
        None when every account can charge it (a published sandbox token)
    """

    workspace_id: UUID
    environment: str
    amount_minor: int
    currency: str
    method: str
    merchant_id: UUID | None = None
    capture_method: str = "automatic"
    credential_account_ids: frozenset[UUID] | None = None

    def facts(self) -> dict[str, Any]:
        """The request as it is stored with a decision: ids and codes, no personal data."""
        held = self.credential_account_ids
        return {
            "environment": self.environment,
            "amount_minor": self.amount_minor,
            "currency": self.currency,
            "method": self.method,
            "merchant_id": str(self.merchant_id) if self.merchant_id else None,
            "capture_method": self.capture_method,
            "credential_account_ids": None if held is None else sorted(str(item) for item in held),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """A provider account as the rules see it. Empty ``currencies`` or ``methods`` mean every one.

    :param settlement_currency: None when the account settles in the currency of the payment
    :param priority: lower comes first
    :param weight: share among accounts of equal priority; 0 is only used when nothing else is left
    :param provider_methods: the methods that the provider's adapter can charge
    :param provider_known: an adapter for the account's provider is installed
    :param sandbox_only: the provider is the sandbox; never eligible in a live workspace
    """

    account_id: UUID
    name: str
    provider: str
    enabled: bool = True
    currencies: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    min_amount_minor: int | None = None
    max_amount_minor: int | None = None
    settlement_currency: str | None = None
    priority: int = 100
    weight: int = 100
    provider_methods: tuple[str, ...] = ()
    provider_known: bool = True
    sandbox_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFacts:
    """A routing rule: conditions that must all hold (None is no condition), and the account that then goes first."""

    rule_id: UUID
    name: str
    account_id: UUID
    currency: str | None = None
    method: str | None = None
    merchant_id: UUID | None = None
    min_amount_minor: int | None = None
    max_amount_minor: int | None = None
    priority: int = 100
    weight: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """What an operator sets on a provider account; see ``AccountFacts`` for the meaning of each.

    :param base_url: where the provider's API is; https, except in a sandbox workspace
    :param deadline_seconds: None takes the deadline that the adapter declares
    """

    name: str
    base_url: str
    enabled: bool = True
    currencies: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    min_amount_minor: int | None = None
    max_amount_minor: int | None = None
    settlement_currency: str | None = None
    priority: int = 100
    weight: int = 100
    deadline_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """What an operator sets on a routing rule; see ``RuleFacts``."""

    name: str
    account_id: UUID
    enabled: bool = True
    currency: str | None = None
    method: str | None = None
    merchant_id: UUID | None = None
    min_amount_minor: int | None = None
    max_amount_minor: int | None = None
    priority: int = 100
    weight: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One account in a decision. ``reasons`` is empty for the chosen account alone.

    :param rank: 1 for the chosen account, 2 for the one that a failover tries next, None when not eligible
    :param rule: the name of the rule that placed the account, None when its own priority did
    :param placed_by: 'rule' or 'account'; accounts placed by a rule come before all others
    """

    account_id: UUID
    name: str
    provider: str
    eligible: bool
    reasons: tuple[str, ...] = ()
    rule: str | None = None
    rank: int | None = None
    placed_by: str = "account"
    priority: int = 100
    weight: int = 100

    def as_json(self) -> dict[str, Any]:
        return {
            "account_id": str(self.account_id),
            "name": self.name,
            "provider": self.provider,
            "eligible": self.eligible,
            "rank": self.rank,
            "reasons": list(self.reasons),
            "rule": self.rule,
            "placed_by": self.placed_by,
            "priority": self.priority,
            "weight": self.weight,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Candidate:
        """The candidate behind ``as_json``."""
        return cls(
            **{**data, "account_id": UUID(data["account_id"]), "reasons": tuple(data["reasons"])},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutePlan:
    """A decision not yet stored: every candidate, eligible ones first in the order they would be tried."""

    request: RouteRequest
    candidates: tuple[Candidate, ...]
    seed: str
    ruleset_fingerprint: str
    made_at: datetime

    @property
    def order(self) -> tuple[Candidate, ...]:
        """The eligible candidates, in the order of trying."""
        return tuple(candidate for candidate in self.candidates if candidate.eligible)

    @property
    def chosen(self) -> Candidate | None:
        """The first to try; None when no account can take the payment."""
        order = self.order
        return order[0] if order else None

    def next_after(self, tried: Collection[UUID]) -> Candidate | None:
        """The next eligible candidate whose account was not tried; None when there is none left."""
        return next((candidate for candidate in self.order if candidate.account_id not in tried), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEndpoint:
    """Where and as whom a provider account is called. The credential never shows in a repr or a log.

    :param deadline_seconds: the whole call, from connecting to the last byte of the answer
    """

    account_id: UUID
    workspace_id: UUID
    name: str
    provider: str
    base_url: str
    credential: str = field(repr=False)
    deadline_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequest:
    """One operation at a provider account, complete before the wire is touched.

    :param provider_key: the idempotency key of the operation (``routing.rules.provider_key``); stable for ever
    :param reference: our own name of the operation at the provider; a query finds it by this
    :param payment_token: AUTHORIZE: what is charged
    :param original_reference: the provider's id of the authorization; CAPTURE, REFUND, and VOID where it is known
    :param original_own_reference: our reference of the authorization; VOID when the provider's id never arrived
    :param capture_reference: REFUND: the provider's id of the capture that is given back
    :param final: CAPTURE: nothing more will be captured
    :param about: QUERY: the operation that is asked about
    :param is_repeat: the same request under the same key was sent before, so this call's failing proves nothing
    :param deadline_seconds: None takes the deadline of the account
    """

    operation: Operation
    provider_key: str
    reference: str
    amount_minor: int
    currency: str
    payment_token: str = field(default="", repr=False)
    original_reference: str = ""
    original_own_reference: str = ""
    capture_reference: str = ""
    merchant_reference: str = ""
    final: bool = True
    allow_partial: bool = False
    about: Operation | None = None
    is_repeat: bool = False
    deadline_seconds: float | None = None

    def as_query(self) -> ProviderRequest:
        """The question what became of this operation, asked by our own reference."""
        return replace(self, operation=Operation.QUERY, about=self.operation, is_repeat=False)

    def as_repeat(self) -> ProviderRequest:
        """The same operation once more under the same key, as a way of asking for its outcome."""
        return replace(self, is_repeat=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderResult:
    """What one call at a provider established. Contradictory combinations cannot be built.

    :param operation: what was asked (QUERY for a query, whatever it was about)
    :param nothing_authorized: it is certain that the operation moved and reserved nothing
    :param provider_reference: the provider's id of the operation, '' when none is known
    :param own_reference: our reference as the provider names it, '' when it names none
    :param amount_minor: the amount as the provider states it, None when it states none
    :param code: the provider's code, or one of the CODE_ constants of this module
    :param network_code: the issuer's or network's response code (ISO 8583 field 39), '' when there is none
    :param partial: the provider says openly that it approved less than was asked
    :param replayed: the provider marks the answer as the stored first answer to the same idempotency key
    :param conflicts: names of fields in which the answer differs from the request; not empty is an operator's case
    :param raw_status: the provider's own word for the state of the operation, or the HTTP status as text
    :param exchange: what may be kept of the exchange; no token, credential, header or body
    """

    operation: Operation
    transport: Transport
    verdict: Verdict
    nothing_authorized: bool
    retry_advice: RetryAdvice
    provider_reference: str = ""
    own_reference: str = ""
    amount_minor: int | None = None
    currency: str | None = None
    code: str = ""
    network_code: str = ""
    message: str = ""
    next_action: NextAction | None = None
    partial: bool = False
    replayed: bool = False
    conflicts: tuple[str, ...] = ()
    raw_status: str = ""
    elapsed_ms: int = 0
    exchange: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if contradiction := _contradiction(self):
            raise ValueError(f"contradictory provider result: {contradiction}")

    @property
    def is_conflicted(self) -> bool:
        return bool(self.conflicts)

    @property
    def is_unknown(self) -> bool:
        return self.verdict is Verdict.UNKNOWN

    @property
    def is_not_found(self) -> bool:
        """The provider knows no operation by our reference. One such answer proves nothing: writes may lag."""
        return self.code == CODE_NOT_FOUND


#: Verdicts that a call which never left may have: it is our side or the way there, never an issuer's decision.
_UNSENT: Final = frozenset({Verdict.PROVIDER_FAULT, Verdict.CONFIG, Verdict.INVALID_REQUEST, Verdict.UNKNOWN})


def _contradiction(result: ProviderResult) -> str:
    """Why a result cannot be true, '' when it can."""
    transport, verdict = result.transport, result.verdict
    if transport is Transport.NOT_SENT and verdict not in _UNSENT:
        return f"{verdict} without a request having been sent"
    if transport in (Transport.SENT_NO_ANSWER, Transport.ANSWERED_UNREADABLE) and verdict is not Verdict.UNKNOWN:
        return f"{verdict} without a readable answer"
    if result.nothing_authorized and verdict in (Verdict.APPROVED, Verdict.ACTION_REQUIRED, Verdict.UNKNOWN):
        return f"{verdict} and the certainty that nothing happened"
    return ""
