"""The providers' own messages: verified, kept before any logic, applied once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
from django.db import transaction
from django.db.models import F

from payments.models import Attempt, ProviderCallback
from payments.services import execution
from payments.services.attempts import request_of
from payments.states import ASKED_ATTEMPTS, REFUSED_ATTEMPTS
from routing.providers.base import CallbackFact, CallbackRefused, conflicts_of
from routing.providers.registry import adapter_for
from routing.selectors import account_by_callback_id, callback_secret_of
from routing.types import Operation, ProviderResult, RetryAdvice, Transport, Verdict
from zentra.core.clock import SYSTEM_CLOCK
from zentra.core.errors import Unauthorized
from zentra.tenancy.clocks import clock_for

if TYPE_CHECKING:
    from routing.models import ProviderAccount

log = structlog.get_logger(__name__)


class CallbackSignatureInvalid(Unauthorized):
    code = "callback_signature_invalid"
    summary = "The callback is not signed by the provider, is too old, or cannot be read."
    remedy = "Check the callback secret of the provider account."


def receive_callback(*, account_public_id: str, headers: Mapping[str, str], body: bytes) -> ProviderCallback:
    """Keep a provider's callback and apply what it proves. A second copy is counted and changes nothing.

    :raises NotFound: no such provider account
    :raises CallbackSignatureInvalid: nothing is kept
    """
    account = account_by_callback_id(account_public_id)
    adapter = adapter_for(account.provider)
    try:
        # The signature carries the machine's time: a test clock of the workspace must not make it look old.
        adapter.verify_callback(headers, body, callback_secret_of(account), SYSTEM_CLOCK.now())
        fact = adapter.parse_callback(body)
    except CallbackRefused as error:
        log.warning("callback_refused", provider_account=account.name, reason=str(error)[:100])
        raise CallbackSignatureInvalid from None
    now = clock_for(account.workspace_id).now()
    callback, first = _keep(account, fact, body, now)
    if first or callback.applied_at is None:
        _apply(callback, fact)
    return callback


@transaction.atomic(durable=True)
def _keep(account: ProviderAccount, fact: CallbackFact, body: bytes, now: datetime) -> tuple[ProviderCallback, bool]:
    callback, first = ProviderCallback.objects.get_or_create(
        provider_account=account,
        provider_event_id=fact.provider_event_id,
        defaults={
            "workspace_id": account.workspace_id,
            "type": fact.type[:64],
            "body": body,
            "received_at": now,
        },
    )
    if not first:
        ProviderCallback.objects.filter(id=callback.id).update(copies=F("copies") + 1)
    return callback, first


def _apply(callback: ProviderCallback, fact: CallbackFact) -> None:
    """Resolve the attempt that the callback is about, if it is still open and the callback is conclusive."""
    attempt = (
        Attempt.objects.select_related("payment", "capture", "refund")
        # A provider account speaks for itself alone: what was asked of another one is unknown to it.
        .filter(
            workspace_id=callback.workspace_id,
            provider_account_id=callback.provider_account_id,
            reference=fact.own_reference,
        )
        .first()
    )
    outcome = "nothing_to_do"
    if attempt is None:
        outcome = "reference_unknown"
    elif attempt.operation == fact.operation and attempt.state in (*ASKED_ATTEMPTS, *REFUSED_ATTEMPTS):
        result = _result_of(attempt, fact)
        if result is not None:
            recorded = execution.record_outcome(
                workspace_id=attempt.workspace_id, attempt_id=attempt.id, result=result, via="callback"
            )
            outcome = recorded.outcome
    ProviderCallback.objects.filter(id=callback.id).update(
        applied_at=clock_for(callback.workspace_id).now(), outcome=outcome
    )


def _result_of(attempt: Attempt, fact: CallbackFact) -> ProviderResult | None:
    """The callback as a provider's answer; None when it says nothing final."""
    if fact.verdict is Verdict.UNKNOWN:
        return None
    result = ProviderResult(
        operation=Operation(attempt.operation),
        transport=Transport.ANSWERED,
        verdict=fact.verdict,
        nothing_authorized=fact.nothing_authorized,
        retry_advice=RetryAdvice.NEVER,
        provider_reference=fact.provider_reference,
        own_reference=fact.own_reference,
        amount_minor=fact.amount_minor,
        currency=fact.currency,
        code=fact.code,
        network_code=fact.network_code,
        partial=fact.partial,
        raw_status=fact.status,
    )
    return replace(result, conflicts=conflicts_of(request_of(attempt), result))
