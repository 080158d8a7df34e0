from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from ledger import services
from ledger.models import Account, Entry, Journal
from tests.factories.tenancy import make_tenant
from tests.ledger.booking import CUSTOMER, RESERVED, book, funding, payout, posting
from zentra.core import registries


@pytest.fixture
def tenant(committed_database):
    tenant = make_tenant()
    book(
        tenant.workspace.id,
        funding("in", 500),
        payout("out", 120),
        posting("hold", (CUSTOMER, 9), (RESERVED, -9)),
    )
    return tenant


@pytest.fixture
def corrupt(committed_database):
    """Changes the books behind the guards' back, as a superuser can."""

    def run(statement, *params):
        with committed_database.connect(None) as connection:
            connection.execute("SET session_replication_role = replica")
            assert connection.execute(statement, params).rowcount > 0

    return run


def violated(results):
    return {result.name: result.violations for result in results if not result.holds}


class TestVerifyBooks:
    def test_finds_nothing_wrong_with_books_that_are_right(self, tenant):
        results = services.verify_books()

        assert {"journals_balance", "entries_belong", "balances_match_entries", "groups_net_to_zero"} <= {
            result.name for result in results
        }
        assert violated(results) == {}

    def test_finds_a_changed_amount_and_names_the_journal(self, tenant, corrupt):
        journal = Journal.objects.get(idempotency_key="in")
        corrupt("UPDATE ledger_entry SET amount_minor = 501 WHERE journal_id = %s AND amount_minor > 0", journal.id)

        found = violated(services.verify_books())

        assert found["journals_balance"] == (
            f"{tenant.workspace.public_id}: journal {journal.public_id} leaves 1 EUR on balance",
        )
        assert found["groups_net_to_zero"] == (
            f"{tenant.workspace.public_id}: the trial balance leaves 1 EUR minor units",
        )

    def test_finds_a_journal_whose_entries_are_gone(self, tenant, corrupt):
        journal = Journal.objects.get(idempotency_key="hold")
        corrupt("DELETE FROM ledger_entry WHERE journal_id = %s", journal.id)

        (sentence,) = violated(services.verify_books())["journals_balance"]

        assert sentence.endswith(f"journal {journal.public_id} has 0 entries")

    def test_finds_memo_accounts_that_do_not_net(self, tenant, corrupt):
        corrupt("DELETE FROM ledger_entry WHERE amount_minor = 9")

        (sentence,) = violated(services.verify_books())["groups_net_to_zero"]

        assert sentence.endswith("memo accounts leaves -9 EUR minor units")

    def test_finds_a_balance_row_that_was_raised(self, tenant, corrupt):
        corrupt("UPDATE ledger_balance SET posted_minor = -999999")

        found = violated(services.verify_books())

        assert set(found) == {"balances_match_entries"}
        assert Account.objects.get(code="2020").public_id in found["balances_match_entries"][0]

    def test_finds_a_balance_row_that_is_missing(self, tenant, corrupt):
        corrupt("DELETE FROM ledger_balance")

        assert "shows None" in violated(services.verify_books())["balances_match_entries"][0]

    def test_finds_a_balance_below_its_floor(self, tenant, corrupt):
        corrupt("UPDATE ledger_account SET floor_minor = 381 WHERE code = '2020'")

        assert set(violated(services.verify_books())) == {"balances_match_entries"}

    def test_finds_an_entry_that_was_moved_to_another_day(self, tenant, corrupt):
        entry = Entry.objects.order_by("id").first()
        corrupt("UPDATE ledger_entry SET effective_date = '2020-01-01' WHERE id = %s", entry.id)

        (sentence,) = violated(services.verify_books())["entries_belong"]

        assert f"entry {entry.id} differs" in sentence

    def test_looks_at_one_workspace_when_asked(self, tenant, corrupt):
        other = make_tenant("Other").workspace
        corrupt("UPDATE ledger_balance SET posted_minor = -999999")

        assert violated(services.verify_books(workspace_id=other.id)) == {}
        assert violated(services.verify_books(workspace_id=tenant.workspace.id)) != {}

    def test_runs_the_proofs_of_other_apps_and_bounds_what_they_say(self, tenant, monkeypatch):
        monkeypatch.setattr(registries, "_ledger_proofs", {})
        registries.register_ledger_proof("holds", lambda *, workspace_id: (f"hold {n}" for n in range(10**9)))

        results = {result.name: result for result in services.verify_books(workspace_id=tenant.workspace.id)}

        assert len(results["holds"].violations) == services.MAX_VIOLATIONS


class TestTheCommand:
    def run(self, *arguments):
        output = io.StringIO()
        try:
            call_command("ledger", "verify", *arguments, stdout=output)
        except CommandError as error:
            return error.returncode, output.getvalue()
        return 0, output.getvalue()

    def test_prints_a_line_for_each_proof_and_ends_well(self, tenant):
        code, output = self.run()

        assert code == 0
        assert "ok   balances_match_entries" in output
        assert "FAIL" not in output

    def test_prints_what_is_wrong_and_ends_with_one(self, tenant, corrupt):
        corrupt("UPDATE ledger_balance SET posted_minor = 0")

        code, output = self.run("--workspace", tenant.workspace.public_id)

        assert code == 1
        assert "FAIL balances_match_entries" in output
        assert "shows 0, its entries sum to -380" in output

    def test_refuses_an_id_that_is_none(self, tenant):
        code, output = self.run("--workspace", "wsp_nonsense")

        assert code == 1
        assert output == ""
