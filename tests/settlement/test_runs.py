from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from payments.models import Capture, Payment
from settlement.models import DriftCase, ReconciliationRun
from settlement.services import drift, runs
from settlement.tasks import reconcile_batch, run_nightly, run_reconciliation
from settlement.types import Resolution
from tests.settlement.desk import Desk, open_desk
from tests.settlement.files import file_of, line_of
from webhooks.models import Event
from zentra.core.ids import public_id
from zentra.tenancy.services import set_test_clock

OLD = timedelta(days=6)


def night(desk: Desk) -> ReconciliationRun:
    run_nightly()
    return ReconciliationRun.objects.get(workspace_id=desk.workspace_id, scope="nightly")


class TestNightlyRun:
    def test_reconciles_what_a_lost_hint_left_behind(self, desk: Desk):
        desk.ingest(file_of(line_of(desk.captured())))

        run = night(desk)

        assert desk.batch().state == "matched"
        assert (run.state, run.counts["matched"], run.counts["open_cases"]) == ("finished", 1, 0)
        assert Event.objects.filter(type="reconciliation.run.completed").count() == 1

    def test_happens_once_a_day_however_often_the_schedule_beats(self, desk: Desk):
        night(desk)
        desk.captured(age=OLD)

        run_nightly()

        assert ReconciliationRun.objects.filter(workspace_id=desk.workspace_id).count() == 1
        assert not DriftCase.objects.exists()

    def test_is_begun_once_a_day(self, desk: Desk):
        first = runs.begin_night(workspace_id=desk.workspace_id)

        assert first is not None
        assert runs.begin_night(workspace_id=desk.workspace_id) is None

    def test_happens_again_the_next_day(self, desk: Desk):
        night(desk)
        set_test_clock(workspace=desk.tenant.workspace, offset=timedelta(days=1))

        run_nightly()

        assert ReconciliationRun.objects.filter(workspace_id=desk.workspace_id, scope="nightly").count() == 2

    def test_takes_up_files_between_nights(self, desk: Desk):
        night(desk)
        desk.ingest(file_of(line_of(desk.captured())))

        run_nightly()

        assert desk.batch().state == "matched"

    def test_takes_up_a_run_that_died(self, desk: Desk):
        runs.begin_night(workspace_id=desk.workspace_id)
        ReconciliationRun.objects.update(started_at=runs.terms_of(desk.workspace_id).clock.now() - runs.STALE_AFTER * 2)

        assert night(desk).state == "finished"

    def test_leaves_a_run_alone_that_is_being_worked_on(self, desk: Desk):
        runs.begin_night(workspace_id=desk.workspace_id)
        ReconciliationRun.objects.update(started_at=runs.terms_of(desk.workspace_id).clock.now())

        assert night(desk).state == "running"

    def test_one_workspaces_trouble_does_not_keep_the_others_from_theirs(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ):
        other = open_desk("Other")
        begin = runs.begin_night

        def failing(**arguments):
            if arguments["workspace_id"] == desk.workspace_id:
                raise RuntimeError("broken workspace")
            return begin(**arguments)

        monkeypatch.setattr(runs, "begin_night", failing)
        run_nightly()

        assert ReconciliationRun.objects.get().workspace_id == other.workspace_id


class TestMissingLines:
    def test_a_capture_that_waits_too_long_gets_a_case_without_money(self, desk: Desk):
        old, fresh = desk.captured(10_000, age=OLD), desk.captured(10_000)

        night(desk)

        case = desk.case()
        assert (case.drift_class, case.item_id, case.payment_id) == ("missing_line", old.id, old.payment_id)
        assert (case.expected_minor, case.actual_minor, case.suspense_minor, case.batch_id) == (10_000, None, 0, None)
        assert case.severity == "critical"
        assert fresh.settled_at is None
        desk.assert_books_hold()

    def test_a_settled_capture_gets_none(self, desk: Desk):
        desk.settle(line_of(desk.captured(age=OLD)))

        night(desk)

        assert not DriftCase.objects.exists()

    def test_a_second_look_opens_nothing_twice_even_after_it_was_closed(self, desk: Desk):
        desk.captured(age=OLD)
        runs.raise_missing(workspace_id=desk.workspace_id)
        assert runs.raise_missing(workspace_id=desk.workspace_id) == 0

        desk.close(desk.case(), Resolution.REVIEWED)

        assert runs.raise_missing(workspace_id=desk.workspace_id) == 0

    def test_the_line_that_comes_after_all_closes_the_case_by_itself(self, desk: Desk):
        capture = desk.captured(age=OLD)
        runs.raise_missing(workspace_id=desk.workspace_id)

        desk.ingest(file_of(line_of(capture)))
        reconcile_batch(workspace_id=str(desk.workspace_id), batch_id=str(desk.batch().id))

        assert (desk.case().state, desk.case().resolution) == ("closed", "line_arrived")
        assert Payment.objects.get(id=capture.payment_id).settled_at is not None
        assert ReconciliationRun.objects.get(scope="file").counts["matched"] == 1

    def test_written_off_it_clears_the_receivable_and_pays_the_merchant(self, desk: Desk):
        capture = desk.captured(10_000, age=OLD)
        runs.raise_missing(workspace_id=desk.workspace_id)

        case = desk.close(desk.case(), Resolution.WRITTEN_OFF)

        assert desk.journal(id=case.closing_journal_id) == {
            "5090": 10_000,
            "1100": -10_000,
            "9030": 10_000,
            "9010": -10_000,
            "2010": 10_000,
            "2020": -10_000,
        }
        capture.refresh_from_db()
        assert (capture.pending_minor, capture.settled_at is not None) == (0, True)
        assert Payment.objects.get(id=capture.payment_id).settled_at is not None
        desk.assert_books_hold()

    def test_a_line_after_the_write_off_is_a_duplicate_and_can_be_gained(self, desk: Desk):
        capture = desk.captured(10_000, age=OLD)
        runs.raise_missing(workspace_id=desk.workspace_id)
        desk.close(desk.case(), Resolution.WRITTEN_OFF)

        desk.settle(line_of(capture))
        desk.close(desk.case(drift_class="duplicate"), Resolution.GAINED)

        assert desk.balances() == {"1110": 10_000, "2020": -10_000, "4090": -10_000, "5090": 10_000}

    def test_the_merchant_can_bear_it(self, desk: Desk):
        capture = desk.captured(10_000, age=OLD)
        desk.refunded(capture, 4_000)
        runs.raise_missing(workspace_id=desk.workspace_id)

        case = desk.close(desk.case(), Resolution.MERCHANT_BEARS)

        journal = desk.journal(id=case.closing_journal_id)
        assert (journal["2010"], journal["1200"], journal["1100"]) == (6_000, 4_000, -10_000)
        desk.assert_books_hold()

    def test_it_cannot_be_written_off_once_the_line_has_come(self, desk: Desk):
        capture = desk.captured(10_000, age=OLD)
        runs.raise_missing(workspace_id=desk.workspace_id)
        desk.settle(line_of(capture))

        with pytest.raises(drift.LineHasArrived):
            desk.close(desk.case(), Resolution.WRITTEN_OFF)

        assert "5090" not in desk.balances()

    def test_a_line_in_another_currency_is_not_missing_as_well(self, desk: Desk):
        capture = desk.captured(10_000, age=OLD)
        desk.settle(line_of(capture, currency="USD"))

        assert runs.raise_missing(workspace_id=desk.workspace_id) == 0
        assert Capture.objects.get(id=capture.id).settled_minor == 0


class TestRunsByHand:
    def test_the_command_reconciles_one_workspace_and_says_what_it_found(self, desk: Desk):
        other = open_desk("Other")
        for each in (desk, other):
            each.ingest(file_of(line_of(each.captured())))
        out = StringIO()

        call_command("reconcile", workspace=public_id("wsp", desk.workspace_id), stdout=out)

        assert "matched 1" in out.getvalue()
        assert desk.batch().state == "matched"
        assert other.batch().state == "received"

    def test_the_command_refuses_what_is_no_workspace(self, desk: Desk):
        with pytest.raises(CommandError):
            call_command("reconcile", workspace="wsp_x")

    def test_a_finished_run_does_nothing_more(self, desk: Desk):
        run = runs.open_console_run(workspace_id=desk.workspace_id, actor=runs.RUNTIME)
        run_reconciliation(workspace_id=str(desk.workspace_id), run_id=str(run.id))
        run.refresh_from_db()
        desk.captured(age=OLD)

        run_reconciliation(workspace_id=str(desk.workspace_id), run_id=str(run.id))

        assert not DriftCase.objects.exists()
