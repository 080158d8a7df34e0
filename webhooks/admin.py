"""Webhooks in the admin: endpoints to manage, events and deliveries to look at and to send again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import ModelAdmin as PlainModelAdmin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.text import Truncator
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from webhooks.models import Delivery, DeliveryAttempt, Endpoint, Event
from webhooks.services import deliveries, endpoints
from webhooks.services.endpoints import NewSecret
from zentra.core.errors import ZentraError
from zentra.tenancy.clocks import clock_for
from zentra.tenancy.console import OPERATORS, ReadOnlyAdmin, ReadOnlyInline, ScopedAdmin, actor_of, show_once, shown_id
from zentra.tenancy.tones import TONES
from zentra.tenancy.types import Environment

MAX_SELECTED = 100


class ServicesOpenTransactions(PlainModelAdmin):
    """The framework wraps a change in a transaction; our services open their own and must be the outermost."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        try:
            return self._changeform_view(request, object_id, form_url, extra_context)  # type: ignore[attr-defined]
        except ZentraError as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


class EndpointForm(forms.ModelForm):
    """An endpoint's own fields. A URL that deliveries would refuse is refused here, beside its field."""

    enabled_events = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Event types, separated by commas. Empty means every type.",
    )

    class Meta:
        model = Endpoint
        fields = ("workspace", "url", "description", "enabled_events")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["enabled_events"] = ", ".join(self.instance.enabled_events or [])

    def clean_enabled_events(self) -> list[str]:
        return self.cleaned_data["enabled_events"].replace(",", " ").split()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        workspace = cleaned.get("workspace") or getattr(self.instance, "workspace", None)
        if cleaned.get("url") and workspace is not None:
            try:
                endpoints.require_acceptable_url(url=cleaned["url"], environment=Environment(workspace.environment))
            except ZentraError as refusal:
                self.add_error("url", refusal.message)
        return cleaned


@admin.register(Endpoint)
class EndpointAdmin(ScopedAdmin, ServicesOpenTransactions):  # type: ignore[misc]
    id_search = {"whe": "id"}
    form = EndpointForm
    list_display = ("url", "description", "status_label", "disabled_reason", "short_id", "workspace", "created_at")
    list_filter = ("status", "workspace")
    list_select_related = ("workspace",)
    search_fields = ("url", "description", "=id")
    fields = (
        "workspace",
        "url",
        "description",
        "enabled_events",
        "status",
        "disabled_at",
        "disabled_reason",
        "previous_secret_valid_until",
        "deleted_at",
        "created_at",
    )
    # Deleting goes through the action: the row stays, without its secrets, under its delivery log.
    actions = ("send_test", "rotate_secret", "enable", "disable", "delete_endpoint")

    @display(description="status", label=TONES)
    def status_label(self, endpoint: Endpoint) -> str:
        return endpoint.status

    def get_readonly_fields(self, request: HttpRequest, obj: Endpoint | None = None) -> tuple[str, ...]:
        always = self.fields[4:]
        return always if obj is None else ("workspace", *always)

    def save_model(self, request: HttpRequest, obj: Endpoint, form: Any, change: bool) -> None:
        common = {
            "url": obj.url,
            "description": obj.description,
            "enabled_events": form.cleaned_data["enabled_events"],
            "actor": actor_of(request),
            "clock": clock_for(obj.workspace_id),
        }
        if change:
            endpoints.update_endpoint(workspace_id=obj.workspace_id, endpoint_id=obj.id, **common)
            return
        new = endpoints.create_endpoint(workspace_id=obj.workspace_id, **common)
        obj.id = new.endpoint.id
        # For response_add alone: lives as long as this request.
        obj.shown_once = new  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self._show_secrets(request, [obj.shown_once])

    @admin.action(description="Send a test event", permissions=["change"])
    def send_test(self, request: HttpRequest, rows: QuerySet[Endpoint]) -> None:
        _each(self, request, rows, deliveries.send_test_event, "endpoint_id", done="Test event queued for {}.")

    @admin.action(description="Rotate the secret (both sign for a day)", permissions=["change"])
    def rotate_secret(self, request: HttpRequest, rows: QuerySet[Endpoint]) -> HttpResponse | None:
        made = _each(self, request, rows, endpoints.rotate_secret, "endpoint_id")
        return self._show_secrets(request, made) if made else None

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, rows: QuerySet[Endpoint]) -> None:
        _each(self, request, rows, endpoints.update_endpoint, "endpoint_id", done="Enabled {}.", enabled=True)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, rows: QuerySet[Endpoint]) -> None:
        _each(self, request, rows, endpoints.update_endpoint, "endpoint_id", done="Disabled {}.", enabled=False)

    @admin.action(description="Delete for good (the delivery log stays)", permissions=["change"])
    def delete_endpoint(self, request: HttpRequest, rows: QuerySet[Endpoint]) -> None:
        _each(self, request, rows, endpoints.delete_endpoint, "endpoint_id", done="Deleted {}.")

    def _show_secrets(self, request: HttpRequest, made: list[NewSecret]) -> HttpResponse:
        return show_once(
            self,
            request,
            title="Signing secret" if len(made) == 1 else "Signing secrets",
            secrets=[(str(new.endpoint), new.secret) for new in made],
            advice="Your receiver verifies deliveries with it. Copy it now; a lost secret is rotated.",
        )


class AttemptInline(ReadOnlyInline):
    model = DeliveryAttempt
    ordering = ("number",)
    fields = ("number", "started_at", "duration_ms", "status_code", "error", "response", "signed_at")
    readonly_fields = fields


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    write_roles = OPERATORS
    id_search = {"whd": "id", "evt": "event_id"}
    list_display = (
        "short_id",
        "event_type",
        "endpoint_url",
        "state_label",
        "trigger",
        "attempts",
        "last_status",
        "last_error",
        "next_at",
    )
    list_filter = ("state", "trigger", "workspace")
    list_select_related = ("event", "endpoint")
    search_fields = ("=id", "=event__object_id", "=event__id")
    ordering = ("-id",)
    inlines = (AttemptInline,)
    actions = ("replay",)

    @display(description="event")
    def event_type(self, delivery: Delivery) -> str:
        return delivery.event.type

    @display(description="endpoint")
    def endpoint_url(self, delivery: Delivery) -> str:
        return Truncator(delivery.endpoint.url).chars(48)

    @display(description="state", label=TONES)
    def state_label(self, delivery: Delivery) -> str:
        return delivery.state

    @admin.action(description="Send again (same event, signed anew)", permissions=["work"])
    def replay(self, request: HttpRequest, rows: QuerySet[Delivery]) -> None:
        _each(self, request, rows, deliveries.replay_delivery, "delivery_id", done="Queued {} again.")


class DeliveryInline(ReadOnlyInline):
    model = Delivery
    ordering = ("id",)
    fields = ("public_id", "endpoint", "state", "trigger", "attempts", "last_status", "last_error")
    readonly_fields = fields
    show_change_link = True


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    id_search = {"evt": "id"}
    list_display = ("short_id", "type", "about", "sequence", "created_at", "workspace")
    list_filter = ("type", "workspace")
    list_select_related = ("workspace",)
    search_fields = ("=object_id", "=id", "=type")
    ordering = ("-id",)
    fields = ("public_id", "workspace", "type", "object_type", "object_id", "sequence", "created_at", "text", "sha256")
    readonly_fields = fields
    inlines = (DeliveryInline,)

    @display(description="about")
    def about(self, event: Event) -> str:
        return shown_id(event.object_id)

    @display(description="body, as sent")
    def text(self, event: Event) -> str:
        return format_html('<pre class="z-pre">{}</pre>', bytes(event.body).decode())

    @admin.display(description="SHA-256 of the body")
    def sha256(self, event: Event) -> str:
        return bytes(event.body_sha256).hex()


def _each(
    model_admin: ModelAdmin,
    request: HttpRequest,
    rows: QuerySet[Any],
    service: Callable[..., Any],
    id_name: str,
    *,
    done: str = "",
    **arguments: Any,
) -> list[Any]:
    """Call a service once per selected row; a refusal is shown and does not stop the others."""
    results: list[Any] = []
    chosen: list[tuple[UUID, UUID, Model]] = [(row.workspace_id, row.id, row) for row in rows[:MAX_SELECTED]]
    for workspace_id, row_id, row in chosen:
        try:
            result = service(
                workspace_id=workspace_id,
                actor=actor_of(request),
                clock=clock_for(workspace_id),
                **{id_name: row_id},
                **arguments,
            )
        except ZentraError as refusal:
            model_admin.message_user(request, f"{row}: {refusal.message}", messages.ERROR)
            continue
        results.append(result)
        if done:
            model_admin.message_user(request, done.format(row), messages.SUCCESS)
    return results
