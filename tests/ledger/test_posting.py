from __future__ import annotations

from datetime import date
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from ledger import selectors, services
from ledger.models import Account, Balance, Entry, Journal
from ledger.rules import CHART
from ledger.types import AccountKey, InvalidPosting, UnknownAccountCode
from tests.factories.tenancy import make_tenant
from tests.ledger.booking import (
    AVAILABLE,
    BANK,
    CLOCK,
    CUSTOMER,
    DAY,
    FEES,
    OWED,
    PAYOUT,
    PENDING,
    RECEIVABLE,
    RESERVED,
    SETTLEMENT,
    book,
    funding,
    in_transit,
    payout,
    posting,
    settle_constraints,
    suspense,
)
from zentra.core.db import NotInTransaction, fetch_all

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace_id():
    return make_tenant().workspace.id


def balance(workspace_id, account, currency="EUR"):
    return selectors.balance_of(workspace_id, account, currency)


class TestABookedPosting:
    def test_a_sale_from_authorisation_to_settlement_books_what_the_chart_says(self, workspace_id):
        """1,250.00 EUR authorised, captured at a fee of 2.9 %, settled at a cost of 1.8 %."""
        payment, batch = uuid4(), uuid4()
        cost_of_provider = AccountKey("5010")

        book(
            workspace_id,
            posting("reserve", (CUSTOMER, 125_000), (RESERVED, -125_000), payment_id=payment),
            posting(
                "capture",
                (RESERVED, 125_000),
                (SETTLEMENT, -125_000),
                (RECEIVABLE, 125_000),
                (PENDING, -125_000),
                (PENDING, 3_625),
                (FEES, -3_625),
                payment_id=payment,
            ),
            posting(
                "settle",
                (in_transit(batch), 122_750),
                (cost_of_provider, 2_250),
                (RECEIVABLE, -125_000),
                (SETTLEMENT, 125_000),
                (CUSTOMER, -125_000),
                payment_id=payment,
                batch_id=batch,
            ),
            posting("release", (PENDING, 121_375), (AVAILABLE, -121_375), payment_id=payment),
        )

        left = {(row.code, row.balance_minor) for row in selectors.trial_balance(workspace_id) if row.balance_minor}
        assert left == {("1110", 122_750), ("2020", -121_375), ("4010", -3_625), ("5010", 2_250)}

    def test_a_short_line_leaves_its_difference_with_the_case(self, workspace_id):
        batch, case = uuid4(), uuid4()

        book(
            workspace_id,
            posting("capture", (RECEIVABLE, 1000), (PENDING, -1000)),
            posting("settle", (in_transit(batch), 960), (suspense(case), 40), (RECEIVABLE, -1000), case_id=case),
        )

        assert selectors.suspense_balances(workspace_id) == {str(case): {"EUR": 40}}
        assert balance(workspace_id, RECEIVABLE) == 0

    def test_it_keeps_what_it_was_given(self, workspace_id):
        payment, batch, case = uuid4(), uuid4(), uuid4()

        (posted,) = book(
            workspace_id,
            posting(
                "k",
                (BANK, 5),
                (AVAILABLE, -5),
                kind="capture",
                payment_id=payment,
                batch_id=batch,
                case_id=case,
                meta={"fee_schedule": 3},
            ),
        )

        journal = Journal.objects.get(id=posted.id)
        assert (journal.kind, journal.idempotency_key, journal.currency) == ("capture", "k", "EUR")
        assert (journal.effective_date, journal.posted_at) == (DAY, CLOCK.now())
        assert (journal.payment_id, journal.batch_id, journal.case_id) == (payment, batch, case)
        assert journal.meta == {"fee_schedule": 3}
        entries = Entry.objects.filter(journal=journal).order_by("id")
        assert [(entry.account.code, entry.amount_minor) for entry in entries] == [("1010", 5), ("2020", -5)]
        assert tuple(entry.id for entry in entries) == posted.entry_ids
        assert {(entry.payment_id, entry.case_id, entry.effective_date) for entry in entries} == {(payment, case, DAY)}

    def test_it_is_refused_outside_a_transaction(self, workspace_id):
        with pytest.raises(NotInTransaction):
            services.post_journal(workspace_id=workspace_id, posting=funding("k", 5), clock=CLOCK)

        assert not Journal.objects.exists()

    def test_it_takes_one_round_trip(self, workspace_id):
        book(workspace_id, funding("warm", 5))

        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            services.post_journal(workspace_id=workspace_id, posting=funding("k", 5), clock=CLOCK)

        assert len(queries) == 1

    def test_an_account_outside_the_chart_is_refused_by_the_service_and_by_the_database(self, workspace_id):
        with transaction.atomic(), pytest.raises(UnknownAccountCode):
            services.post_journal(
                workspace_id=workspace_id,
                posting=posting("k", (BANK, 5), (AccountKey("2999", "merchant", "m1"), -5)),
                clock=CLOCK,
            )
        with pytest.raises(DatabaseError, match="has no code 2999"), transaction.atomic():
            fetch_all(
                """SELECT ledger_post(%s, '{"id": "00000000-0000-7000-8000-000000000001", "key": "k", "kind": "x",
                   "currency": "EUR", "fingerprint": "00", "effective_date": "2026-03-02",
                   "posted_at": "2026-03-02T00:00:00Z", "legs": [{"code": "1010", "amount_minor": 5},
                   {"code": "2999", "amount_minor": -5}]}')""",
                [workspace_id],
            )

        assert not Journal.objects.exists()
        assert not Entry.objects.exists()


class TestARepeat:
    def test_with_the_same_content_answers_with_the_first_journal_and_books_nothing(self, workspace_id):
        (first,) = book(workspace_id, funding("k", 500))

        (second,) = book(workspace_id, funding("k", 500))

        assert (second.id, second.entry_ids, second.replayed) == (first.id, first.entry_ids, True)
        assert not first.replayed
        assert balance(workspace_id, AVAILABLE) == -500
        assert Journal.objects.count() == 1

    def test_with_another_content_is_refused_and_changes_nothing(self, workspace_id):
        book(workspace_id, funding("k", 500))

        with pytest.raises(services.PostingKeyReused) as refusal:
            book(workspace_id, funding("k", 501))

        assert refusal.value.details == {"posting_key": "k"}
        assert balance(workspace_id, AVAILABLE) == -500
        assert Entry.objects.count() == 2

    def test_in_another_workspace_is_another_booking(self, workspace_id):
        other = make_tenant("Other").workspace.id
        (first,) = book(workspace_id, funding("k", 500))

        (second,) = book(other, funding("k", 700))

        assert second.id != first.id
        assert balance(workspace_id, AVAILABLE) == -500
        assert balance(other, AVAILABLE) == -700


class TestABatch:
    def post(self, workspace_id, postings):
        with transaction.atomic():
            posted = services.post_journals(workspace_id=workspace_id, postings=postings, clock=CLOCK)
            settle_constraints()
        return posted

    def test_books_every_posting_and_answers_in_their_order(self, workspace_id):
        postings = [funding(f"k{number:03}", number) for number in (3, 1, 2)]

        posted = self.post(workspace_id, postings)

        keys = [Journal.objects.get(id=item.id).idempotency_key for item in posted]
        assert keys == ["k003", "k001", "k002"]
        assert balance(workspace_id, AVAILABLE) == -6

    def test_takes_one_round_trip_for_each_five_hundred(self, workspace_id):
        postings = [funding(f"k{number}", 1) for number in range(501)]

        with CaptureQueriesContext(connection) as queries:
            posted = self.post(workspace_id, postings)

        assert len([query for query in queries if "ledger_post_batch" in query["sql"]]) == 2
        assert len({item.id for item in posted}) == 501
        assert balance(workspace_id, BANK) == 501
        assert Balance.objects.get(account__code="2020").version == 2

    def test_the_database_refuses_more_than_five_hundred_in_a_call(self, workspace_id):
        with pytest.raises(DatabaseError, match="at most 500"), transaction.atomic():
            fetch_all(
                "SELECT ledger_post_batch(%s, (SELECT jsonb_agg(n) FROM generate_series(1, 501) n))", [workspace_id]
            )

    def test_mixes_new_postings_and_repeats(self, workspace_id):
        (first,) = book(workspace_id, funding("a", 500))

        repeat, new, twice = self.post(workspace_id, [funding("a", 500), funding("b", 20), funding("b", 20)])

        assert (repeat.id, repeat.replayed) == (first.id, True)
        assert (new.replayed, twice.replayed) == (False, True)
        assert twice.id == new.id
        assert balance(workspace_id, AVAILABLE) == -520

    def test_is_refused_whole_when_one_posting_is(self, workspace_id):
        book(workspace_id, funding("a", 500))

        with pytest.raises(services.PostingKeyReused):
            self.post(workspace_id, [funding("b", 20), funding("a", 501)])

        assert balance(workspace_id, AVAILABLE) == -500
        assert Journal.objects.count() == 1

    def test_of_nothing_is_nothing(self, workspace_id):
        assert self.post(workspace_id, []) == []


class TestAFloor:
    def test_lets_the_last_unit_go(self, workspace_id):
        book(workspace_id, funding("in", 500), payout("out", 500))

        assert balance(workspace_id, AVAILABLE) == 0

    def test_refuses_one_unit_more_and_changes_nothing(self, workspace_id):
        book(workspace_id, funding("in", 500))

        with pytest.raises(services.BalanceFloorBreached, match="2020:merchant:m1:EUR") as refusal:
            book(workspace_id, payout("out", 501))

        account = Account.objects.get(code="2020")
        assert refusal.value.details == {"account": account.public_id}
        assert balance(workspace_id, AVAILABLE) == -500
        assert balance(workspace_id, PAYOUT) == 0

    def test_holds_for_an_account_that_was_never_used(self, workspace_id):
        with pytest.raises(services.BalanceFloorBreached):
            book(workspace_id, payout("out", 1))

        assert not Account.objects.exists()

    def test_is_kept_per_currency(self, workspace_id):
        book(workspace_id, funding("in", 500))

        with pytest.raises(services.BalanceFloorBreached):
            book(workspace_id, posting("out", (AVAILABLE, 1), (PAYOUT, -1), currency="USD"))

    def test_is_judged_on_what_a_batch_leaves(self, workspace_id):
        with transaction.atomic():
            services.post_journals(
                workspace_id=workspace_id, postings=[payout("a out", 10), funding("b in", 10)], clock=CLOCK
            )

        assert balance(workspace_id, AVAILABLE) == 0

    def test_does_not_exist_where_the_platform_carries_the_risk(self, workspace_id):
        book(workspace_id, posting("k", (OWED, -5), (BANK, 5)))

        assert balance(workspace_id, OWED) == -5


class TestAReversal:
    def test_mirrors_the_journal_and_names_it(self, workspace_id):
        (first,) = book(workspace_id, posting("k", (BANK, 7), (PENDING, -5), (FEES, -2), payment_id=uuid4()))

        with transaction.atomic():
            mirror = services.reverse_journal(
                workspace_id=workspace_id, journal_id=first.id, key="undo", effective_date=date(2026, 3, 9), clock=CLOCK
            )
            settle_constraints()

        journal, original = Journal.objects.get(id=mirror.id), Journal.objects.get(id=first.id)
        assert journal.reverses_id == first.id
        assert (journal.kind, journal.effective_date) == ("test.reversal", date(2026, 3, 9))
        assert journal.payment_id == original.payment_id
        assert {row.balance_minor for row in selectors.trial_balance(workspace_id)} == {0}

    def test_repeats_under_its_key_and_is_refused_under_another(self, workspace_id):
        (first,) = book(workspace_id, funding("k", 5))
        reverse = {"workspace_id": workspace_id, "journal_id": first.id, "effective_date": DAY, "clock": CLOCK}
        with transaction.atomic():
            mirror = services.reverse_journal(key="undo", **reverse)

        with transaction.atomic():
            repeat = services.reverse_journal(key="undo", **reverse)
        with pytest.raises(services.JournalAlreadyReversed), transaction.atomic():
            services.reverse_journal(key="undo again", **reverse)

        assert (repeat.id, repeat.replayed) == (mirror.id, True)
        assert Journal.objects.count() == 2

    def test_is_refused_when_the_money_has_moved_on(self, workspace_id):
        (first, _) = book(workspace_id, funding("in", 500), payout("out", 200))

        with pytest.raises(services.BalanceFloorBreached), transaction.atomic():
            services.reverse_journal(
                workspace_id=workspace_id, journal_id=first.id, key="undo", effective_date=DAY, clock=CLOCK
            )

        assert balance(workspace_id, AVAILABLE) == -300

    def test_of_another_workspace_finds_nothing(self, workspace_id):
        (first,) = book(workspace_id, funding("k", 5))
        other = make_tenant("Other").workspace.id

        with pytest.raises(selectors.JournalNotFound), transaction.atomic():
            services.reverse_journal(
                workspace_id=other, journal_id=first.id, key="undo", effective_date=DAY, clock=CLOCK
            )

    def test_that_is_no_mirror_is_refused_by_the_database(self, workspace_id):
        (first,) = book(workspace_id, funding("k", 5))

        with pytest.raises(DatabaseError, match="is not the mirror"):
            book(workspace_id, posting("undo", (AVAILABLE, 4), (BANK, -4), reverses_id=first.id))


class TestLockAvailable:
    def test_gives_what_is_posted_debit_positive(self, workspace_id):
        book(workspace_id, funding("in", 500))

        with transaction.atomic():
            posted = services.lock_available(workspace_id=workspace_id, account=AVAILABLE, currency="EUR")

        assert posted == -500

    def test_creates_the_row_of_an_account_never_used(self, workspace_id):
        with transaction.atomic():
            posted = services.lock_available(workspace_id=workspace_id, account=AVAILABLE, currency="EUR")

        assert posted == 0
        assert Balance.objects.get(account__code="2020").posted_minor == 0

    def test_is_refused_for_an_account_without_a_balance_row(self, workspace_id):
        with transaction.atomic(), pytest.raises(InvalidPosting, match="no balance row"):
            services.lock_available(workspace_id=workspace_id, account=PENDING, currency="EUR")

    def test_is_refused_outside_a_transaction(self, workspace_id):
        with pytest.raises(NotInTransaction):
            services.lock_available(workspace_id=workspace_id, account=AVAILABLE, currency="EUR")


class TestTheChartInTheDatabase:
    def test_is_the_chart_of_the_rules(self):
        rows = fetch_all("SELECT * FROM ledger_chart()")

        assert [tuple(row.values()) for row in rows] == [
            (item.code, item.account_class, item.normal_side, item.balance_mode, item.floor_minor)
            for item in CHART.values()
        ]

    def test_an_account_is_opened_with_the_properties_of_its_code(self, workspace_id):
        book(workspace_id, funding("in", 5))

        account = Account.objects.get(code="2020")
        assert (account.account_class, account.normal_side) == ("liability", "credit")
        assert (account.balance_mode, account.floor_minor) == ("sync", 0)
        assert account.id.version == 7
