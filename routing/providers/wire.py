"""One JSON exchange with a provider, and what each way of failing says about the money. Shared by adapters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from routing.providers.base import no_answer, not_sent, unreadable
from routing.types import ProviderEndpoint, ProviderRequest, ProviderResult, Verdict
from zentra.core import http

CONNECT_TIMEOUT_SECONDS: Final = 3.0
MAX_ANSWER_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete JSON answer. ``exchange`` is the part that may be kept."""

    status: int
    headers: Mapping[str, str]
    document: Mapping[str, Any]
    elapsed_ms: int
    exchange: Mapping[str, Any]

    def unreadable(self, request: ProviderRequest, message: str) -> ProviderResult:
        """The result when the document does not say what it should."""
        return unreadable(
            request,
            message=message,
            raw_status=str(self.status),
            elapsed_ms=self.elapsed_ms,
            exchange=self.exchange,
        )


def json_exchange(
    endpoint: ProviderEndpoint,
    request: ProviderRequest,
    *,
    method: str,
    path: str,
    headers: Mapping[str, str],
    document: Mapping[str, Any] | None = None,
) -> Reply | ProviderResult:
    """Send once and read a JSON object, or say in a result what is known instead. Never raises for the wire.

    :param path: from the account's base address on, query included
    """
    deadline = request.deadline_seconds or endpoint.deadline_seconds
    exchange: dict[str, Any] = {"method": method, "path": path}
    try:
        answer = http.send(
            method=method,
            url=endpoint.base_url.rstrip("/") + path,
            headers={"Content-Type": "application/json", "Accept": "application/json", **headers},
            body=b"" if document is None else json.dumps(document, separators=(",", ":")).encode(),
            connect_timeout_seconds=min(CONNECT_TIMEOUT_SECONDS, deadline),
            total_deadline_seconds=deadline,
            max_response_bytes=MAX_ANSWER_BYTES,
        )
    except http.HttpFailure as failure:
        return _failed(request, failure, exchange)
    exchange |= {"http_status": answer.status, "answer_bytes": len(answer.body)}
    parsed = _json_object(answer.body)
    if parsed is None:
        message = f"the provider answered {answer.status} without a JSON object"
        return unreadable(
            request, message=message, raw_status=str(answer.status), elapsed_ms=answer.elapsed_ms, exchange=exchange
        )
    return Reply(answer.status, answer.headers, parsed, answer.elapsed_ms, exchange)


def _failed(request: ProviderRequest, failure: http.HttpFailure, exchange: Mapping[str, Any]) -> ProviderResult:
    message = str(failure)
    if isinstance(failure, http.NotSent):
        # An address or a header that we refuse ourselves is our configuration, not the provider's trouble.
        ours = failure.kind in ("address_refused", "invalid_request")
        verdict = Verdict.CONFIG if ours else Verdict.PROVIDER_FAULT
        return not_sent(request, message=message, verdict=verdict, elapsed_ms=failure.elapsed_ms)
    if isinstance(failure, http.UnreadableAnswer):
        raw_status = str(failure.status or "")
        return unreadable(
            request, message=message, raw_status=raw_status, elapsed_ms=failure.elapsed_ms, exchange=exchange
        )
    return no_answer(request, message=message, elapsed_ms=failure.elapsed_ms)


def _json_object(body: bytes) -> dict[str, Any] | None:
    """The body as a JSON object, None when it is anything else."""
    try:
        parsed = json.loads(body)
    # A body of brackets alone is deeper than the parser's stack.
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
