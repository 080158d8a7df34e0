"""Reads. The workspace comes first; amounts are minor units, debit positive unless a function says otherwise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from typing import Any, Final
from uuid import UUID

from django.db.models import BigIntegerField, Case, F, OuterRef, Q, QuerySet, Subquery, Sum, When
from django.db.models.functions import Coalesce

from ledger.models import Account, Entry, Journal
from ledger.rules import CHART
from ledger.types import AccountClass, AccountKey, BalanceMode, Side, TrialBalanceRow
from zentra.core.db import fetch_all
from zentra.core.errors import NotFound
from zentra.core.ids import public_id
from zentra.core.registries import LedgerProof

MAX_ENTRIES_OF_PAYMENT: Final = 1000
MAX_ENTRIES_A_PAGE: Final = 100


class JournalNotFound(NotFound):
    code = "journal_not_found"
    summary = "No such journal exists in this workspace."


class AccountNotFound(NotFound):
    code = "ledger_account_not_found"
    summary = "No such ledger account exists in this workspace."


def balance_of(workspace_id: UUID, account_key: AccountKey, currency: str) -> int:
    """The exact live balance of one account; zero for an account that nothing was booked on."""
    found = with_live_balance(
        Account.objects.filter(
            workspace_id=workspace_id,
            code=account_key.code,
            owner_type=account_key.owner_type,
            owner_id=account_key.owner_id,
            dimension=account_key.dimension,
            currency=currency,
        )
    ).first()
    return int(found.live_balance_minor) if found else 0


def trial_balance(workspace_id: UUID, *, as_of: date | None = None) -> list[TrialBalanceRow]:
    """Turnover and balance per code and currency, up to and including an accounting day; everything without one.

    Memo accounts stand in rows of their own (``is_memo``); each group nets to zero in every currency.
    """
    entries = Entry.objects.filter(workspace_id=workspace_id)
    if as_of is not None:
        entries = entries.filter(effective_date__lte=as_of)
    rows = (
        entries.values("account__code", "currency")
        .annotate(
            debit_minor=Coalesce(Sum("amount_minor", filter=Q(amount_minor__gt=0)), 0),
            credit_minor=Coalesce(-Sum("amount_minor", filter=Q(amount_minor__lt=0)), 0),
        )
        .order_by("account__code", "currency")
    )
    return [
        TrialBalanceRow(
            code=row["account__code"],
            name=CHART[row["account__code"]].name,
            account_class=AccountClass.of(row["account__code"]),
            currency=row["currency"],
            debit_minor=int(row["debit_minor"]),
            credit_minor=int(row["credit_minor"]),
            balance_minor=int(row["debit_minor"] - row["credit_minor"]),
        )
        for row in rows
    ]


def suspense_balances(workspace_id: UUID) -> dict[str, dict[str, int]]:
    """What 2900 holds per case (bare id as text) and currency; balances of zero are left out."""
    rows = (
        Entry.objects.filter(workspace_id=workspace_id, account__code="2900", account__workspace_id=workspace_id)
        .values("account__dimension", "currency")
        .annotate(left_minor=Sum("amount_minor"))
        .exclude(left_minor=0)
    )
    balances: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        balances[row["account__dimension"]][row["currency"]] = int(row["left_minor"])
    return dict(balances)


def entries_of_payment(workspace_id: UUID, payment_id: UUID) -> list[dict[str, Any]]:
    """The entries of one payment in the order of booking, under the names of the product's traces.

    ``amount_minor`` is credit positive, as product traces show it: a debit of customer_balance is negative.
    At most MAX_ENTRIES_OF_PAYMENT.
    """
    return _shown_entries(Entry.objects.filter(workspace_id=workspace_id, payment_id=payment_id))


def entries_of_case(workspace_id: UUID, case_id: UUID) -> list[dict[str, Any]]:
    """The entries of the journals about one drift case, as ``entries_of_payment`` shows them."""
    return _shown_entries(Entry.objects.filter(workspace_id=workspace_id, case_id=case_id))


def _shown_entries(rows: QuerySet[Entry]) -> list[dict[str, Any]]:
    entries = rows.select_related("journal", "account").order_by("id")[:MAX_ENTRIES_OF_PAYMENT]
    return [
        {
            "entry_id": entry.id,
            "journal_id": entry.journal.public_id,
            "kind": entry.journal.kind,
            "account": CHART[entry.account.code].shown_as,
            "account_code": entry.account.code,
            "side": Side.of(entry.amount_minor).value,
            "amount_minor": -entry.amount_minor,
            "currency": entry.currency,
            "effective_date": entry.effective_date,
            "posted_at": entry.journal.posted_at,
        }
        for entry in entries
    ]


def journals_of_payment(workspace_id: UUID, payment_id: UUID) -> QuerySet[Journal]:
    """The journals of one payment, oldest first."""
    return Journal.objects.filter(workspace_id=workspace_id, payment_id=payment_id).order_by("id")


def journal_by_id(workspace_id: UUID, journal_id: UUID) -> Journal:
    """:raises JournalNotFound: this workspace has no such journal"""
    journal = Journal.objects.filter(workspace_id=workspace_id, id=journal_id).first()
    if journal is None:
        raise JournalNotFound(f"no journal {public_id('jrn', journal_id)} in this workspace")
    return journal


def entries_of_journal(journal: Journal) -> list[Entry]:
    """The entries of a journal with their accounts, in the order of its legs."""
    return list(Entry.objects.filter(journal=journal).select_related("account").order_by("id"))


def accounts(workspace_id: UUID) -> QuerySet[Any]:
    """Every account of the workspace with its exact live balance as ``live_balance_minor``, by code and currency."""
    return with_live_balance(Account.objects.filter(workspace_id=workspace_id)).order_by(
        "code", "owner_type", "owner_id", "dimension", "currency"
    )


def with_live_balance(rows: QuerySet[Account]) -> QuerySet[Any]:
    """Accounts with ``live_balance_minor``: the balance row where there is one, else the sum of the entries."""
    entries = Entry.objects.filter(account=OuterRef("pk")).values("account")
    summed = Subquery(entries.annotate(total=Sum("amount_minor")).values("total"), output_field=BigIntegerField())
    return rows.annotate(
        live_balance_minor=Case(
            When(balance_mode=BalanceMode.SYNC, then=F("balance__posted_minor")), default=Coalesce(summed, 0)
        )
    )


def key_of(account: Account) -> AccountKey:
    """How a posting names this account."""
    return AccountKey(account.code, account.owner_type, account.owner_id, account.dimension)


def account_by_id(workspace_id: UUID, account_id: UUID) -> Account:
    """:raises AccountNotFound: this workspace has no such account"""
    account = Account.objects.filter(workspace_id=workspace_id, id=account_id).first()
    if account is None:
        raise AccountNotFound(f"no account {public_id('acc', account_id)} in this workspace")
    return account


def entries_of_account(
    workspace_id: UUID, account_id: UUID, *, after: int = 0, limit: int = 20
) -> tuple[list[Entry], bool]:
    """Entries of one account with an id above ``after``, oldest first, with their journals; and whether more follow.

    :param limit: at most MAX_ENTRIES_A_PAGE are given
    :raises AccountNotFound: this workspace has no such account
    """
    account, limit = account_by_id(workspace_id, account_id), min(limit, MAX_ENTRIES_A_PAGE)
    found = list(
        Entry.objects.filter(account=account, id__gt=after).select_related("journal").order_by("id")[: limit + 1]
    )
    return found[:limit], len(found) > limit


def unbalanced_journals(*, workspace_id: UUID) -> Iterator[str]:
    """Proof: every journal has two entries or more and sums to zero per currency, memo accounts apart."""
    rows = fetch_all(
        """
        SELECT g.journal_id, sum(g.entries) AS entries,
               string_agg(format('%%s %%s %%s', g.left_minor, g.currency, g.account_group), ', ')
                   FILTER (WHERE g.left_minor <> 0) AS left_over
          FROM (SELECT j.id AS journal_id, e.currency, count(e.id) AS entries,
                       coalesce(sum(e.amount_minor), 0) AS left_minor,
                       CASE a.account_class WHEN 'memo' THEN 'memo' ELSE 'on balance' END AS account_group
                  FROM ledger_journal j
                  LEFT JOIN ledger_entry e ON e.journal_id = j.id
                  LEFT JOIN ledger_account a ON a.id = e.account_id
                 WHERE j.workspace_id = %s
                 GROUP BY j.id, e.currency, account_group) g
         GROUP BY g.journal_id
        HAVING sum(g.entries) < 2 OR bool_or(g.left_minor <> 0)
         ORDER BY g.journal_id
        """,
        [workspace_id],
    )
    for row in rows:
        found = f"leaves {row['left_over']}" if row["left_over"] else f"has {row['entries']} entries"
        yield f"journal {public_id('jrn', row['journal_id'])} {found}"


def misplaced_entries(*, workspace_id: UUID) -> Iterator[str]:
    """Proof: an entry, its journal and its account agree on workspace, currency and accounting day."""
    rows = fetch_all(
        """
        SELECT e.id, j.id AS journal_id
          FROM ledger_entry e
          LEFT JOIN ledger_journal j ON j.id = e.journal_id
          LEFT JOIN ledger_account a ON a.id = e.account_id
         WHERE %s IN (e.workspace_id, j.workspace_id, a.workspace_id)
           AND (j.workspace_id, j.currency, j.effective_date, a.workspace_id, a.currency)
               IS DISTINCT FROM (e.workspace_id, e.currency, e.effective_date, e.workspace_id, e.currency)
         ORDER BY e.id
        """,
        [workspace_id],
    )
    for row in rows:
        yield f"entry {row['id']} differs from its journal or account in workspace, currency or accounting day"


def wrong_balances(*, workspace_id: UUID) -> Iterator[str]:
    """Proof: every balance row is the sum of its account's entries and respects the floor; none is missing."""
    rows = fetch_all(
        """
        SELECT a.id, a.code, a.currency, b.posted_minor, a.floor_minor, s.total
          FROM ledger_account a
          LEFT JOIN ledger_balance b ON b.account_id = a.id
          CROSS JOIN LATERAL (SELECT coalesce(sum(e.amount_minor), 0) AS total
                                FROM ledger_entry e WHERE e.account_id = a.id) s
         WHERE a.workspace_id = %s AND a.balance_mode = 'sync'
           AND (b.posted_minor IS DISTINCT FROM s.total
                OR CASE a.normal_side WHEN 'debit' THEN s.total ELSE -s.total END < a.floor_minor)
         ORDER BY a.code, a.id
        """,
        [workspace_id],
    )
    for row in rows:
        yield (
            f"account {public_id('acc', row['id'])} ({row['code']} {row['currency']}) shows {row['posted_minor']}, "
            f"its entries sum to {row['total']}, its floor is {row['floor_minor']}"
        )


def unequal_groups(*, workspace_id: UUID) -> Iterator[str]:
    """Proof: the trial balance is zero per currency, and so is the memo group by itself."""
    left: dict[tuple[str, str], int] = defaultdict(int)
    for row in trial_balance(workspace_id):
        left["memo accounts" if row.is_memo else "the trial balance", row.currency] += row.balance_minor
    for (group, currency), amount_minor in sorted(left.items()):
        if amount_minor != 0:
            yield f"{group} leaves {amount_minor} {currency} minor units"


#: The ledger's own proofs of `ledger verify`, by name.
PROOFS: Final[dict[str, LedgerProof]] = {
    "journals_balance": unbalanced_journals,
    "entries_belong": misplaced_entries,
    "balances_match_entries": wrong_balances,
    "groups_net_to_zero": unequal_groups,
}
