"""The one place where an exception becomes an answer."""

from __future__ import annotations

from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions as drf
from rest_framework.response import Response

from zentra.api import envelope
from zentra.api.middleware import error_response
from zentra.core.errors import (
    BadRequest,
    Forbidden,
    InternalError,
    InvalidFormat,
    MethodNotAllowed,
    MissingRequiredField,
    NotFound,
    Unauthorized,
    Unprocessable,
    UnsupportedMediaType,
    ZentraError,
)
from zentra.core.money import InvalidAmount, UnknownCurrency

log = structlog.get_logger(__name__)


def handle_exception(exception: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception hook: a refusal of the catalogue as it is, the framework's own translated, all else a 500."""
    request_id = getattr(context["request"], "request_id", "")
    error = _as_refusal(exception)
    if isinstance(error, InternalError):
        log.error("request_failed", exc_info=exception)
    body = envelope.failure(error, request_id=request_id)
    return Response(body, status=error.status, headers=error.headers())


def _as_refusal(exception: Exception) -> ZentraError:
    if isinstance(exception, ZentraError):
        return exception
    if isinstance(exception, drf.ValidationError):
        return _from_validation(exception)
    if isinstance(exception, Http404):
        return NotFound()
    if isinstance(exception, PermissionDenied | drf.PermissionDenied):
        return Forbidden()
    translations: dict[type[Exception], type[ZentraError]] = {
        drf.MethodNotAllowed: MethodNotAllowed,
        drf.UnsupportedMediaType: UnsupportedMediaType,
        drf.NotAuthenticated: Unauthorized,
        drf.AuthenticationFailed: Unauthorized,
        drf.NotFound: NotFound,
        drf.ParseError: BadRequest,
    }
    for kind, refusal in translations.items():
        if isinstance(exception, kind):
            return refusal(str(exception))
    return InternalError()


def _from_validation(exception: drf.ValidationError) -> ZentraError:
    """The first failing field decides code and field; all of them stand in details.errors."""
    found = list(_flatten(exception.get_full_details(), ()))
    errors = [{"field": field, "code": code, "message": message} for field, code, message in found]
    field, code, message = found[0] if found else ("", "invalid", "the request is not valid")
    details = {"errors": errors, "expected": message}
    kind: type[ZentraError] = Unprocessable
    if code == "required":
        kind, message = MissingRequiredField, f"{field} is missing"
    elif code in ("invalid", "null", "blank", "not_a_list", "not_a_dict", "empty"):
        kind = InvalidFormat
    elif code in _KNOWN_CODES:
        return _KNOWN_CODES[code](message, field=field, details=details)
    return kind(message, field=field or None, details=details)


_KNOWN_CODES: dict[str, type[ZentraError]] = {kind.code: kind for kind in (InvalidAmount, UnknownCurrency)}


def _flatten(details: Any, path: tuple[str, ...]) -> Any:
    if isinstance(details, dict) and set(details) == {"message", "code"}:
        yield ".".join(path), str(details["code"]), str(details["message"])
    elif isinstance(details, dict):
        for name, inner in details.items():
            yield from _flatten(inner, path if name == "non_field_errors" else (*path, str(name)))
    elif isinstance(details, list):
        for inner in details:
            yield from _flatten(inner, path)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler for routes that do not exist."""
    if request.path.startswith("/api/"):
        return error_response(request, NotFound("no such route"))
    return HttpResponse("Not found", status=404, content_type="text/plain")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler for what failed outside the API views."""
    return error_response(request, InternalError())


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler for requests that it refuses itself (a foreign Host header, a malformed multipart body)."""
    return error_response(request, BadRequest())
