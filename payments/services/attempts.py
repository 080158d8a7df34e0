"""A try around the wire: committed as sent before anybody is called, answered afterwards, resolved if it was not."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from django.db.models import Max

from payments.models import Attempt, Capture, Payment, Refund
from payments.services.chronicle import Chronicle
from payments.services.transitions import advance_attempt
from payments.states import REFUSED_ATTEMPTS, AttemptState, AttemptTrigger
from routing.providers.base import not_sent, read_as_follow_up
from routing.providers.calls import call_provider
from routing.providers.registry import UnknownProvider
from routing.rules import provider_key
from routing.selectors import endpoint_for
from routing.types import (
    CODE_UNSUPPORTED,
    DECLINES,
    MAX_DEADLINE_SECONDS,
    Operation,
    ProviderRequest,
    ProviderResult,
    Verdict,
)
from zentra.core.crypto import CannotDecrypt
from zentra.core.db import require_transaction
from zentra.core.ids import new_id, public_id
from zentra.tenancy.selectors import WorkspaceTerms

log = structlog.get_logger(__name__)

#: An attempt found as sent after so long belongs to a process that died: longer than any provider's deadline.
SENT_IS_LOST_AFTER: Final = timedelta(seconds=MAX_DEADLINE_SECONDS + 15)
#: When the resolver asks again after an unknown outcome; after the last step a person owns it.
RESOLVE_SCHEDULE: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)


def open_attempt(
    *,
    payment: Payment,
    operation: Operation,
    provider_account_id: UUID,
    amount_minor: int,
    chronicle: Chronicle,
    capture: Capture | None = None,
    refund: Refund | None = None,
) -> Attempt:
    """Write a try as sent, with its stable provider key, in a transaction that commits before the wire is touched."""
    require_transaction()
    earlier = Attempt.objects.filter(payment=payment, operation=operation).aggregate(last=Max("number"))["last"]
    number, now, attempt_id = (earlier or 0) + 1, chronicle.terms.clock.now(), new_id()
    attempt = Attempt.objects.create(
        id=attempt_id,
        workspace_id=payment.workspace_id,
        payment=payment,
        operation=operation,
        number=number,
        capture=capture,
        refund=refund,
        provider_account_id=provider_account_id,
        provider_key=provider_key(payment.workspace_id, payment.id, operation, number),
        reference=public_id("att", attempt_id),
        amount_minor=amount_minor,
        currency=payment.currency,
        state=AttemptState.SENT,
        sent_at=now,
        resolve_at=now + SENT_IS_LOST_AFTER,
    )
    chronicle.record(
        "attempt.sent",
        attempt.public_id,
        payment_id=payment.id,
        after=attempt.state,
        data={
            "operation": operation.value,
            "number": number,
            "provider_account": public_id("pac", provider_account_id),
            "amount_minor": amount_minor,
            "currency": payment.currency,
        },
    )
    return attempt


def held_authorization(payment: Payment) -> Attempt:
    """The attempt that a payment's authorization was given to: the approved one, or a part that is to be given back."""
    held = (AttemptState.APPROVED, AttemptState.CONFLICTED)
    return Attempt.objects.get(payment=payment, operation=Operation.AUTHORIZE, state__in=held)


def request_of(attempt: Attempt) -> ProviderRequest:
    """The provider request of an attempt: the same whenever it is asked for, so that a repeat is a repeat."""
    payment = attempt.payment
    authorization = None if attempt.operation == Operation.AUTHORIZE else held_authorization(payment)
    return ProviderRequest(
        operation=Operation(attempt.operation),
        provider_key=attempt.provider_key,
        reference=attempt.reference,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        payment_token=payment.payment_token_id,
        original_reference=authorization.provider_reference if authorization else "",
        original_own_reference=authorization.reference if authorization else "",
        merchant_reference=payment.reference,
        final=attempt.capture.final if attempt.capture else True,
        allow_partial=payment.allow_partial,
    )


def call(attempt: Attempt) -> ProviderResult:
    """Carry an attempt out at its provider. Never inside a transaction; never raises for a decline or a timeout."""
    return ask(attempt, request=request_of(attempt))


def ask(attempt: Attempt, *, request: ProviderRequest) -> ProviderResult:
    """Put a request, a repeat or a query about an attempt to its provider account.

    An account that cannot be used here (its secret does not open, its adapter is not installed) was not called: that
    is an answer too, for an attempt that is committed as sent must come to an end.
    """
    # From here on every log line of the request or the job, whoever writes it, names the payment.
    structlog.contextvars.bind_contextvars(
        workspace_id=public_id("wsp", attempt.workspace_id), payment_id=public_id("pay", attempt.payment_id)
    )
    try:
        endpoint = endpoint_for(attempt.workspace_id, attempt.provider_account_id)
    except (CannotDecrypt, UnknownProvider) as error:
        log.error("provider_account_unusable", attempt_id=attempt.public_id, error=type(error).__name__)
        result = not_sent(request, code=CODE_UNSUPPORTED, verdict=Verdict.CONFIG, message="the account cannot be used")
        return read_as_follow_up(result) if request.is_repeat or request.about else result
    return call_provider(endpoint=endpoint, request=request)


def trigger_of(result: ProviderResult) -> AttemptTrigger:
    """What a provider's result means for the attempt. Only an explicit statement is a no."""
    if result.is_conflicted:
        return AttemptTrigger.ANSWER_DIFFERS
    if result.verdict is Verdict.APPROVED:
        return AttemptTrigger.APPROVED
    if result.verdict is Verdict.ACTION_REQUIRED:
        return AttemptTrigger.ACTION_REQUIRED
    if result.verdict in DECLINES and result.nothing_authorized:
        return AttemptTrigger.DECLINED
    return AttemptTrigger.NOTHING_HAPPENED if result.nothing_authorized else AttemptTrigger.NO_ANSWER


def answer_attempt(*, attempt: Attempt, result: ProviderResult, via: str, chronicle: Chronicle) -> AttemptState:
    """Write what is known of an attempt now, and when to ask again if that is not enough.

    :param via: how it became known: 'answer', 'replay', 'query', 'callback', 'settlement_line', 'operator'
    :raises IllegalTransition: the attempt is decided already
    """
    require_transaction()
    before, now = attempt.state, chronicle.terms.clock.now()
    state = advance_attempt(attempt=attempt, trigger=trigger_of(result))
    if state is AttemptState.ACTION_REQUIRED:
        _schedule(attempt, chronicle.terms, first=before != state, not_found=False)
        if before == state:
            attempt.save(update_fields=["resolve_at", "resolve_count", "needs_operator"])
            return state
    attempt.transport, attempt.verdict = result.transport, result.verdict
    attempt.provider_reference = result.provider_reference or attempt.provider_reference
    attempt.code, attempt.network_code = result.code[:64], result.network_code[:16]
    attempt.retry_advice, attempt.conflicts = result.retry_advice, list(result.conflicts)
    attempt.exchange, attempt.elapsed_ms = dict(result.exchange), result.elapsed_ms
    if state is AttemptState.UNKNOWN:
        _schedule(attempt, chronicle.terms, first=before == AttemptState.SENT, not_found=result.is_not_found)
    else:
        attempt.answered_at, attempt.resolved_by = now, "" if via == "answer" else via
        attempt.needs_operator = state is AttemptState.CONFLICTED
    attempt.save()
    chronicle.record(
        "attempt.resolved" if via != "answer" else "attempt.answered",
        attempt.public_id,
        payment_id=attempt.payment_id,
        before=before,
        after=state,
        data={
            "via": via,
            "transport": result.transport.value,
            "verdict": result.verdict.value,
            "code": attempt.code,
            "provider_reference": attempt.provider_reference,
            "conflicts": list(result.conflicts),
        },
    )
    return state


def contradict(*, attempt: Attempt, result: ProviderResult, via: str, chronicle: Chronicle) -> bool:
    """Put a decided attempt before a person when the provider says now that it did what was taken for refused.

    The decision stands, for the merchant was told and may have charged anew; but money may have moved that the books
    do not know. Returns whether the result contradicts the decision.
    """
    require_transaction()
    if result.verdict is not Verdict.APPROVED or attempt.state not in REFUSED_ATTEMPTS:
        return False
    attempt.needs_operator = True
    attempt.save(update_fields=["needs_operator"])
    chronicle.record(
        "attempt.contradicted",
        attempt.public_id,
        payment_id=attempt.payment_id,
        before=attempt.state,
        after=attempt.state,
        data={"via": via, "provider_reference": result.provider_reference[:128]},
    )
    log.error("decided_attempt_contradicted", attempt_id=attempt.public_id, state=str(attempt.state), via=via)
    return True


def _schedule(attempt: Attempt, terms: WorkspaceTerms, *, first: bool, not_found: bool) -> None:
    """Set when the resolver asks next; after the last step of the schedule a person owns the attempt."""
    attempt.negatives += int(not_found)
    attempt.resolve_count = 0 if first else attempt.resolve_count + 1
    step = min(attempt.resolve_count, len(RESOLVE_SCHEDULE) - 1)
    attempt.needs_operator = attempt.resolve_count >= len(RESOLVE_SCHEDULE)
    attempt.resolve_at = terms.clock.now() + RESOLVE_SCHEDULE[step]
