"""The ledger in the admin: to look at, never to touch."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from ledger import selectors
from ledger.models import Account, Entry, Journal
from ledger.rules import CHART
from zentra.core.ids import public_id
from zentra.tenancy.console import ReadOnlyAdmin, ReadOnlyInline, shown_amount, shown_id


class EntryInline(ReadOnlyInline):
    model = Entry
    ordering = ("id",)
    fields = ("id", "account_code", "account_name", "debit", "credit", "effective_date")
    readonly_fields = fields
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        return super().get_queryset(request).select_related("account")

    @admin.display(description="Name")
    def account_name(self, entry: Entry) -> str:
        return CHART[entry.account.code].name

    @admin.display(description="Account")
    def account_code(self, entry: Entry) -> str:
        return entry.account.code

    @admin.display(description="Debit")
    def debit(self, entry: Entry) -> str:
        return shown_amount(entry.amount_minor, entry.currency) if entry.amount_minor > 0 else ""

    @admin.display(description="Credit")
    def credit(self, entry: Entry) -> str:
        return shown_amount(-entry.amount_minor, entry.currency) if entry.amount_minor < 0 else ""


@admin.register(Journal)
class JournalAdmin(ReadOnlyAdmin):
    id_search = {"jrn": "id", "pay": "payment_id", "btc": "batch_id", "cas": "case_id"}
    list_display = ("short_id", "kind_words", "about", "currency", "effective_date", "posted_at", "workspace")
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
        "payment",
        "batch",
        "case",
        "meta",
    )
    readonly_fields = ("public_id", "payment", "batch", "case")

    @admin.display(description="Payment")
    def payment(self, journal: Journal) -> str:
        return public_id("pay", journal.payment_id) if journal.payment_id else "-"

    @admin.display(description="Settlement batch")
    def batch(self, journal: Journal) -> str:
        return public_id("btc", journal.batch_id) if journal.batch_id else "-"

    @admin.display(description="Drift case")
    def case(self, journal: Journal) -> str:
        return public_id("cas", journal.case_id) if journal.case_id else "-"

    @admin.display(description="Kind", ordering="kind")
    def kind_words(self, journal: Journal) -> str:
        return journal.kind.replace("_", " ")

    @admin.display(description="About")
    def about(self, journal: Journal) -> str:
        """What the journal is about: the nearest of case, payment and batch."""
        for prefix, value in (("cas", journal.case_id), ("pay", journal.payment_id), ("btc", journal.batch_id)):
            if value is not None:
                return shown_id(public_id(prefix, value))
        return "-"


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    id_search = {"acc": "id"}
    list_display = ("code", "name", "owner", "of_dimension", "live_balance", "workspace")
    list_filter = ("code", "currency", "workspace")
    list_select_related = ("workspace",)
    search_fields = ("=code", "=owner_id", "=dimension")
    ordering = ("code", "workspace", "owner_id")
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
        return shown_amount(account.live_balance_minor, account.currency)

    @admin.display(description="Owner")
    def owner(self, account: Account) -> str:
        return format_html("{} {}", account.owner_type or "workspace", _short(account.owner_id))

    @admin.display(description="Dimension")
    def of_dimension(self, account: Account) -> str:
        return _short(account.dimension) or "-"


def _short(text: str) -> str:
    """The tail of a bare id, with the whole in the title."""
    return format_html('<span class="z-id" title="{}">…{}</span>', text, text[-8:]) if len(text) > 12 else text
