"""Real threads, real commits, real locks."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from django.db import transaction

from ledger import selectors, services
from ledger.models import Account, Balance, Journal
from tests.factories.tenancy import make_tenant
from tests.ledger.booking import AVAILABLE, BANK, CLOCK, PAYOUT, book, funding, payout, posting

THREADS = 8


@pytest.fixture
def workspace_id(committed_database):
    return make_tenant().workspace.id


def outcome(result):
    return type(result).__name__


class TestEightThreads:
    def test_never_spend_more_than_there_is(self, workspace_id, in_threads):
        """Eight threads spend 100 each, four times, of 1,000: ten go through, whoever they are."""
        book(workspace_id, funding("in", 1000))

        def spend(thread):
            counted = Counter()
            for turn in range(4):
                try:
                    book(workspace_id, payout(f"out {thread} {turn}", 100))
                    counted["paid"] += 1
                except services.BalanceFloorBreached:
                    counted["refused"] += 1
            return counted

        results = in_threads(spend, list(range(THREADS)))

        assert sum(results, Counter()) == {"paid": 10, "refused": 22}
        assert Balance.objects.get().posted_minor == 0
        assert selectors.balance_of(workspace_id, PAYOUT, "EUR") == -1000

    def test_book_one_key_once(self, workspace_id, in_threads):
        results = in_threads(lambda _: book(workspace_id, funding("in", 500))[0], [None] * THREADS)

        assert {outcome(result) for result in results} == {"PostedJournal"}
        assert len({result.id for result in results}) == 1
        assert sorted(result.replayed for result in results) == [False] + [True] * (THREADS - 1)
        assert Journal.objects.count() == 1
        assert Balance.objects.get().posted_minor == -500

    def test_with_other_contents_under_one_key_leave_one_journal(self, workspace_id, in_threads):
        results = in_threads(lambda amount: book(workspace_id, funding("in", amount))[0], list(range(1, THREADS + 1)))

        assert Counter(map(outcome, results)) == {"PostedJournal": 1, "PostingKeyReused": THREADS - 1}
        assert Journal.objects.count() == 1

    def test_open_an_account_once(self, workspace_id, in_threads):
        results = in_threads(lambda number: book(workspace_id, funding(f"in {number}", 5))[0], list(range(THREADS)))

        assert {outcome(result) for result in results} == {"PostedJournal"}
        assert Account.objects.count() == 2
        assert Balance.objects.get().posted_minor == -5 * THREADS

    def test_reverse_a_journal_once(self, workspace_id, in_threads):
        (first,) = book(workspace_id, funding("in", 500))

        def reverse(number):
            with transaction.atomic():
                return services.reverse_journal(
                    workspace_id=workspace_id,
                    journal_id=first.id,
                    key=f"undo {number}",
                    effective_date=CLOCK.now().date(),
                    clock=CLOCK,
                )

        results = in_threads(reverse, list(range(THREADS)))

        assert Counter(map(outcome, results)) == {"PostedJournal": 1, "JournalAlreadyReversed": THREADS - 1}
        assert Balance.objects.get().posted_minor == 0

    def test_post_batches_that_touch_the_same_accounts_in_opposite_order_without_a_deadlock(
        self, workspace_id, in_threads
    ):
        merchants = [AVAILABLE.__class__("2020", "merchant", f"m{number}") for number in range(20)]

        def post(thread):
            ordered = merchants if thread % 2 else merchants[::-1]
            for turn in range(5):
                postings = [
                    posting(f"{thread} {turn} {item.owner_id}", (BANK, 1), (item, -1), kind="fund") for item in ordered
                ]
                with transaction.atomic():
                    services.post_journals(workspace_id=workspace_id, postings=postings, clock=CLOCK)
            return "done"

        results = in_threads(post, list(range(THREADS)))

        assert results == ["done"] * THREADS
        assert set(Balance.objects.values_list("posted_minor", flat=True)) == {-5 * THREADS}


class TestALockedBalance:
    def test_makes_others_wait_until_the_transaction_ends(self, workspace_id, in_threads):
        """Each thread reads what is available and spends all of it: without the lock several would find 500."""
        book(workspace_id, funding("in", 500))

        def spend_all(thread):
            with transaction.atomic():
                available = -services.lock_available(workspace_id=workspace_id, account=AVAILABLE, currency="EUR")
                time.sleep(0.05)
                if available:
                    services.post_journal(
                        workspace_id=workspace_id, posting=payout(f"out {thread}", available), clock=CLOCK
                    )
            return available

        results = in_threads(spend_all, list(range(4)))

        assert sorted(results) == [0, 0, 0, 500]

    def test_is_one_row_for_threads_that_create_it_together(self, workspace_id, in_threads):
        def lock(_):
            with transaction.atomic():
                return services.lock_available(workspace_id=workspace_id, account=AVAILABLE, currency="EUR")

        assert in_threads(lock, [None] * THREADS) == [0] * THREADS
        assert Balance.objects.count() == 1
