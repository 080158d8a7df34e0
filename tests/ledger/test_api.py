from __future__ import annotations

from datetime import date
from uuid import uuid4

import pytest

from ledger.models import Account, Journal
from tests.factories.tenancy import make_tenant
from tests.ledger.booking import BANK, CUSTOMER, PENDING, RESERVED, book, funding, payout, posting
from zentra.core.ids import new_id, public_id

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant():
    return make_tenant()


@pytest.fixture
def get(client, tenant):
    def ask(path, **query):
        return client.get(f"/api/v1/ledger/{path}", query, headers=tenant.headers)

    return ask


class TestAccounts:
    def test_are_listed_with_their_live_balances(self, tenant, get):
        book(tenant.workspace.id, funding("in", 500), payout("out", 120))

        body = get("accounts", limit=2).json()

        assert [(row["code"], row["name"], row["balance_minor"]) for row in body["data"]] == [
            ("1010", "Bank cash", 500),
            ("2020", "Merchant payable, available", -380),
        ]
        assert body["pagination"] == {"page": 1, "limit": 2, "total": 3, "pages": 2, "has_more": True}
        assert body["data"][0]["id"].startswith("acc_")

    def test_of_other_workspaces_are_not_shown(self, get):
        book(make_tenant("Other").workspace.id, funding("in", 500))

        assert get("accounts").json()["data"] == []


class TestTheEntriesOfAnAccount:
    def test_follow_a_cursor(self, tenant, get):
        payment = uuid4()
        book(tenant.workspace.id, funding("a", 1), posting("b", (BANK, 2), (PENDING, -2), payment_id=payment))
        account = Account.objects.get(code="1010")

        first = get(f"accounts/{account.public_id}/entries", limit=1).json()
        cursor = first["pagination"]["next_after"]
        second = get(f"accounts/{account.public_id}/entries", limit=1, after=cursor).json()

        assert first["pagination"]["has_more"] is True
        assert (first["data"][0]["side"], first["data"][0]["amount_minor"]) == ("debit", 1)
        assert second["data"][0]["payment_id"] == public_id("pay", payment)
        assert second["data"][0]["posted_at"] == "2026-03-02T09:30:00.000Z"
        assert second["pagination"] == {"limit": 1, "has_more": False, "next_after": None}

    @pytest.mark.parametrize("query", [{"after": "x"}, {"after": -1}, {"limit": 0}, {"limit": 101}])
    def test_refuse_a_cursor_or_limit_out_of_bounds(self, tenant, get, query):
        book(tenant.workspace.id, funding("a", 1))

        response = get(f"accounts/{Account.objects.first().public_id}/entries", **query)

        assert response.status_code == 422
        assert response.json()["error"]["field"] == next(iter(query))

    def test_of_another_workspaces_account_are_not_found(self, get):
        book(make_tenant("Other").workspace.id, funding("in", 500))

        response = get(f"accounts/{Account.objects.first().public_id}/entries")

        assert (response.status_code, response.json()["error"]["code"]) == (404, "ledger_account_not_found")


class TestAJournal:
    def test_is_shown_with_its_entries(self, tenant, get):
        payment = uuid4()
        (posted,) = book(
            tenant.workspace.id, posting("k", (CUSTOMER, 5), (RESERVED, -5), kind="authorise", payment_id=payment)
        )

        data = get(f"journals/{public_id('jrn', posted.id)}").json()["data"]

        assert (data["kind"], data["posting_key"], data["effective_date"]) == ("authorise", "k", "2026-03-02")
        assert (data["payment_id"], data["batch_id"], data["reverses"]) == (public_id("pay", payment), None, None)
        assert [(row["account_code"], row["side"], row["amount_minor"]) for row in data["entries"]] == [
            ("9010", "debit", 5),
            ("9020", "credit", -5),
        ]

    @pytest.mark.parametrize("path", [f"journals/{public_id('jrn', new_id())}", "journals/jrn_x", "journals/1"])
    def test_that_does_not_exist_is_not_found(self, get, path):
        assert get(path).status_code == 404

    def test_of_another_workspace_is_not_found(self, get):
        book(make_tenant("Other").workspace.id, funding("in", 500))

        response = get(f"journals/{Journal.objects.get().public_id}")

        assert (response.status_code, response.json()["error"]["code"]) == (404, "journal_not_found")


class TestTheTrialBalance:
    def test_sets_memo_apart_and_nets_to_zero(self, tenant, get):
        book(tenant.workspace.id, funding("in", 500), posting("hold", (CUSTOMER, 5), (RESERVED, -5)))

        data = get("trial-balance").json()["data"]

        assert data["as_of"] is None
        assert [(row["code"], row["balance_minor"]) for row in data["accounts"]] == [("1010", 500), ("2020", -500)]
        assert [(row["code"], row["balance_minor"]) for row in data["memo"]] == [("9010", 5), ("9020", -5)]

    def test_of_a_day_leaves_later_days_out(self, tenant, get):
        book(
            tenant.workspace.id,
            funding("in", 500),
            posting("later", (BANK, 1), (PENDING, -1), day=date(2026, 3, 3)),
        )

        data = get("trial-balance", as_of="2026-03-02").json()["data"]

        assert data["as_of"] == "2026-03-02"
        assert [row["balance_minor"] for row in data["accounts"]] == [500, -500]

    def test_refuses_what_is_no_day(self, get):
        response = get("trial-balance", as_of="yesterday")

        assert (response.status_code, response.json()["error"]["field"]) == (422, "as_of")


class TestAccess:
    @pytest.mark.parametrize("path", ["accounts", "trial-balance", "journals/jrn_x", "accounts/acc_x/entries"])
    def test_needs_a_key(self, client, path):
        assert client.get(f"/api/v1/ledger/{path}").status_code == 401

    def test_writes_nothing(self, client, tenant):
        response = client.post("/api/v1/ledger/accounts", {}, "application/json", headers=tenant.headers)

        assert response.status_code == 405
