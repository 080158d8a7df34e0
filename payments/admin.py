"""Payments in the admin: the story of each, and the lane of attempts whose outcome nobody knows. Nothing is edited."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from payments import selectors
from payments.models import Attempt, Payment, ProviderCallback
from payments.services import sweeps
from payments.states import UNRESOLVED_ATTEMPTS
from payments.types import RuntimeStage
from routing.rules import REASONS
from zentra.tenancy.console import MONEY_OPERATORS, OPERATORS, ReadOnlyAdmin, confirm, shown_amount
from zentra.tenancy.tones import TONES, state_words

#: The lane asks one after another within the request, so it is bounded.
MAX_ASKED_AT_ONCE = 20


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    """A list to find a payment in; its page is its story, from the request to the settlement line."""

    write_roles = MONEY_OPERATORS
    id_search = {"pay": "id", "att": "attempts__id", "cap": "captures__id", "re": "refunds__id"}
    list_display = ("reference", "status_label", "amount", "captured", "refunded", "short_id", "workspace",
                    "created_at")  # fmt: skip
    list_display_links = ("reference", "short_id")
    list_filter = ("state", "currency", "workspace", "created_at")
    list_select_related = ("workspace",)
    search_fields = ("reference__exact",)
    search_help_text = "A reference, or an id: pay_…, att_…, cap_…, re_…"
    ordering = ("-id",)
    list_per_page = 50

    @display(description="status", label=TONES)
    def status_label(self, payment: Payment) -> str:
        return state_words(payment.status)

    @display(description="amount", ordering="amount_minor")
    def amount(self, payment: Payment) -> SafeString:
        return shown_amount(payment.amount_minor, payment.currency)

    @display(description="captured")
    def captured(self, payment: Payment) -> SafeString:
        return shown_amount(payment.captured_minor, payment.currency)

    @display(description="refunded")
    def refunded(self, payment: Payment) -> SafeString:
        return shown_amount(payment.refunded_minor, payment.currency)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The story of one payment instead of a form."""
        payment = self.get_object(request, unquote(object_id))
        if payment is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_view_permission(request, payment) or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        trace = selectors.trace_of(payment.workspace_id, payment.id)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": payment,
            "title": payment.reference,
            "payment": payment,
            "trace": trace,
            "summary": trace["payment"],
            "axes": list(trace["payment"]["states"].items()),
            "amounts": amounts_of(trace["payment"]),
            "stages": stages_of(trace["runtime"]),
            "route": [route_of(decision) for decision in trace["route"]],
            "journals": journals_of(trace["ledger"]),
        }
        return TemplateResponse(request, "admin/payments/payment/story.html", context)


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    """The lane of unknown outcomes. A filter shows the other attempts too."""

    write_roles = OPERATORS
    id_search = {"att": "id", "pay": "payment_id"}
    list_display = ("short_id", "payment_link", "operation", "amount", "provider_account", "state_label",
                    "transport_words", "waits_for", "sent_at", "workspace")  # fmt: skip
    list_filter = ("state", "operation", "provider_account", "workspace")
    list_select_related = ("payment", "provider_account", "workspace")
    search_fields = ("reference__exact", "provider_reference__exact")
    search_help_text = "An id (att_…, pay_…), our reference at the provider, or the provider's"
    actions = ("ask_now",)
    actions_detail = ("ask_provider",)
    fieldsets = (
        (None, {"fields": ("public_id", "payment_link", "operation", "number", "amount", "workspace")}),
        ("Outcome", {"fields": ("state_label", "transport_words", "verdict_words", "code", "network_code",
                                "provider_reference", "conflicts")}),
        ("At the provider", {"fields": ("provider_account", "reference", "sent_at", "answered_at", "elapsed_ms")}),
        ("Resolving", {"fields": ("waits_for", "resolve_at", "resolve_count", "negatives", "resolved_by")}),
    )  # fmt: skip
    readonly_fields = ("public_id", "payment_link", "amount", "state_label", "transport_words", "verdict_words",
                       "waits_for")  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        rows = super().get_queryset(request)
        lane = request.resolver_match is not None and request.resolver_match.url_name == "payments_attempt_changelist"
        if lane and not _asks_for_more(request):
            return rows.filter(Q(needs_operator=True) | Q(state__in=UNRESOLVED_ATTEMPTS))
        return rows

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        return ("-needs_operator", "sent_at", "id")

    @display(description="payment")
    def payment_link(self, attempt: Attempt) -> SafeString:
        address = reverse("admin:payments_payment_change", args=[attempt.payment_id])
        return format_html('<a class="z-link" href="{}">{}</a>', address, attempt.payment.reference)

    @display(description="amount")
    def amount(self, attempt: Attempt) -> SafeString:
        return shown_amount(attempt.amount_minor, attempt.currency)

    @display(description="state", label=TONES)
    def state_label(self, attempt: Attempt) -> str:
        return state_words(attempt.state)

    @display(description="transport")
    def transport_words(self, attempt: Attempt) -> str:
        return state_words(attempt.transport) or "no answer yet"

    @display(description="verdict")
    def verdict_words(self, attempt: Attempt) -> str:
        return state_words(attempt.verdict) or "-"

    @display(description="waits for", label={"a person": "danger", "the resolver": "info"})
    def waits_for(self, attempt: Attempt) -> str | None:
        if attempt.needs_operator:
            return "a person"
        return "the resolver" if attempt.state in UNRESOLVED_ATTEMPTS else None

    def has_ask_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if object_id is None:
            return self.may(request, self.write_roles)
        attempt = self.get_object(request, str(object_id))
        unresolved = attempt is not None and attempt.state in UNRESOLVED_ATTEMPTS
        return unresolved and self.may(request, self.write_roles, attempt)

    @admin.action(description="Ask the provider now", permissions=["ask"])
    def ask_now(self, request: HttpRequest, rows: QuerySet[Attempt]) -> None:
        chosen = list(rows[: MAX_ASKED_AT_ONCE + 1])
        for attempt in chosen[:MAX_ASKED_AT_ONCE]:
            self._ask(request, attempt)
        if len(chosen) > MAX_ASKED_AT_ONCE:
            self.message_user(request, f"Only the first {MAX_ASKED_AT_ONCE} were asked about.", messages.WARNING)

    @action(description="Ask the provider now", icon="contact_support", url_path="ask", permissions=["ask"])
    def ask_provider(self, request: HttpRequest, object_id: str) -> HttpResponse:
        attempt = self.get_object(request, object_id)
        if attempt is None:
            raise PermissionDenied
        if request.method != "POST":
            return confirm(
                self,
                request,
                obj=attempt,
                title="Ask the provider about this attempt now?",
                consequence="The provider is asked what became of it, and the answer is recorded. Nothing is charged "
                "a second time.",
                button="Ask now",
            )
        self._ask(request, attempt)
        return HttpResponseRedirect(reverse("admin:payments_attempt_change", args=[attempt.id]))

    def _ask(self, request: HttpRequest, attempt: Attempt) -> None:
        sweeps.retry_by_operator(workspace_id=attempt.workspace_id, attempt_id=attempt.id)
        attempt.refresh_from_db()
        known = attempt.state not in UNRESOLVED_ATTEMPTS
        text = f"{attempt.payment.reference}: {attempt.operation} is {state_words(attempt.state)}."
        self.log_change(request, attempt, f"Asked the provider; the state is now {attempt.state}.")
        self.message_user(request, text, messages.SUCCESS if known else messages.WARNING)


@admin.register(ProviderCallback)
class ProviderCallbackAdmin(ReadOnlyAdmin):
    """The inbox of what providers told us by themselves, as it came."""

    list_display = ("type", "provider_event_id", "provider_account", "outcome_words", "copies", "received_at",
                    "workspace")  # fmt: skip
    list_filter = ("type", "provider_account", "workspace")
    list_select_related = ("provider_account", "workspace")
    search_fields = ("provider_event_id__exact",)
    ordering = ("-id",)
    fields = ("type", "provider_event_id", "provider_account", "workspace", "outcome_words", "copies", "received_at",
              "applied_at", "text")  # fmt: skip
    readonly_fields = ("outcome_words", "text")

    @display(description="outcome")
    def outcome_words(self, callback: ProviderCallback) -> str:
        return state_words(callback.outcome) or "not applied yet"

    @display(description="body, as it came")
    def text(self, callback: ProviderCallback) -> SafeString:
        return format_html('<pre class="z-pre">{}</pre>', bytes(callback.body).decode(errors="replace"))


def amounts_of(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The running totals of the header, in the order in which money moves."""
    names = ("authorized", "capturable", "captured", "refunded", "disputed", "settled")
    return [{"name": name, "minor": summary[f"{name}_minor"]} for name in names]


def stages_of(runtime: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The six stages of the runtime in their order, each with its time when it was passed."""
    passed = {step["stage"]: step["at"] for step in runtime}
    return [{"name": stage, "at": passed.get(stage)} for stage in RuntimeStage]


def route_of(decision: dict[str, Any]) -> dict[str, Any]:
    """A decision whose candidates say in words why they were passed over."""
    candidates = [
        {
            **candidate,
            "chosen": candidate["account_id"] == decision["chosen_account_id"],
            "why": [REASONS.get(reason, reason) for reason in candidate["reasons"]],
        }
        for candidate in decision["candidates"]
    ]
    return {**decision, "candidates": candidates}


def journals_of(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ledger lines grouped under the journals that booked them."""
    return [
        {"id": journal_id, "kind": kind, "lines": list(group)}
        for (journal_id, kind), group in groupby(lines, key=lambda line: (line["journal_id"], line["kind"]))
    ]


def _asks_for_more(request: HttpRequest) -> bool:
    """Whether the list was filtered or searched: then it is no longer the lane alone."""
    return bool(request.GET.get("q")) or any(name.startswith("state") for name in request.GET)
