"""The one way to call a provider: never inside a transaction, never more calls at once than allowed, never blindly.

Around the adapter stand the bulkhead (a hanging provider may hold so many threads and no more), the reading of repeats
and queries, and the integrity check of every answer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings

from routing.providers.base import ProviderAdapter, conflicts_of, no_answer, not_sent, read_as_follow_up
from routing.providers.registry import UnknownProvider, adapter_for
from routing.types import (
    CODE_ADAPTER_FAILED,
    CODE_BUSY,
    CODE_UNSUPPORTED,
    Operation,
    ProviderEndpoint,
    ProviderRequest,
    ProviderResult,
    Verdict,
)
from zentra.core.db import release_connection

log = structlog.get_logger(__name__)

#: How long a call waits for a place. Longer waiting would only move the pile-up into our own threads.
BULKHEAD_WAIT_SECONDS: Final = 0.05

_bulkheads: dict[UUID, threading.BoundedSemaphore] = {}
_bulkheads_lock = threading.Lock()


def call_provider(*, endpoint: ProviderEndpoint, request: ProviderRequest) -> ProviderResult:
    """Carry out one operation at one provider account and say what is known afterwards.

    Returns for every outcome, timeouts and refusals included. A result with ``conflicts`` differs from the request
    and needs an operator; a result of a repeat or a query is ``UNKNOWN`` unless it is conclusive.

    :raises InsideTransaction: a database transaction is open; nothing was sent
    """
    release_connection()
    result = _called(endpoint, request)
    if request.is_repeat or request.operation is Operation.QUERY:
        result = read_as_follow_up(result)
    result = replace(result, conflicts=(*result.conflicts, *conflicts_of(request, result)))
    report = log.error if result.is_conflicted or result.verdict is Verdict.CONFIG else log.info
    report(
        "provider_called",
        provider_account=endpoint.name,
        account_id=str(endpoint.account_id),
        operation=request.operation.value,
        reference=request.reference,
        transport=result.transport.value,
        verdict=result.verdict.value,
        code=result.code,
        conflicts=list(result.conflicts),
        elapsed_ms=result.elapsed_ms,
    )
    return result


def _called(endpoint: ProviderEndpoint, request: ProviderRequest) -> ProviderResult:
    try:
        adapter = adapter_for(endpoint.provider)
    except UnknownProvider:
        return not_sent(request, code=CODE_UNSUPPORTED, verdict=Verdict.CONFIG, message="no adapter is installed")
    if problem := _unsendable(adapter, request):
        return not_sent(request, code=CODE_UNSUPPORTED, verdict=Verdict.INVALID_REQUEST, message=problem)
    with _place(endpoint.account_id) as had:
        if not had:
            return not_sent(request, code=CODE_BUSY, message="too many calls are under way at this account")
        return _adapted(adapter, endpoint, request)


def _unsendable(adapter: ProviderAdapter, request: ProviderRequest) -> str:
    """Why a request cannot be put to this provider at all, '' when it can."""
    capabilities = adapter.capabilities
    if request.operation not in capabilities.operations:
        return f"the provider offers no {request.operation.value}"
    if request.operation is Operation.QUERY and not capabilities.query_by_own_reference:
        return "the provider finds nothing by our reference"
    if len(request.reference) > capabilities.reference_max_length:
        return f"the reference is longer than {capabilities.reference_max_length}"
    return ""


def _adapted(adapter: ProviderAdapter, endpoint: ProviderEndpoint, request: ProviderRequest) -> ProviderResult:
    operations = {
        Operation.AUTHORIZE: adapter.authorize,
        Operation.CAPTURE: adapter.capture,
        Operation.VOID: adapter.void,
        Operation.REFUND: adapter.refund,
        Operation.QUERY: adapter.query,
    }
    try:
        return operations[request.operation](endpoint, request)
    except Exception:
        # A defect of the adapter, at a moment nobody knows: the request may have been sent.
        log.exception("provider_adapter_failed", provider=endpoint.provider, operation=request.operation.value)
        return no_answer(request, code=CODE_ADAPTER_FAILED, message="the adapter failed during the call")


@contextmanager
def _place(account_id: UUID) -> Iterator[bool]:
    """A place among the calls in flight at one account, in this process; False when there is none in time."""
    bulkhead = _bulkhead(account_id)
    if not bulkhead.acquire(timeout=BULKHEAD_WAIT_SECONDS):
        yield False
        return
    try:
        yield True
    finally:
        bulkhead.release()


def _bulkhead(account_id: UUID) -> threading.BoundedSemaphore:
    with _bulkheads_lock:
        if account_id not in _bulkheads:
            _bulkheads[account_id] = threading.BoundedSemaphore(settings.PROVIDER_CALLS_IN_FLIGHT)
        return _bulkheads[account_id]
