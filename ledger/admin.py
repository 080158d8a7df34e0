"""The ledger in the admin: to look at, never to touch."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from ledger import selectors
from ledger.models import Account, Entry, Journal
from ledger.rules import CHART
from zentra.core.money import Money
from zentra.tenancy.console import ReadOnlyAdmin, ReadOnlyInline


class EntryInline(ReadOnlyInline):
    model = Entry
    ordering = ("id",)
    fields = ("id", "account_name", "account", "debit", "credit", "effective_date")
    readonly_fields = fields
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        return super().get_queryset(request).select_related("account")

    @admin.display(description="Name")
    def account_name(self, entry: Entry) -> str:
        return CHART[entry.account.code].name

    @admin.display(description="Debit")
    def debit(self, entry: Entry) -> str:
        return str(Money(entry.amount_minor, entry.currency)) if entry.amount_minor > 0 else ""

    @admin.display(description="Credit")
    def credit(self, entry: Entry) -> str:
        return str(Money(-entry.amount_minor, entry.currency)) if entry.amount_minor < 0 else ""


@admin.register(Journal)
class JournalAdmin(ReadOnlyAdmin):
    id_search = {"jrn": "id", "pay": "payment_id", "btc": "batch_id", "cas": "case_id"}
    list_display = ("public_id", "kind", "idempotency_key", "currency", "effective_date", "posted_at", "workspace")
    list_filter = ("kind", "currency", "workspace")
    list_select_related = ("workspace",)
    search_fields = ("=idempotency_key", "=payment_id", "=batch_id", "=case_id", "=id")
    date_hierarchy = "effective_date"
    ordering = ("-id",)
    inlines = (EntryInline,)
    fields = (
        "public_id",
        "workspace",
        "kind",
        "idempotency_key",
        "currency",
        "effective_date",
        "posted_at",
        "reverses",
        "payment_id",
        "batch_id",
        "case_id",
        "meta",
    )
    readonly_fields = ("public_id",)


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    id_search = {"acc": "id"}
    list_display = ("code", "name", "owner_type", "owner_id", "dimension", "currency", "live_balance", "workspace")
    list_filter = ("code", "currency", "workspace")
    list_select_related = ("workspace",)
    search_fields = ("=code", "=owner_id", "=dimension")
    ordering = ("workspace", "code", "owner_id")
    fields = (
        "public_id",
        "workspace",
        "code",
        "name",
        "owner_type",
        "owner_id",
        "dimension",
        "currency",
        "account_class",
        "normal_side",
        "balance_mode",
        "floor_minor",
        "live_balance",
    )
    readonly_fields = ("public_id", "name", "live_balance")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        return selectors.with_live_balance(super().get_queryset(request))

    @admin.display(description="Name")
    def name(self, account: Account) -> str:
        return CHART[account.code].name

    @admin.display(description="Balance (debit positive)")
    def live_balance(self, account: Any) -> str:
        return str(Money(account.live_balance_minor, account.currency))
