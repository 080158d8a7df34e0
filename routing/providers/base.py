"""The contract of a provider adapter: what it declares, what it does, and how its answers are read safely.

An adapter translates one ``ProviderRequest`` into one HTTP exchange and the exchange into one ``ProviderResult``. It
never raises for a decline, a timeout or an unreadable answer, never retries, never reads the database and never logs
a body. Everything that is the same for all providers (bulkhead, integrity check, reading of repeats) is done around
it in ``routing.providers.calls``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol

from routing.types import (
    CODE_NO_ANSWER,
    CODE_UNREACHABLE,
    CODE_UNREADABLE,
    DECLINES,
    Operation,
    ProviderEndpoint,
    ProviderRequest,
    ProviderResult,
    RetryAdvice,
    Transport,
    Verdict,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an adapter declares about its provider. Nothing is assumed that is not written here.

    :param methods: payment methods the provider can charge
    :param replay_returns_every_outcome: a repeated idempotency key returns the first outcome, whatever it was
    :param key_retention_seconds: how long the provider promises to remember a key
    :param query_by_own_reference: an operation can be found by the reference that we gave it
    :param reference_max_length: the longest reference the provider keeps whole
    :param deadline_seconds: how long a call may take when the account says nothing else
    :param sandbox_only: never to be used for live payments
    """

    operations: frozenset[Operation]
    methods: tuple[str, ...]
    replay_returns_every_outcome: bool
    key_retention_seconds: int
    query_by_own_reference: bool
    reference_max_length: int
    callbacks: bool
    deadline_seconds: float
    sandbox_only: bool = False

    def may_replay(self, *, age_seconds: float) -> bool:
        """Whether repeating a call under its key is a safe way to learn its outcome.

        Only while the provider surely remembers the key: a forgotten key would run the operation again. Half of the
        declared retention is the limit (docs/decisions/0032). The caller makes sure that the payment is still wanted.
        """
        return self.replay_returns_every_outcome and 0 <= age_seconds < self.key_retention_seconds / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackFact:
    """What a provider's callback states, already verified and parsed.

    :param provider_event_id: the provider's id of the callback; the same id again is the same callback
    :param type: the provider's own event name
    :param operation: which of our operations it is about, None when the event is none we know
    :param own_reference: our reference of that operation, '' when the callback names none
    :param provider_reference: the provider's id of the operation
    :param status: the provider's own word for the state
    :param verdict: what that word means on our axis; UNKNOWN when it says nothing final
    :param nothing_authorized: the callback states that the operation moved and reserved nothing
    :param code: the provider's decline code, '' when there is none
    :param partial: the provider says openly that it approved less than was asked
    """

    provider_event_id: str
    type: str
    operation: Operation | None
    own_reference: str
    provider_reference: str
    status: str
    verdict: Verdict
    nothing_authorized: bool
    amount_minor: int | None
    currency: str | None
    code: str = ""
    network_code: str = ""
    partial: bool = False


class CallbackRefused(Exception):
    """The callback is not the provider's, is too old, or cannot be read. Never shown to the sender in detail."""


class ProviderAdapter(Protocol):
    """One provider. Adapters hold no state, so one instance serves every account and thread."""

    code: str
    capabilities: Capabilities

    def authorize(self, endpoint: ProviderEndpoint, request: ProviderRequest) -> ProviderResult: ...

    def capture(self, endpoint: ProviderEndpoint, request: ProviderRequest) -> ProviderResult: ...

    def void(self, endpoint: ProviderEndpoint, request: ProviderRequest) -> ProviderResult: ...

    def refund(self, endpoint: ProviderEndpoint, request: ProviderRequest) -> ProviderResult: ...

    def query(self, endpoint: ProviderEndpoint, request: ProviderRequest) -> ProviderResult:
        """What became of ``request.about``, found by ``request.reference``. Not found is CODE_NOT_FOUND, unknown."""
        ...

    def verify_callback(self, headers: Mapping[str, str], body: bytes, secret: str, now: datetime) -> None:
        """Check the signature and the age of a callback. :raises CallbackRefused:"""
        ...

    def parse_callback(self, body: bytes) -> CallbackFact:
        """Read a verified callback. :raises CallbackRefused: it is not a callback of this provider"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an adapter read from a provider's document, before it becomes a result."""

    verdict: Verdict
    nothing_authorized: bool = False
    retry_advice: RetryAdvice = RetryAdvice.NEVER
    fields: Mapping[str, Any] = field(default_factory=dict)


def answered(
    request: ProviderRequest, answer: Answer, *, elapsed_ms: int, exchange: Mapping[str, Any]
) -> ProviderResult:
    """The result of an answer that could be read."""
    return ProviderResult(
        operation=request.operation,
        transport=Transport.ANSWERED,
        verdict=answer.verdict,
        nothing_authorized=answer.nothing_authorized,
        retry_advice=answer.retry_advice,
        elapsed_ms=elapsed_ms,
        exchange=exchange,
        **answer.fields,
    )


def not_sent(
    request: ProviderRequest,
    *,
    message: str,
    code: str = CODE_UNREACHABLE,
    verdict: Verdict = Verdict.PROVIDER_FAULT,
    elapsed_ms: int = 0,
) -> ProviderResult:
    """The result of a call of which no byte can have left: nothing happened, another provider may be tried."""
    return ProviderResult(
        operation=request.operation,
        transport=Transport.NOT_SENT,
        verdict=verdict,
        nothing_authorized=True,
        retry_advice=RetryAdvice.OTHER_PROVIDER_NOW,
        code=code,
        message=message,
        elapsed_ms=elapsed_ms,
    )


def no_answer(
    request: ProviderRequest, *, message: str, code: str = CODE_NO_ANSWER, elapsed_ms: int = 0
) -> ProviderResult:
    """The result of a call that may have arrived and was not answered: unknown, to be resolved before anything else."""
    return ProviderResult(
        operation=request.operation,
        transport=Transport.SENT_NO_ANSWER,
        verdict=Verdict.UNKNOWN,
        nothing_authorized=False,
        retry_advice=RetryAdvice.RESOLVE_FIRST,
        code=code,
        message=message,
        elapsed_ms=elapsed_ms,
    )


def unreadable(
    request: ProviderRequest, *, message: str, raw_status: str, elapsed_ms: int, exchange: Mapping[str, Any]
) -> ProviderResult:
    """The result of an answer that says nothing reliable: as unknown as no answer."""
    return ProviderResult(
        operation=request.operation,
        transport=Transport.ANSWERED_UNREADABLE,
        verdict=Verdict.UNKNOWN,
        nothing_authorized=False,
        retry_advice=RetryAdvice.RESOLVE_FIRST,
        code=CODE_UNREADABLE,
        message=message,
        raw_status=raw_status,
        elapsed_ms=elapsed_ms,
        exchange=exchange,
    )


#: What a repeat or a query may conclude. Anything else (a fault, a refused credential, an unsent request) is about this
#: call and proves nothing about the operation that was sent before, unless the provider marks it as its first answer.
_CONCLUSIVE: Final = DECLINES | {Verdict.APPROVED, Verdict.ACTION_REQUIRED}


def read_as_follow_up(result: ProviderResult) -> ProviderResult:
    """A result of a repeat or a query with everything inconclusive turned into unknown."""
    if result.replayed or result.verdict in _CONCLUSIVE:
        return result
    return replace(result, verdict=Verdict.UNKNOWN, nothing_authorized=False, retry_advice=RetryAdvice.RESOLVE_FIRST)


def conflicts_of(request: ProviderRequest, result: ProviderResult) -> tuple[str, ...]:
    """The fields in which an answer differs from its request: amount_minor, currency, reference.

    A partial approval that was allowed and is smaller than asked is no difference. What the answer does not state is
    not compared: an adapter treats an approval without amount, currency or reference as unreadable. A void has no
    amount of its own.
    """
    if result.transport is not Transport.ANSWERED:
        return ()
    has_amount = (request.about or request.operation) is not Operation.VOID
    allowed_partial = (
        result.partial
        and request.allow_partial
        and result.amount_minor is not None
        and 0 < result.amount_minor < request.amount_minor
    )
    differs = {
        "amount_minor": has_amount and result.amount_minor not in (None, request.amount_minor) and not allowed_partial,
        "currency": result.currency not in (None, request.currency),
        "reference": result.own_reference not in ("", request.reference),
    }
    return tuple(name for name, different in differs.items() if different)
