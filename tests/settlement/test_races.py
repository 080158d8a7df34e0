"""Two reconcilers, two operators, a crash in the middle: real commits, real locks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ledger.models import Journal
from payments.models import Payment
from settlement.models import DriftCase, LineMatch, ReconciliationRun, SettlementFile
from settlement.services import drift, reconcile, runs
from settlement.types import Resolution
from tests.factories.tenancy import OPERATOR
from tests.settlement.desk import Desk, make_user, open_desk
from tests.settlement.files import file_of, line_of, unknown_line
from webhooks.models import Event
from zentra.core.transitions import IllegalTransition

InThreads = Callable[[Callable[[Any], Any], list[Any]], list[Any]]


@pytest.fixture
def desk(committed_database: Any) -> Desk:
    return open_desk()


def no_errors(results: list[Any]) -> None:
    assert not [result for result in results if isinstance(result, Exception)], results


class TestTwoReconcilers:
    def test_of_one_batch_match_every_line_once(self, desk: Desk, in_threads: InThreads, small_chunks: None):
        lines = [line_of(desk.captured()) for _ in range(12)]
        desk.ingest(file_of(*lines, unknown_line(500)))
        batch = desk.batch()

        results = in_threads(
            lambda _: reconcile.reconcile_batch(workspace_id=desk.workspace_id, batch_id=batch.id), [1, 2, 3]
        )

        no_errors(results)
        assert desk.batch().state == "partially_matched"
        assert LineMatch.objects.count() == Journal.objects.filter(kind__startswith="settlement_").count() == 13
        assert (desk.batch().matched_count, desk.batch().drifted_count) == (12, 1)
        assert Event.objects.filter(type="payment.settled").count() == 12

    def test_of_two_batches_that_name_the_same_captures_give_each_capture_one_line(
        self, desk: Desk, in_threads: InThreads, small_chunks: None
    ):
        captures = [desk.captured() for _ in range(8)]
        desk.ingest(file_of(*map(line_of, captures), batch="bat_1"))
        desk.ingest(file_of(*map(line_of, reversed(captures)), batch="bat_2"))
        ids = [desk.batch("bat_1").id, desk.batch("bat_2").id]

        results = in_threads(
            lambda batch_id: reconcile.reconcile_batch(workspace_id=desk.workspace_id, batch_id=batch_id), ids
        )

        no_errors(results)
        assert Counter(match.verdict for match in desk.matches()) == {"matched": 8, "duplicate": 8}
        assert LineMatch.objects.filter(claims=True).values("item_id").distinct().count() == 8
        assert desk.balances()["2900"] == -80_000
        desk.assert_books_hold()

    def test_importing_one_file_at_once_keeps_one(self, desk: Desk, in_threads: InThreads):
        content = file_of(line_of(desk.captured()))

        results = in_threads(lambda _: desk.ingest(content), [1, 2, 3])

        no_errors(results)
        assert len({file.id for file in results}) == SettlementFile.objects.count() == 1
        assert sorted(file.replayed for file in results) == [False, True, True]

    def test_the_night_begins_once(self, desk: Desk, in_threads: InThreads):
        desk.ingest(file_of(line_of(desk.captured())))

        no_errors(in_threads(lambda _: runs.run_nightly(), [1, 2, 3]))

        assert ReconciliationRun.objects.filter(scope="nightly").count() == 1
        assert desk.batch().matched_count == 1


class TestTwoOperators:
    def test_taking_one_case_at_once_leave_it_with_one(self, desk: Desk, in_threads: InThreads):
        desk.settle(unknown_line(500))
        case = desk.case()
        people = [make_user("ada"), make_user("grace")]

        results = in_threads(
            lambda person: drift.assign_case(
                workspace_id=desk.workspace_id, case_id=case.id, owner=person, actor=OPERATOR
            ),
            people,
        )

        assert sum(isinstance(result, drift.CaseHasOwner) for result in results) == 1
        assert sum(isinstance(result, DriftCase) for result in results) == 1

    def test_closing_one_case_at_once_book_it_once(self, desk: Desk, in_threads: InThreads):
        desk.settle(unknown_line(500))
        case = desk.case()
        drift.assign_case(workspace_id=desk.workspace_id, case_id=case.id, owner=make_user(), actor=OPERATOR)

        results = in_threads(
            lambda note: drift.close_case(
                workspace_id=desk.workspace_id,
                case_id=case.id,
                resolution=Resolution.GAINED,
                note=note,
                actor=OPERATOR,
            ),
            ["first", "second"],
        )

        assert sum(isinstance(result, IllegalTransition) for result in results) == 1
        assert desk.balances()["4090"] == -500
        desk.assert_books_hold()


class TestCrash:
    def test_between_chunks_loses_nothing_and_doubles_nothing(
        self, desk: Desk, small_chunks: None, monkeypatch: pytest.MonkeyPatch
    ):
        captures = [desk.captured() for _ in range(7)]
        desk.ingest(file_of(*map(line_of, captures)))
        settle, calls = reconcile.settling.settle_items, []

        def dies_in_the_second_chunk(**arguments: Any) -> None:
            settle(**arguments)
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(reconcile.settling, "settle_items", dies_in_the_second_chunk)
        with pytest.raises(KeyboardInterrupt):
            desk.reconcile()
        assert (desk.batch().state, LineMatch.objects.count()) == ("matching", 3)
        assert Journal.objects.filter(kind="settlement_sale_matched").count() == 3
        monkeypatch.undo()

        runs.run_nightly()

        assert (desk.batch().state, LineMatch.objects.count()) == ("matched", 7)
        assert Payment.objects.filter(settled_at__isnull=False).count() == 7
        assert desk.balances() == {"1110": 70_000, "2020": -70_000}
        desk.assert_books_hold()
