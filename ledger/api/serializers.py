"""Bodies of the ledger's answers. Amounts: integer minor units, debit positive."""

from __future__ import annotations

from datetime import date
from typing import Any

from rest_framework import serializers

from ledger.rules import CHART
from ledger.types import Side
from zentra.core.clock import iso_utc
from zentra.core.ids import public_id


class AccountBody(serializers.Serializer):
    """An account of the ledger with its live balance."""

    id = serializers.CharField(source="public_id")
    code = serializers.CharField()
    name = serializers.SerializerMethodField()
    shown_as = serializers.SerializerMethodField()
    owner_type = serializers.CharField()
    owner_id = serializers.CharField()
    dimension = serializers.CharField()
    currency = serializers.CharField()
    account_class = serializers.CharField()
    normal_side = serializers.CharField()
    balance_minor = serializers.IntegerField(source="live_balance_minor")

    def get_name(self, account: Any) -> str:
        return CHART[account.code].name

    def get_shown_as(self, account: Any) -> str:
        return CHART[account.code].shown_as


class EntryBody(serializers.Serializer):
    """One signed line: debit positive, credit negative."""

    id = serializers.IntegerField()
    account_id = serializers.SerializerMethodField()
    journal_id = serializers.SerializerMethodField()
    side = serializers.SerializerMethodField()
    amount_minor = serializers.IntegerField()
    currency = serializers.CharField()
    effective_date = serializers.DateField()
    payment_id = serializers.SerializerMethodField()

    def get_account_id(self, entry: Any) -> str:
        return public_id("acc", entry.account_id)

    def get_journal_id(self, entry: Any) -> str:
        return public_id("jrn", entry.journal_id)

    def get_side(self, entry: Any) -> str:
        return Side.of(entry.amount_minor).value

    def get_payment_id(self, entry: Any) -> str | None:
        return public_id("pay", entry.payment_id) if entry.payment_id else None


class AccountEntryBody(EntryBody):
    """An entry as an account's list shows it, with what was booked."""

    kind = serializers.CharField(source="journal.kind")
    posted_at = serializers.SerializerMethodField()

    def get_posted_at(self, entry: Any) -> str:
        return iso_utc(entry.journal.posted_at)


class JournalEntryBody(EntryBody):
    """An entry as its journal shows it, with the account's code and name."""

    account_code = serializers.CharField(source="account.code")
    account_name = serializers.SerializerMethodField()

    def get_account_name(self, entry: Any) -> str:
        return CHART[entry.account.code].name


class JournalBody(serializers.Serializer):
    """A balanced booking and its entries."""

    id = serializers.CharField(source="public_id")
    kind = serializers.CharField()
    posting_key = serializers.CharField(source="idempotency_key")
    currency = serializers.CharField()
    effective_date = serializers.DateField()
    posted_at = serializers.SerializerMethodField()
    reverses = serializers.SerializerMethodField()
    payment_id = serializers.SerializerMethodField()
    batch_id = serializers.SerializerMethodField()
    case_id = serializers.SerializerMethodField()
    entries = serializers.SerializerMethodField()

    def get_posted_at(self, journal: Any) -> str:
        return iso_utc(journal.posted_at)

    def get_reverses(self, journal: Any) -> str | None:
        return public_id("jrn", journal.reverses_id) if journal.reverses_id else None

    def get_payment_id(self, journal: Any) -> str | None:
        return public_id("pay", journal.payment_id) if journal.payment_id else None

    def get_batch_id(self, journal: Any) -> str | None:
        return public_id("btc", journal.batch_id) if journal.batch_id else None

    def get_case_id(self, journal: Any) -> str | None:
        return public_id("cas", journal.case_id) if journal.case_id else None

    def get_entries(self, journal: Any) -> list[dict[str, Any]]:
        return list(JournalEntryBody(self.context["entries"], many=True).data)


class TrialBalanceRowBody(serializers.Serializer):
    """Turnover and balance of one account code in one currency."""

    code = serializers.CharField()
    name = serializers.CharField()
    account_class = serializers.CharField()
    currency = serializers.CharField()
    debit_minor = serializers.IntegerField()
    credit_minor = serializers.IntegerField()
    balance_minor = serializers.IntegerField()


class TrialBalanceBody(serializers.Serializer):
    """Accounts on the balance sheet and, apart from them, memo accounts. Each group nets to zero per currency."""

    as_of = serializers.DateField(allow_null=True)
    accounts = TrialBalanceRowBody(many=True)
    memo = TrialBalanceRowBody(many=True)


class TrialBalanceQuery(serializers.Serializer):
    as_of = serializers.DateField(required=False, default=None, input_formats=["iso-8601"])

    def day(self) -> date | None:
        self.is_valid(raise_exception=True)
        return self.validated_data["as_of"]


class EntriesQuery(serializers.Serializer):
    after = serializers.IntegerField(required=False, default=0, min_value=0, max_value=2**63 - 1)
    limit = serializers.IntegerField(required=False, default=20, min_value=1, max_value=100)
