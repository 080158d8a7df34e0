"""OpenAPI 3.1: the envelope, the errors and the security scheme, described once for every route."""

from __future__ import annotations

from functools import cache
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers


class MetaBody(serializers.Serializer):
    request_id = serializers.CharField()
    timestamp = serializers.DateTimeField()


class PaginationBody(serializers.Serializer):
    page = serializers.IntegerField()
    limit = serializers.IntegerField()
    total = serializers.IntegerField()
    pages = serializers.IntegerField()
    has_more = serializers.BooleanField()


class ErrorDetailBody(serializers.Serializer):
    code = serializers.CharField()
    message = serializers.CharField()
    field = serializers.CharField(allow_null=True)
    status = serializers.IntegerField()
    details = serializers.DictField()


class ErrorBody(serializers.Serializer):
    """The error envelope."""

    success = serializers.BooleanField(default=False)
    error = ErrorDetailBody()
    meta = MetaBody()


@cache
def enveloped(body: type[serializers.Serializer], *, many: bool = False) -> Any:
    """The success envelope around a body, named after it in the schema."""
    name = body.__name__.removesuffix("Body")
    fields: dict[str, Any] = {"success": serializers.BooleanField(default=True), "data": body(many=many)}
    if many:
        fields["pagination"] = PaginationBody()
    fields["meta"] = MetaBody()
    return inline_serializer(name=f"{name}{'Page' if many else 'Envelope'}", fields=fields)


class ContractSchema(AutoSchema):
    """Adds what every route shares, so that a view states only its own bodies."""

    def get_summary(self) -> str | None:
        """The summary that the view gives, else the first sentence of its description."""
        return super().get_summary() or self.get_description().partition(". ")[0].partition("\n")[0].rstrip(".") or None

    def get_tags(self) -> list[str]:
        parts = [part for part in self.path.removeprefix("/api/v1/").split("/") if part and "{" not in part]
        return parts[:1] or ["api"]

    def _get_response_bodies(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        found = super()._get_response_bodies(*args, **kwargs)
        for status in ("401", "403", "404", "422", "429"):
            if status not in found:
                found[status] = self._get_response_for_code(ErrorBody, status)
        return found


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = "zentra.api.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "sk_sandbox_… or sk_live_…"}
