"""The base of every API view: a caller, a workspace, a clock, and answers in the envelope."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, cast
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from zentra.api import envelope
from zentra.api.pagination import page_of
from zentra.core.clock import Clock
from zentra.core.errors import Conflict, NotFound, Unprocessable, UnsupportedMediaType
from zentra.evidence.types import RequestContext
from zentra.idempotency.services import KeyInProgress, KeyReused, keep_refusal
from zentra.idempotency.types import Answer, RequestKey, fingerprint, request_key
from zentra.tenancy.clocks import clock_of
from zentra.tenancy.types import Actor, Caller, Scope


class OneForm(BaseContentNegotiation):
    """There is one form of body and one of answer: JSON."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        content_type = (request.content_type or "").partition(";")[0].strip().lower()
        accepted = list(parsers)
        for parser in accepted:
            if content_type in ("", parser.media_type) or parser.media_type == "*/*":
                return parser
        raise UnsupportedMediaType(f"send {accepted[0].media_type}, not {content_type:.60}")

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class WorkspaceView(APIView):
    """A view names the scope per method in ``scopes``; everything it reads goes through ``self.workspace_id``."""

    scopes: ClassVar[Mapping[str, Scope]] = {}
    content_negotiation_class = OneForm

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """:raises NotFound: the path names something with a NUL, which no text in the database can hold"""
        super().initial(request, *args, **kwargs)
        if any("\0" in str(value) for value in kwargs.values()):
            raise NotFound

    @property
    def caller(self) -> Caller:
        return cast(Caller, self.request.user)

    @property
    def workspace_id(self) -> UUID:
        return self.caller.workspace_id

    @property
    def actor(self) -> Actor:
        return self.caller.actor

    @property
    def clock(self) -> Clock:
        """The workspace's clock (a sandbox may carry a test clock)."""
        return clock_of(self.caller)

    @property
    def request_id(self) -> str:
        return str(getattr(self.request, "request_id", ""))

    def context(self, key: RequestKey | None = None) -> RequestContext:
        """What evidence and events say about the request."""
        return RequestContext(request_id=self.request_id, idempotency_key=key.key if key else "")

    def parsed(self, form: type[serializers.Serializer]) -> dict[str, Any]:
        """The body, checked by a strict serializer. :raises ValidationError: becomes a typed 422"""
        body = form(data=self.request.data)
        body.is_valid(raise_exception=True)
        return body.validated_data

    def idempotency_key(self, operation: str, body: Mapping[str, Any], *, resource: str, **path: str) -> RequestKey:
        """The key of a mutation, from the body field or the header. ``resource`` is the prefix of what it makes.

        :raises BadRequest: and its kinds of `zentra.idempotency.types`: missing, malformed, or two that differ
        """
        key = request_key(body.get("idempotency_key"), self.request.headers.get("Idempotency-Key"))
        return RequestKey(
            operation=operation,
            key=key,
            fingerprint=fingerprint(body, path),
            resource=resource,
            request_id=self.request_id,
        )

    def keyed(self, key: RequestKey, operation: Callable[[], Answer]) -> HttpResponse:
        """Run a mutation under its key. A refusal by state or rule (409, 422) is kept like every final answer.

        :raises KeyReused: and KeyInProgress are about the key itself and are never kept
        """
        try:
            answer = operation()
        except (KeyReused, KeyInProgress):
            raise
        except (Conflict, Unprocessable) as refusal:
            body = envelope.to_bytes(envelope.failure(refusal, request_id=self.request_id))
            refused = Answer(status=refusal.status, body=body, request_id=self.request_id)
            answer = keep_refusal(workspace_id=self.workspace_id, key=key, answer=refused, clock=self.clock)
        return self.reply_answer(answer)

    def reply(self, data: Any, *, status: int = 200) -> Response:
        """A success envelope."""
        return Response(envelope.success(data, request_id=self.request_id), status=status)

    def reply_page(self, rows: QuerySet[Any], present: Callable[[Any], Any]) -> Response:
        """One page of an ordered queryset, with its pagination object beside data."""
        found, pagination = page_of(self.request, rows, present)
        return Response(envelope.success(found, request_id=self.request_id, pagination=pagination))

    def reply_answer(self, answer: Answer) -> HttpResponse:
        """An answer whose bytes exist already: the first one, or its replay with the headers that say so."""
        response = HttpResponse(answer.body, status=answer.status, content_type="application/json")
        if answer.replayed:
            response["Idempotent-Replayed"] = "true"
            response["Original-Request-Id"] = answer.request_id
        return response

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        allowance = getattr(getattr(request, "_request", request), "rate_allowance", None)
        if allowance is not None:
            response["X-RateLimit-Limit"] = str(allowance.limit)
            response["X-RateLimit-Remaining"] = str(allowance.remaining)
            response["X-RateLimit-Reset"] = str(allowance.reset_at)
        return response
