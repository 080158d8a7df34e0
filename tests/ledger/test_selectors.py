from __future__ import annotations

from datetime import date
from uuid import uuid4

import pytest

from ledger import selectors
from ledger.models import Account
from tests.factories.tenancy import make_tenant
from tests.ledger.booking import (
    AVAILABLE,
    BANK,
    CUSTOMER,
    PENDING,
    RESERVED,
    SETTLEMENT,
    book,
    funding,
    payout,
    posting,
    suspense,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace_id():
    return make_tenant().workspace.id


class TestBalanceOf:
    def test_is_exact_for_accounts_with_and_without_a_balance_row(self, workspace_id):
        book(workspace_id, funding("in", 500), payout("out", 120))

        assert selectors.balance_of(workspace_id, AVAILABLE, "EUR") == -380
        assert selectors.balance_of(workspace_id, BANK, "EUR") == 500

    def test_is_zero_for_an_account_that_nothing_was_booked_on(self, workspace_id):
        assert selectors.balance_of(workspace_id, BANK, "EUR") == 0

    def test_knows_neither_other_currencies_nor_other_workspaces(self, workspace_id):
        other = make_tenant("Other").workspace.id
        book(workspace_id, funding("in", 500))

        assert selectors.balance_of(workspace_id, BANK, "USD") == 0
        assert selectors.balance_of(other, BANK, "EUR") == 0


class TestTheTrialBalance:
    def test_gives_turnover_and_balance_per_code_and_currency(self, workspace_id):
        book(
            workspace_id,
            funding("in", 500),
            payout("out", 120),
            posting("usd", (BANK, 7), (PENDING, -7), currency="USD"),
        )

        rows = selectors.trial_balance(workspace_id)

        assert [(row.code, row.currency, row.debit_minor, row.credit_minor, row.balance_minor) for row in rows] == [
            ("1010", "EUR", 500, 0, 500),
            ("1010", "USD", 7, 0, 7),
            ("2010", "USD", 0, 7, -7),
            ("2020", "EUR", 120, 500, -380),
            ("2040", "EUR", 0, 120, -120),
        ]

    def test_sets_memo_accounts_apart(self, workspace_id):
        book(workspace_id, funding("in", 500), posting("hold", (CUSTOMER, 9), (RESERVED, -9)))

        rows = selectors.trial_balance(workspace_id)

        assert {row.code for row in rows if row.is_memo} == {"9010", "9020"}

    def test_counts_an_accounting_day_in_and_later_ones_out(self, workspace_id):
        book(
            workspace_id,
            posting("first", (BANK, 1), (PENDING, -1), day=date(2026, 3, 1)),
            posting("second", (BANK, 10), (PENDING, -10), day=date(2026, 3, 2)),
            posting("third", (BANK, 100), (PENDING, -100), day=date(2026, 3, 3)),
        )

        rows = selectors.trial_balance(workspace_id, as_of=date(2026, 3, 2))

        assert [row.balance_minor for row in rows] == [11, -11]

    def test_shows_one_workspace_only(self, workspace_id):
        book(workspace_id, funding("in", 500))

        assert selectors.trial_balance(make_tenant("Other").workspace.id) == []


class TestTheEntriesOfAPayment:
    def test_show_the_four_lines_of_the_product(self, workspace_id):
        payment = uuid4()
        (_, capture) = book(
            workspace_id,
            posting("reserve", (CUSTOMER, 125_000), (RESERVED, -125_000), kind="authorise", payment_id=payment),
            posting("capture", (RESERVED, 125_000), (SETTLEMENT, -125_000), kind="capture", payment_id=payment),
        )

        lines = selectors.entries_of_payment(workspace_id, payment)

        assert [(line["side"], line["account"], line["amount_minor"]) for line in lines] == [
            ("debit", "customer_balance", -125_000),
            ("credit", "reserved_balance", 125_000),
            ("debit", "reserved_balance", -125_000),
            ("credit", "settlement_account", 125_000),
        ]
        assert [line["entry_id"] for line in lines[2:]] == list(capture.entry_ids)
        assert [line["kind"] for line in lines] == ["authorise", "authorise", "capture", "capture"]
        assert all(line["journal_id"].startswith("jrn_") for line in lines)

    def test_are_those_of_the_workspace(self, workspace_id):
        payment = uuid4()
        book(workspace_id, posting("reserve", (CUSTOMER, 5), (RESERVED, -5), payment_id=payment))
        other = make_tenant("Other").workspace.id

        assert selectors.entries_of_payment(other, payment) == []
        assert list(selectors.journals_of_payment(other, payment)) == []
        assert selectors.journals_of_payment(workspace_id, payment).count() == 1


class TestSuspense:
    def test_is_shown_per_case_and_currency_until_it_is_cleared(self, workspace_id):
        short, over, closed = uuid4(), uuid4(), uuid4()
        book(
            workspace_id,
            posting("short", (suspense(short), 40), (BANK, -40)),
            posting("over", (suspense(over), -7), (BANK, 7), currency="USD"),
            posting("opened", (suspense(closed), 5), (BANK, -5)),
            posting("closed", (suspense(closed), -5), (BANK, 5)),
        )

        assert selectors.suspense_balances(workspace_id) == {str(short): {"EUR": 40}, str(over): {"USD": -7}}


class TestTheEntriesOfAnAccount:
    def test_come_in_pages_behind_a_cursor(self, workspace_id):
        book(workspace_id, *[funding(f"in {number}", number) for number in range(1, 6)])
        account = Account.objects.get(code="1010")

        first, more = selectors.entries_of_account(workspace_id, account.id, limit=3)
        second, no_more = selectors.entries_of_account(workspace_id, account.id, after=first[-1].id, limit=3)

        assert [entry.amount_minor for entry in first + second] == [1, 2, 3, 4, 5]
        assert (more, no_more) == (True, False)

    def test_of_another_workspace_are_not_found(self, workspace_id):
        book(workspace_id, funding("in", 5))
        other = make_tenant("Other").workspace.id

        with pytest.raises(selectors.AccountNotFound):
            selectors.entries_of_account(other, Account.objects.get(code="1010").id)
