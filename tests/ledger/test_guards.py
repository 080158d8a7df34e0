"""What psql could try, as the product's role and as the owner of the tables. The database refuses it all."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import DatabaseError, transaction

from ledger import services
from ledger.models import Account, Balance, Entry, Journal
from tests.factories.tenancy import make_tenant
from tests.ledger.booking import AVAILABLE, BANK, CLOCK, CUSTOMER, PENDING, RESERVED, book, funding, payout, posting

ROLES = ("zentra_app", "zentra_owner")
DENIED = "42501"
APPEND_ONLY, NOT_BELONGING, UNBALANCED, FLOOR = "ZL005", "ZL004", "ZL003", "ZL002"


@pytest.fixture
def workspace_id(committed_database) -> UUID:
    workspace_id = make_tenant().workspace.id
    book(workspace_id, funding("in", 500))
    return workspace_id


def everything() -> tuple[list[Any], ...]:
    return tuple(list(model.objects.order_by("pk").values()) for model in (Account, Journal, Entry, Balance))


def error_of(connection: psycopg.Connection[Any], *statements: str) -> psycopg.Error:
    """The error with which one transaction of these statements is refused. It fails when none is."""
    try:
        with connection.transaction():
            for statement in statements:
                connection.execute(statement)
    except psycopg.Error as error:
        return error
    pytest.fail("the database let it through")


def refusal_of(connection: psycopg.Connection[Any], *statements: str) -> str:
    return str(error_of(connection, *statements).sqlstate)


def add_journal(workspace_id: UUID, journal_id: UUID, currency: str = "EUR") -> str:
    return f"""INSERT INTO ledger_journal
        (id, workspace_id, kind, idempotency_key, fingerprint, currency, effective_date, posted_at, meta)
        VALUES ('{journal_id}', '{workspace_id}', 'x', '{journal_id}', '', '{currency}', '2026-03-02', now(), '{{}}')"""


def add_entry(workspace_id: UUID, journal_id: UUID, account_id: UUID, amount: int, currency: str = "EUR") -> str:
    return f"""INSERT INTO ledger_entry
        (journal_id, account_id, workspace_id, currency, amount_minor, effective_date)
        VALUES ('{journal_id}', '{account_id}', '{workspace_id}', '{currency}', {amount}, '2026-03-02')"""


def account_id(code: str) -> UUID:
    return Account.objects.get(code=code).id


CHANGES = (
    "UPDATE ledger_entry SET amount_minor = amount_minor * 2",
    "UPDATE ledger_entry SET amount_minor = amount_minor",
    "UPDATE ledger_journal SET effective_date = '2020-01-01'",
    "UPDATE ledger_account SET floor_minor = NULL",
    "DELETE FROM ledger_entry",
    "DELETE FROM ledger_journal",
    "DELETE FROM ledger_account",
    "DELETE FROM ledger_balance",
    "TRUNCATE ledger_entry",
    "TRUNCATE ledger_journal CASCADE",
    "TRUNCATE ledger_account CASCADE",
    "TRUNCATE ledger_balance",
    """INSERT INTO ledger_journal
       (id, workspace_id, kind, idempotency_key, fingerprint, currency, effective_date, posted_at, meta)
       SELECT id, workspace_id, kind, idempotency_key, fingerprint, currency, effective_date, posted_at, meta
         FROM ledger_journal ON CONFLICT (id) DO UPDATE SET kind = 'changed'""",
)


@pytest.mark.parametrize("role", ROLES)
class TestWhatIsBooked:
    def test_is_not_changed_deleted_or_truncated(self, workspace_id, committed_database, role):
        before = everything()

        with committed_database.connect(role) as connection:
            errors = {statement: error_of(connection, statement) for statement in CHANGES}

        for statement, error in errors.items():
            table = re.findall(r"ledger_\w+", statement)[0]
            # Its own guard speaks, not one of a table that the statement would have reached next.
            expected = f"permission denied for table {table}" if role == "zentra_app" else f"{table} is append-only"
            assert str(error).startswith(expected), statement
            assert error.sqlstate == (DENIED if role == "zentra_app" else APPEND_ONLY)
        assert everything() == before

    def test_gets_no_more_entries_after_its_commit(self, workspace_id, committed_database, role):
        before, journal = everything(), Journal.objects.get()

        with committed_database.connect(role) as connection:
            refused = refusal_of(
                connection,
                add_entry(workspace_id, journal.id, account_id("1010"), 5),
                add_entry(workspace_id, journal.id, account_id("2020"), -5),
            )

        assert refused == (DENIED if role == "zentra_app" else NOT_BELONGING)
        assert everything() == before


@pytest.mark.parametrize("role", ROLES)
class TestAJournalWrittenByHand:
    def refused(self, database, role, *statements: str) -> str:
        before = everything()
        with database.connect(role) as connection:
            refused = refusal_of(connection, *statements)
        assert everything() == before
        return refused

    def expected(self, role: str, owner: str) -> str:
        return DENIED if role == "zentra_app" else owner

    def test_is_refused_when_empty(self, workspace_id, committed_database, role):
        refused = self.refused(committed_database, role, add_journal(workspace_id, uuid4()))

        assert refused == self.expected(role, UNBALANCED)

    def test_is_refused_when_unbalanced(self, workspace_id, committed_database, role):
        journal = uuid4()
        refused = self.refused(
            committed_database,
            role,
            add_journal(workspace_id, journal),
            add_entry(workspace_id, journal, account_id("1010"), 5),
            add_entry(workspace_id, journal, account_id("2020"), -4),
        )

        assert refused == self.expected(role, UNBALANCED)

    @pytest.mark.parametrize("amounts", [(5,), (5, 5)])
    def test_is_refused_when_one_sided(self, workspace_id, committed_database, role, amounts):
        journal = uuid4()
        refused = self.refused(
            committed_database,
            role,
            add_journal(workspace_id, journal),
            *[add_entry(workspace_id, journal, account_id("1010"), amount) for amount in amounts],
        )

        assert refused == self.expected(role, UNBALANCED)

    def test_is_refused_when_memo_and_balance_sheet_make_up_for_each_other(
        self, workspace_id, committed_database, role
    ):
        journal = uuid4()
        memo = book(workspace_id, posting("memo", (CUSTOMER, 5), (RESERVED, -5)))[0].id
        refused = self.refused(
            committed_database,
            role,
            add_journal(workspace_id, journal),
            add_entry(workspace_id, journal, Entry.objects.filter(journal_id=memo).first().account_id, 5),
            add_entry(workspace_id, journal, account_id("2020"), -5),
        )

        assert refused == self.expected(role, UNBALANCED)

    def test_is_refused_when_entries_are_of_another_currency(self, workspace_id, committed_database, role):
        book(workspace_id, posting("usd", (BANK, 5), (PENDING, -5), currency="USD"))
        dollars = Account.objects.get(code="2010", currency="USD").id
        journal = uuid4()
        euros = account_id("2020")

        for currency in ("EUR", "USD"):
            refused = self.refused(
                committed_database,
                role,
                add_journal(workspace_id, journal),
                add_entry(workspace_id, journal, euros, 5),
                add_entry(workspace_id, journal, dollars, -5, currency=currency),
            )
            assert refused == self.expected(role, NOT_BELONGING)

    def test_is_refused_when_it_books_on_an_account_of_another_workspace(self, workspace_id, committed_database, role):
        other = make_tenant("Other").workspace.id
        book(other, posting("other", (BANK, 5), (PENDING, -5)))
        foreign, journal = account_id("2010"), uuid4()

        for claimed in (workspace_id, other):
            refused = self.refused(
                committed_database,
                role,
                add_journal(workspace_id, journal),
                add_entry(workspace_id, journal, account_id("2020"), 5),
                add_entry(claimed, journal, foreign, -5),
            )
            assert refused == self.expected(role, NOT_BELONGING)

    def test_is_refused_when_an_amount_is_zero_or_too_large(self, workspace_id, committed_database, role):
        journal = uuid4()
        for amount in (0, 2**53, -(2**53)):
            refused = self.refused(
                committed_database,
                role,
                add_journal(workspace_id, journal),
                add_entry(workspace_id, journal, account_id("1010"), amount),
                add_entry(workspace_id, journal, account_id("2020"), -amount),
            )
            assert refused == self.expected(role, "23514")


class TestTheOwner:
    def test_may_write_a_journal_that_is_whole(self, workspace_id, owner_connection):
        """Shows that the refusals above come from the guards and not from a mistake in the statements."""
        journal = uuid4()

        with owner_connection.transaction():
            owner_connection.execute(add_journal(workspace_id, journal))
            owner_connection.execute(add_entry(workspace_id, journal, account_id("1010"), 5))
            owner_connection.execute(add_entry(workspace_id, journal, account_id("2020"), -5))

        assert Entry.objects.filter(journal_id=journal).count() == 2


class TestTheProductsRole:
    def test_writes_only_through_the_functions(self, workspace_id, committed_database):
        with committed_database.connect("zentra_app") as connection:
            for statement in (
                add_journal(workspace_id, uuid4()),
                f"SELECT ledger_open_accounts('{workspace_id}', '[]')",
                "UPDATE ledger_balance SET posted_minor = 0",
                "INSERT INTO ledger_account SELECT * FROM ledger_account",
                "INSERT INTO ledger_balance SELECT * FROM ledger_balance",
                "ALTER TABLE ledger_entry DISABLE TRIGGER ALL",
                "DROP TRIGGER ledger_journal_balances ON ledger_journal",
                "DROP TABLE ledger_entry",
                "SET session_replication_role = replica",
            ):
                assert refusal_of(connection, statement) == DENIED, statement

    def test_cannot_put_a_table_of_its_own_in_front_of_the_ledgers(self, workspace_id, committed_database):
        payload = json.dumps(services._payload(payout("out", 501), CLOCK))

        with committed_database.connect("zentra_app") as connection:
            connection.execute(
                "CREATE TEMP TABLE ledger_balance AS SELECT account_id, -9999::bigint AS posted_minor, "
                "0::bigint AS version FROM public.ledger_balance"
            )
            connection.execute("CREATE TEMP TABLE ledger_entry AS SELECT * FROM public.ledger_entry")
            with pytest.raises(psycopg.Error) as refusal:
                connection.execute("SELECT ledger_post(%s, %s::jsonb)", [workspace_id, payload])

        assert refusal.value.sqlstate == FLOOR

    def test_an_unbalanced_posting_past_the_service_is_refused_at_commit(self, workspace_id, committed_database):
        before = everything()
        payload = services._payload(funding("k", 5), CLOCK)
        payload["legs"][0]["amount_minor"] = 6

        with committed_database.connect("zentra_app") as connection, pytest.raises(psycopg.Error) as refusal:
            connection.execute("SELECT ledger_post(%s, %s::jsonb)", [workspace_id, json.dumps(payload)])

        assert refusal.value.sqlstate == UNBALANCED
        assert everything() == before

    def test_a_booking_is_undone_with_the_transaction_that_it_belongs_to(self, workspace_id):
        before = everything()

        with transaction.atomic():
            services.post_journal(workspace_id=workspace_id, posting=payout("out", 500), clock=CLOCK)
            transaction.set_rollback(True)

        assert everything() == before

    def test_a_conflict_is_survived_behind_a_savepoint(self, workspace_id):
        with transaction.atomic():
            with pytest.raises(services.BalanceFloorBreached), transaction.atomic():
                services.post_journal(workspace_id=workspace_id, posting=payout("too much", 501), clock=CLOCK)
            services.post_journal(workspace_id=workspace_id, posting=payout("enough", 500), clock=CLOCK)

        assert Balance.objects.get().posted_minor == 0


class TestTheDeferredCheck:
    def test_speaks_at_commit_and_not_before(self, workspace_id, owner_connection):
        journal = uuid4()

        owner_connection.execute("BEGIN")
        owner_connection.execute(add_journal(workspace_id, journal))
        reached = owner_connection.execute("SELECT count(*) FROM ledger_journal").fetchone()
        with pytest.raises(psycopg.Error) as refusal:
            owner_connection.execute("COMMIT")

        assert reached == (2,)
        assert refusal.value.sqlstate == UNBALANCED
        assert not Journal.objects.filter(id=journal).exists()

    def test_reaches_the_service_as_a_failure_and_not_as_a_conflict(self, workspace_id):
        first = Journal.objects.get()

        with pytest.raises(DatabaseError, match="is not the mirror"), transaction.atomic():
            services.post_journal(
                workspace_id=workspace_id,
                posting=posting("undo", (AVAILABLE, 4), (BANK, -4), reverses_id=first.id),
                clock=CLOCK,
            )

        assert Journal.objects.count() == 1
