"""Idempotency keys in the admin: which request made what. Stored answers are never shown."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from zentra.idempotency.models import IdempotencyKey
from zentra.tenancy.console import ReadOnlyAdmin


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin):
    list_display = ("shown_key", "operation", "state", "status", "request_id", "created_at", "workspace")
    list_display_links = ("shown_key",)
    list_filter = ("operation", "status", "workspace")
    list_select_related = ("workspace",)
    search_fields = ("key__exact", "request_id__exact")
    search_help_text = "The key as the client sent it, or a request id"
    ordering = ("-id",)
    fields = ("shown_key", "workspace", "operation", "state", "status", "resource_id", "request_id", "request_hash",
              "created_at", "completed_at")  # fmt: skip
    readonly_fields = ("shown_key", "state", "request_hash")

    @display(description="key")
    def shown_key(self, claim: IdempotencyKey) -> SafeString:
        return format_html('<span class="z-id">{}</span>', claim.key)

    @display(description="state", label={"answered": "success", "in flight": "info"})
    def state(self, claim: IdempotencyKey) -> str:
        return "answered" if claim.completed_at else "in flight"

    @display(description="fingerprint of the request")
    def request_hash(self, claim: IdempotencyKey) -> SafeString:
        return format_html('<span class="z-id">{}</span>', bytes(claim.fingerprint).hex())
