from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from simple_history.admin import SimpleHistoryAdmin
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from routing import services
from routing.models import ProviderAccount, RoutingDecision, RoutingRule
from routing.rules import REASONS
from routing.selectors import candidates_of
from routing.types import AccountSettings, RuleSettings
from zentra.core.errors import ZentraError
from zentra.core.ids import public_id
from zentra.tenancy.clocks import clock_for
from zentra.tenancy.console import ReadOnlyAdmin, ScopedAdmin, actor_of, shown_id

MASK = "••••••••"


class ServiceForm(forms.ModelForm):
    """A form whose refusals are those of the service that will be called."""

    def refused(self, error: ZentraError) -> None:
        """Show a refusal of the catalogue at its field."""
        field = error.field if error.field in self.fields else None
        self.add_error(field, ValidationError(error.message, code=error.code))


class ProviderAccountForm(ServiceForm):
    """The secrets are typed in and never shown again; left empty on a change, they stay as they are."""

    credential = forms.CharField(
        max_length=services.MAX_SECRET_LENGTH,
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="The provider's API secret. Write-only.",
    )
    callback_secret = forms.CharField(
        max_length=services.MAX_SECRET_LENGTH,
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="What the provider signs its callbacks with. Write-only.",
    )

    class Meta:
        model = ProviderAccount
        fields = (
            "workspace",
            "provider",
            "name",
            "base_url",
            "enabled",
            "currencies",
            "methods",
            "min_amount_minor",
            "max_amount_minor",
            "settlement_currency",
            "priority",
            "weight",
            "deadline_seconds",
        )
        widgets = {"currencies": UnfoldAdminTextInputWidget, "methods": UnfoldAdminTextInputWidget}

    def clean_credential(self) -> str:
        return self._checked_secret("credential")

    def clean_callback_secret(self) -> str:
        return self._checked_secret("callback_secret")

    def _checked_secret(self, field: str) -> str:
        text = self.cleaned_data[field]
        try:
            return services.require_secret(text=text, field=field) if text else ""
        except ZentraError as error:
            raise ValidationError(error.message, code=error.code) from None

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        adding = self.instance._state.adding
        if adding and not data.get("credential"):
            self.add_error("credential", ValidationError("A new account needs its credential.", code="required"))
        workspace = data.get("workspace") if adding else self.instance.workspace
        if workspace is None or self.errors:
            return data
        try:
            services.require_account_settings(
                workspace_id=workspace.id, settings=self.settings(), account_id=self.instance.id
            )
        except ZentraError as error:
            self.refused(error)
        return data

    def settings(self) -> AccountSettings:
        data = self.cleaned_data
        return AccountSettings(
            name=data["name"],
            base_url=data["base_url"],
            enabled=data["enabled"],
            currencies=tuple(data["currencies"]),
            methods=tuple(data["methods"]),
            min_amount_minor=data["min_amount_minor"],
            max_amount_minor=data["max_amount_minor"],
            settlement_currency=data["settlement_currency"] or None,
            priority=data["priority"],
            weight=data["weight"],
            deadline_seconds=data["deadline_seconds"],
        )


class RoutingRuleForm(ServiceForm):
    class Meta:
        model = RoutingRule
        fields = (
            "workspace",
            "name",
            "account",
            "enabled",
            "currency",
            "method",
            "merchant",
            "min_amount_minor",
            "max_amount_minor",
            "priority",
            "weight",
        )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        workspace = data.get("workspace") if self.instance._state.adding else self.instance.workspace
        if workspace is None or self.errors:
            return data
        try:
            services.require_rule_settings(
                workspace_id=workspace.id, settings=self.settings(), rule_id=self.instance.id
            )
        except ZentraError as error:
            self.refused(error)
        return data

    def settings(self) -> RuleSettings:
        data = self.cleaned_data
        return RuleSettings(
            name=data["name"],
            account_id=data["account"].id,
            enabled=data["enabled"],
            currency=data["currency"] or None,
            method=data["method"] or None,
            merchant_id=data["merchant"].id if data["merchant"] else None,
            min_amount_minor=data["min_amount_minor"],
            max_amount_minor=data["max_amount_minor"],
            priority=data["priority"],
            weight=data["weight"],
        )


class SettingAdmin(SimpleHistoryAdmin, ScopedAdmin):
    """Settings that people change through a service. Nothing is deleted (decisions name it), nothing reverted."""

    history_list_display = ("enabled", "priority", "weight")
    list_filter = ("workspace", "enabled")
    search_fields = ("name",)
    list_select_related: tuple[str, ...] = ("workspace",)
    fixed_fields: tuple[str, ...] = ("workspace",)

    def revert_disabled(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Where a setting belongs is decided once."""
        fields = tuple(super().get_readonly_fields(request, obj))
        return (*fields, *self.fixed_fields) if obj else fields


def saved_as(obj: ProviderAccount | RoutingRule, row: ProviderAccount | RoutingRule) -> None:
    """Let the admin go on with the row that the service wrote."""
    obj.pk, obj.created_at = row.pk, row.created_at
    obj._state.adding = False


@admin.register(ProviderAccount)
class ProviderAccountAdmin(SettingAdmin):
    form = ProviderAccountForm
    list_display = ("name", "workspace", "provider", "enabled", "shown_currencies", "priority", "weight")
    readonly_fields = ("callback_address", "stored_secrets")
    fixed_fields: tuple[str, ...] = ("workspace", "provider")
    fieldsets = (
        (None, {"fields": ("workspace", "provider", "name", "enabled")}),
        ("Connection", {"fields": ("base_url", "deadline_seconds", "credential", "callback_secret", "stored_secrets")}),
        ("Callbacks", {"fields": ("callback_address",)}),
        (
            "Routing",
            {
                "fields": (
                    "currencies",
                    "methods",
                    "min_amount_minor",
                    "max_amount_minor",
                    "settlement_currency",
                    "priority",
                    "weight",
                )
            },
        ),
    )

    @admin.display(description="currencies")
    def shown_currencies(self, account: ProviderAccount) -> str:
        return ", ".join(account.currencies) or "all"

    @admin.display(description="callback address")
    def callback_address(self, account: ProviderAccount) -> str:
        return "-" if account._state.adding else f"/api/v1/callbacks/{account.public_id}"

    @admin.display(description="stored secrets")
    def stored_secrets(self, account: ProviderAccount) -> str:
        if account._state.adding:
            return "-"
        return f"credential {MASK}, callback secret {MASK if account.callback_secret_sealed else 'not set'}"

    def save_model(self, request: HttpRequest, obj: ProviderAccount, form: Any, change: bool) -> None:
        data, clock = form.cleaned_data, clock_for(obj.workspace_id)
        if change:
            services.update_provider_account(
                workspace_id=obj.workspace_id,
                account_id=obj.id,
                settings=form.settings(),
                credential=data["credential"] or None,
                callback_secret=data["callback_secret"] or None,
                actor=actor_of(request),
                clock=clock,
            )
            return
        account = services.create_provider_account(
            workspace_id=obj.workspace_id,
            provider=obj.provider,
            settings=form.settings(),
            credential=data["credential"],
            callback_secret=data["callback_secret"],
            actor=actor_of(request),
            clock=clock,
        )
        saved_as(obj, account)


@admin.register(RoutingRule)
class RoutingRuleAdmin(SettingAdmin):
    form = RoutingRuleForm
    list_display = ("name", "workspace", "account", "conditions", "enabled", "priority", "weight")
    list_select_related = ("workspace", "account", "merchant")

    @admin.display(description="conditions")
    def conditions(self, rule: RoutingRule) -> str:
        low, high = rule.min_amount_minor, rule.max_amount_minor
        amounts = f"{low or 1} to {high or 'any'} minor units" if low or high else ""
        merchant = str(rule.merchant) if rule.merchant else ""
        return ", ".join(filter(None, (rule.currency, rule.method, amounts, merchant))) or "every payment"

    def save_model(self, request: HttpRequest, obj: RoutingRule, form: Any, change: bool) -> None:
        clock, actor = clock_for(obj.workspace_id), actor_of(request)
        if change:
            services.update_routing_rule(
                workspace_id=obj.workspace_id, rule_id=obj.id, settings=form.settings(), actor=actor, clock=clock
            )
            return
        rule = services.create_routing_rule(
            workspace_id=obj.workspace_id, settings=form.settings(), actor=actor, clock=clock
        )
        saved_as(obj, rule)


@admin.register(RoutingDecision)
class RoutingDecisionAdmin(ReadOnlyAdmin):
    """Decisions are read, never written."""

    id_search = {"rte": "id", "pay": "payment_id"}
    list_display = ("short_id", "payment", "chosen_account", "made_at", "workspace")
    list_filter = ("workspace", "chosen_account")
    list_select_related = ("workspace", "chosen_account")
    search_fields = ("=payment_id", "=id")
    ordering = ("-id",)
    fields = (
        "public_id",
        "workspace",
        "payment",
        "made_at",
        "chosen_account",
        "candidates_table",
        "request",
        "seed",
        "ruleset_fingerprint",
    )
    readonly_fields = fields

    @admin.display(description="payment")
    def payment(self, decision: RoutingDecision) -> str:
        return shown_id(public_id("pay", decision.payment_id))

    @admin.display(description="candidates")
    def candidates_table(self, decision: RoutingDecision) -> SafeString:
        """Every candidate with the meaning of each of its reasons."""
        rows = format_html_join(
            "",
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            (
                (
                    candidate.rank or "-",
                    candidate.name,
                    candidate.rule or f"own priority {candidate.priority}",
                    " ".join(REASONS.get(reason, reason) for reason in candidate.reasons) or "Chosen.",
                )
                for candidate in candidates_of(decision)
            ),
        )
        head = format_html(
            "<tr><th>{}</th><th>{}</th><th>{}</th><th>{}</th></tr>", "rank", "account", "placed by", "why"
        )
        return format_html('<table class="z-table">{}{}</table>', head, rows)
