"""Around every request: its id and log line, a bound on its body, what a browser may load, how long a session lasts."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

from zentra.api import envelope
from zentra.core.clock import SYSTEM_CLOCK
from zentra.core.errors import BadRequest, PayloadTooLarge, ZentraError
from zentra.core.ids import new_id

log = structlog.get_logger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponse]
#: How much of a refused body is read and thrown away, so that the client gets to read the answer.
DRAIN_LIMIT_BYTES = 8 * 1024 * 1024
#: The session's key for when it began, in Unix seconds.
SESSION_BEGAN = "began"


class RequestContextMiddleware:
    """Gives the request an id, binds it to every log line, answers it as X-Request-Id, and logs one line."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = f"req_{new_id().hex}"
        request.request_id = request_id  # type: ignore[attr-defined]
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.monotonic()
        response = self.get_response(request)
        response["X-Request-Id"] = request_id
        log.info(
            "request",
            method=request.method,
            path=request.path,
            status=response.status_code,
            milliseconds=round((time.monotonic() - started) * 1000, 1),
        )
        return response


class BodyLimitMiddleware:
    """413 for a body over the limit, declared or chunked, before any of it is parsed.

    Django reads nothing of a chunked body (it trusts Content-Length), so a chunked body is read here up to the limit
    and handed on as if its length had been declared.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        limit = body_limit(request.path)
        chunked = "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()
        try:
            if chunked:
                self._read_chunked(request, limit)
            elif _declared_length(request) > limit:
                _drain(request.META["wsgi.input"], _declared_length(request))
                raise _too_large(limit)
        except ZentraError as error:
            return error_response(request, error)
        return self.get_response(request)

    def _read_chunked(self, request: HttpRequest, limit: int) -> None:
        stream = request.META["wsgi.input"]
        body = stream.read(limit + 1)
        if len(body) > limit:
            _drain(stream, DRAIN_LIMIT_BYTES)
            raise _too_large(limit)
        request.META["CONTENT_LENGTH"] = str(len(body))
        request._stream = io.BytesIO(body)  # type: ignore[attr-defined]


class ContentSecurityPolicyMiddleware:
    """Says what a page may load: nothing from elsewhere, on any page.

    The console's theme evaluates expressions in its markup (Alpine's standard build), hence 'unsafe-eval' there; it
    and the API's documentation style elements inline. Scripts come from files of this host alone, everywhere.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.setdefault("Content-Security-Policy", content_security_policy(request.path))
        return response


def content_security_policy(path: str) -> str:
    """The policy of a path (https://www.w3.org/TR/CSP3/)."""
    if path.startswith("/admin/"):
        return _policy("script-src 'self' 'unsafe-eval'")
    if path.startswith("/api/docs/"):
        return _policy("script-src 'self'")
    return "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def _policy(scripts: str) -> str:
    return (
        f"default-src 'self'; {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; "
        "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
    )


class SessionLimitMiddleware:
    """Ends a person's session some hours after it began, however busy it is. Idle time is the cookie's own age."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/admin/") and request.user.is_authenticated:
            now = SYSTEM_CLOCK.now().timestamp()
            began = request.session.setdefault(SESSION_BEGAN, now)
            if now - began > settings.SESSION_LIMIT_SECONDS:
                logout(request)
        return self.get_response(request)


def body_limit(path: str) -> int:
    """The most bytes a body may have: settlement files have a bound of their own."""
    if path == "/api/v1/settlement/files" or path.startswith("/admin/settlement/"):
        return int(settings.FILE_BODY_LIMIT_BYTES)
    return int(settings.API_BODY_LIMIT_BYTES)


def error_response(request: HttpRequest, error: ZentraError) -> HttpResponse:
    """An error envelope outside the views of the API."""
    body = envelope.failure(error, request_id=getattr(request, "request_id", ""))
    return HttpResponse(
        envelope.to_bytes(body), status=error.status, content_type="application/json", headers=error.headers()
    )


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is larger than {limit} bytes", details={"limit_bytes": limit})


def _declared_length(request: HttpRequest) -> int:
    text = request.META.get("CONTENT_LENGTH") or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BadRequest("Content-Length must be a number")
    return int(text)


def _drain(stream: Any, length: int) -> None:
    remaining = min(length, DRAIN_LIMIT_BYTES)
    while remaining > 0:
        piece = stream.read(min(65536, remaining))
        if not piece:
            return
        remaining -= len(piece)
