from __future__ import annotations

import pytest

from ledger.models import Account, Journal
from tests.factories.tenancy import make_tenant
from tests.ledger.booking import book, funding
from zentra.tenancy.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client):
    user = User.objects.create_superuser("ada", password="irrelevant")
    client.force_login(user)
    return client


@pytest.fixture
def journal():
    (posted,) = book(make_tenant().workspace.id, funding("in", 125_000))
    return Journal.objects.get(id=posted.id)


class TestTheAdmin:
    def test_shows_a_journal_with_its_entries_in_major_units(self, operator, journal):
        page = operator.get(f"/admin/ledger/journal/{journal.id}/change/").content.decode()

        assert journal.public_id in page
        assert "Bank cash" in page
        assert "1,250.00 EUR" in page

    def test_lists_and_searches_journals(self, operator, journal):
        for query in ("", "in", str(journal.id), "not an id"):
            response = operator.get("/admin/ledger/journal/", {"q": query})
            assert response.status_code == 200
            assert (journal.public_id in response.content.decode()) == (query != "not an id")

    def test_lists_accounts_with_their_balances(self, operator, journal):
        page = operator.get("/admin/ledger/account/").content.decode()

        assert "Merchant payable, available" in page
        assert "−1,250.00 EUR" in page

    def test_shows_an_account(self, operator, journal):
        account = Account.objects.get(code="2020")

        page = operator.get(f"/admin/ledger/account/{account.id}/change/").content.decode()

        assert account.public_id in page

    @pytest.mark.parametrize("model", ["journal", "account"])
    def test_neither_adds_nor_changes_nor_deletes(self, operator, journal, model):
        row = {"journal": Journal, "account": Account}[model].objects.first()

        assert operator.get(f"/admin/ledger/{model}/add/").status_code == 403
        assert operator.post(f"/admin/ledger/{model}/{row.pk}/change/", {}).status_code == 403
        assert operator.post(f"/admin/ledger/{model}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
