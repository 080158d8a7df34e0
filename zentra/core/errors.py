"""The error catalogue: every refusal of the platform is a class here or beside the code that raises it.

A class names a stable snake_case ``code``, an HTTP ``status`` (inherited from its category), what it means
(``summary``) and what the caller should do (``remedy``). Clients act on ``code`` and ``field``; prose is for people.
Status semantics follow RFC 9110; 422 for a well-formed but unacceptable value, 400 for what cannot be parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar


class ZentraError(Exception):
    """Base of every anticipated refusal. An unanticipated failure is any other exception, shown as 500.

    :param message: one sentence for a person; never echoes secrets or card data
    :param field: the name of the offending input field, where there is one
    :param details: further facts with stable names, JSON-able
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    summary: ClassVar[str] = "The platform failed; nothing is known to be wrong with the request."
    remedy: ClassVar[str] = "Repeat the request with the same idempotency key."

    def __init__(
        self, message: str = "", *, field: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        self.message = message or self.summary
        self.field = field
        self.details: dict[str, Any] = dict(details or {})
        super().__init__(self.message)

    def headers(self) -> dict[str, str]:
        """Response headers that belong to this refusal (for example Retry-After)."""
        return {}


class BadRequest(ZentraError):
    """The request could not be understood as it stands."""

    code, status = "bad_request", 400
    summary = "The request cannot be understood."
    remedy = "Correct the request; nothing was written."


class Unauthorized(ZentraError):
    """No valid credential came with the request."""

    code, status = "unauthorized", 401
    summary = "The API key is missing or invalid."
    remedy = "Send `Authorization: Bearer <secret key>`."

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="zentra"'}


class PaymentRequired(ZentraError):
    """The payment was decided against by the provider or the issuer."""

    code, status = "payment_declined", 402
    summary = "The payment was declined."
    remedy = "Read `details.payment` and its decline code; offer another payment method."


class Forbidden(ZentraError):
    """The credential is valid and may not do this."""

    code, status = "insufficient_permissions", 403
    summary = "The API key lacks the scope for this operation."
    remedy = "Use a key with the scope named in `details.required_scope`."


class NotFound(ZentraError):
    """There is no such thing in this workspace (and nothing is said about other workspaces)."""

    code, status = "not_found", 404
    summary = "No such resource exists in this workspace."
    remedy = "Check the id and the workspace of the API key."


class MethodNotAllowed(ZentraError):
    code, status = "method_not_allowed", 405
    summary = "The route does not support this method."
    remedy = "See the API documentation for the methods of the route."


class Conflict(ZentraError):
    """The request is fine but the current state forbids it."""

    code, status = "conflict", 409
    summary = "The request conflicts with the current state of the resource."
    remedy = "Read the resource and decide again."


class PayloadTooLarge(ZentraError):
    code, status = "payload_too_large", 413
    summary = "The request body is larger than the limit."
    remedy = "Send a smaller body; the limit in bytes is in `details.limit_bytes`."


class UnsupportedMediaType(ZentraError):
    code, status = "unsupported_media_type", 415
    summary = "The body's media type is not accepted here."
    remedy = "Send `Content-Type: application/json`."


class Unprocessable(ZentraError):
    """The request parses and its content cannot be accepted."""

    code, status = "validation_error", 422
    summary = "A value of the request is not acceptable."
    remedy = "Correct the field named in `field`; `details.expected` says what was expected."


class MissingRequiredField(Unprocessable):
    code = "missing_required_field"
    summary = "A required field is missing."
    remedy = "Send the field named in `field`."


class InvalidFormat(Unprocessable):
    code = "invalid_format"
    summary = "A field has the wrong type or format."
    remedy = "Send the field named in `field` as `details.expected` says."


class TooManyRequests(ZentraError):
    code, status = "rate_limit_exceeded", 429
    summary = "Too many requests in the current window."
    remedy = "Wait for the seconds in `Retry-After`, then repeat."

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.details.get("retry_after", 1))}


class InternalError(ZentraError):
    """What a client sees of an unanticipated failure."""

    code, status = "internal_error", 500


class UpstreamFailure(ZentraError):
    code, status = "upstream_failure", 502
    summary = "A provider answered in a way that could not be used."
    remedy = "Repeat with the same idempotency key; the platform resolves the outcome."


class Unavailable(ZentraError):
    code, status = "service_unavailable", 503
    summary = "The platform cannot serve the request right now."
    remedy = "Repeat with the same idempotency key after a moment."

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.details.get("retry_after", 1))}


def catalogue() -> list[type[ZentraError]]:
    """Every error class that carries a code of its own, sorted by status and code, each code once."""
    found: dict[str, type[ZentraError]] = {}
    for cls in _descendants(ZentraError):
        if "code" in vars(cls):
            found.setdefault(cls.code, cls)
    return sorted(found.values(), key=lambda cls: (cls.status, cls.code))


def _descendants(cls: type[ZentraError]) -> Iterator[type[ZentraError]]:
    for child in cls.__subclasses__():
        yield child
        yield from _descendants(child)
