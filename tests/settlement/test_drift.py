from __future__ import annotations

import pytest

from settlement.models import DriftCase
from settlement.selectors import CaseNotFound
from settlement.services import drift
from settlement.services.reconcile import NoteRequired
from settlement.types import Resolution
from tests.factories.tenancy import OPERATOR
from tests.settlement.desk import Desk, make_user, open_desk
from tests.settlement.files import line_of, unknown_line
from webhooks.models import Event
from zentra.core.registries import trace_sections
from zentra.core.transitions import IllegalTransition
from zentra.evidence.models import EvidenceRecord


@pytest.fixture
def case(desk: Desk) -> DriftCase:
    """A capture of 100.00 whose line says 99.00."""
    desk.settle(line_of(desk.captured(10_000), gross_minor=9_900))
    return desk.case()


def take(desk: Desk, case: DriftCase, username: str = "ada") -> DriftCase:
    return drift.assign_case(workspace_id=desk.workspace_id, case_id=case.id, owner=make_user(username), actor=OPERATOR)


def close(desk: Desk, case: DriftCase, resolution: Resolution = Resolution.WRITTEN_OFF, note: str = "checked"):
    return drift.close_case(
        workspace_id=desk.workspace_id, case_id=case.id, resolution=resolution, note=note, actor=OPERATOR
    )


class TestOwnership:
    def test_a_case_is_taken_by_one_person(self, desk: Desk, case: DriftCase):
        taken = take(desk, case)

        assert (taken.state, taken.owner) == ("assigned", make_user("ada"))

    def test_taking_it_twice_changes_nothing(self, desk: Desk, case: DriftCase):
        take(desk, case)
        before = EvidenceRecord.objects.count()

        take(desk, case)

        assert EvidenceRecord.objects.count() == before

    def test_somebody_elses_case_cannot_be_taken(self, desk: Desk, case: DriftCase):
        take(desk, case, "ada")

        with pytest.raises(drift.CaseHasOwner):
            take(desk, case, "grace")

        assert desk.case().owner == make_user("ada")

    def test_a_released_case_is_free_again(self, desk: Desk, case: DriftCase):
        take(desk, case, "ada")

        drift.release_case(workspace_id=desk.workspace_id, case_id=case.id, actor=OPERATOR)

        assert (desk.case().state, desk.case().owner) == ("open", None)
        assert take(desk, case, "grace").owner == make_user("grace")


class TestClosing:
    def test_needs_an_owner(self, desk: Desk, case: DriftCase):
        books = desk.balances()

        with pytest.raises(drift.CaseHasNoOwner):
            close(desk, case)

        assert (desk.case().state, desk.balances()) == ("open", books)

    @pytest.mark.parametrize("note", ["", "  ", "x", "x" * 2001])
    def test_needs_a_note(self, desk: Desk, case: DriftCase, note: str):
        take(desk, case)

        with pytest.raises(NoteRequired):
            close(desk, case, note=note)

        assert desk.case().state == "assigned"

    def test_takes_only_a_resolution_of_its_class(self, desk: Desk, case: DriftCase):
        take(desk, case)
        books = desk.balances()

        with pytest.raises(drift.ResolutionNotAllowed) as refusal:
            close(desk, case, Resolution.GAINED)

        assert "written_off" in refusal.value.details["allowed"]
        assert (desk.case().state, desk.balances()) == ("assigned", books)

    def test_twice_is_refused_and_books_once(self, desk: Desk, case: DriftCase):
        take(desk, case)
        close(desk, case)
        books = desk.balances()

        with pytest.raises(IllegalTransition):
            close(desk, case)

        assert desk.balances() == books

    def test_is_told_to_merchants_and_kept_as_evidence(self, desk: Desk, case: DriftCase):
        take(desk, case)
        closed = close(desk, case)

        types = list(Event.objects.filter(object_id=case.public_id).order_by("sequence").values_list("type", flat=True))
        assert types == ["reconciliation.exception.opened", "reconciliation.closeout.completed"]
        record = EvidenceRecord.objects.get(content__action="drift_case.closed")
        assert record.content["data"]["resolution"] == "written_off"
        assert record.content["actor"] == "operator:ada"
        assert len(record.content["ledger"]) == 1
        assert closed.history.count() == 3

    def test_of_the_last_case_matches_the_batch(self, desk: Desk):
        desk.settle(unknown_line(500), unknown_line(700))
        first, second = DriftCase.objects.order_by("id")

        desk.close(first, Resolution.GAINED)
        assert desk.batch().state == "partially_matched"
        desk.close(second, Resolution.GAINED)

        assert desk.batch().state == "matched"


class TestPreview:
    def test_shows_the_journal_and_writes_nothing(self, desk: Desk, case: DriftCase):
        books, records = desk.balances(), EvidenceRecord.objects.count()

        posting = drift.preview_closing(
            workspace_id=desk.workspace_id, case_id=case.id, resolution=Resolution.WRITTEN_OFF
        )

        assert posting is not None
        assert {leg.account.code: leg.amount_minor for leg in posting.legs} == {
            "5090": 100,
            "2900": -100,
            "2010": 100,
            "2020": -100,
        }
        assert (desk.balances(), EvidenceRecord.objects.count(), desk.case().state) == (books, records, "open")


class TestOtherWorkspaces:
    def test_see_and_touch_nothing(self, desk: Desk, case: DriftCase):
        stranger = open_desk("Other")

        for attempt in (
            lambda: take(stranger, case),
            lambda: close(stranger, case),
            lambda: drift.release_case(workspace_id=stranger.workspace_id, case_id=case.id, actor=OPERATOR),
            lambda: drift.preview_closing(
                workspace_id=stranger.workspace_id, case_id=case.id, resolution=Resolution.WRITTEN_OFF
            ),
        ):
            with pytest.raises(CaseNotFound):
                attempt()

        assert desk.case().state == "open"

    def test_do_not_share_references(self, desk: Desk):
        stranger = open_desk("Other")
        capture = desk.captured(10_000)

        stranger.settle(line_of(capture))

        assert stranger.case().drift_class == "unknown_reference"
        assert stranger.case().payment_id is None
        capture.refresh_from_db()
        assert capture.settled_minor == 0


class TestTrace:
    def test_of_a_payment_shows_its_lines_and_cases(self, desk: Desk, case: DriftCase):
        section = trace_sections(workspace_id=desk.workspace_id, payment_id=case.payment_id)["settlement"]

        [line] = section["lines"]
        [shown] = section["cases"]
        assert (line["verdict"], line["batch_id"], line["file"]) == (
            "amount_differs",
            desk.batch().public_id,
            "settlement.csv",
        )
        assert line["case_id"] == shown["id"] == case.public_id
        assert shown["expected_minor"] - shown["actual_minor"] == shown["suspense_minor"] == 100
