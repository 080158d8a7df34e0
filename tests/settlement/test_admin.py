from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from settlement.models import DriftCase, SettlementBatch, SettlementFile, SettlementLine
from tests.settlement.desk import Desk, make_user, open_desk
from tests.settlement.files import file_of, line_of, unknown_line
from zentra.tenancy.models import Member, MemberRole, User


def person(desk: Desk, username: str, role: MemberRole) -> User:
    user = make_user(username)
    Member.objects.get_or_create(workspace=desk.tenant.workspace, user=user, defaults={"role": role})
    return user


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator(desk: Desk) -> Client:
    return browser(person(desk, "ada", MemberRole.FINANCE))


def page(name: str, pk: Any) -> str:
    return reverse(f"admin:settlement_{name}_change", args=[pk])


def act(name: str, action: str, pk: Any) -> str:
    return reverse(f"admin:settlement_{name}_{action}", args=[pk])


class TestTheLane:
    def test_lists_open_cases_and_leaves_closed_ones_to_the_filter(self, desk: Desk, operator: Client):
        desk.settle(line_of(desk.captured(), gross_minor=9_900), unknown_line(500))
        closed = desk.case(drift_class="unknown_reference")
        desk.close(closed, "gained")

        lane = operator.get(reverse("admin:settlement_driftcase_changelist")).content.decode()
        everything = operator.get(reverse("admin:settlement_driftcase_changelist") + "?state__exact=closed")

        assert desk.case(drift_class="amount_differs").public_id in lane
        assert closed.public_id not in lane
        assert closed.public_id in everything.content.decode()

    @pytest.mark.parametrize("query", ["due=overdue", "due=today", "due=later", "owned=me", "owned=nobody", "q=cas_x"])
    def test_can_be_filtered(self, desk: Desk, operator: Client, query: str):
        desk.settle(unknown_line(500))

        assert operator.get(f"{reverse('admin:settlement_driftcase_changelist')}?{query}").status_code == 200

    def test_takes_several_cases_at_once(self, desk: Desk, operator: Client):
        desk.settle(unknown_line(500), unknown_line(700))
        ids = [str(case.id) for case in DriftCase.objects.all()]

        operator.post(reverse("admin:settlement_driftcase_changelist"), {"action": "take", "_selected_action": ids})

        assert {case.owner.username for case in DriftCase.objects.all()} == {"ada"}


class TestTheCasePage:
    def test_shows_batch_captured_amount_ledger_owner_and_closeout(self, desk: Desk, operator: Client):
        capture = desk.captured(10_000)
        batch = desk.settle(line_of(capture, gross_minor=9_900))
        case = desk.case()

        shown = operator.get(page("driftcase", case.id)).content.decode()

        for text in (batch.provider_batch_id, "100.00", "99.00", "1.00", "nobody", "Assign to me", "2900", "1110"):
            assert text in shown
        assert page("settlementbatch", batch.id) in shown
        assert reverse("admin:payments_payment_change", args=[capture.payment_id]) in shown
        assert reverse("admin:ledger_journal_change", args=[case.journal_id]) in shown

    def test_leads_from_taking_through_the_preview_to_the_closeout(self, desk: Desk, operator: Client):
        desk.settle(line_of(desk.captured(10_000), gross_minor=9_900))
        case = desk.case()

        operator.post(act("driftcase", "take", case.id))
        assert desk.case().owner == make_user("ada")
        decision = {"resolution": "written_off", "note": "rounding at the provider"}
        preview = operator.post(act("driftcase", "close", case.id), decision).content.decode()
        assert "Differences written off" in preview
        assert desk.case().state == "assigned"
        closed = operator.post(act("driftcase", "close", case.id), {**decision, "confirmed": "1"}, follow=True)

        case = desk.case()
        assert (case.state, case.resolution, case.note) == ("closed", "written_off", "rounding at the provider")
        assert "written off" in closed.content.decode()
        assert desk.balances()["5090"] == 100
        assert case.history.latest().history_user == make_user("ada")

    def test_without_a_note_asks_again_and_books_nothing(self, desk: Desk, operator: Client):
        desk.settle(unknown_line(500))
        case = desk.case()
        operator.post(act("driftcase", "take", case.id))

        answer = operator.post(act("driftcase", "close", case.id), {"resolution": "gained", "note": "", "confirmed": 1})

        assert "required" in answer.content.decode()
        assert desk.case().state == "assigned"

    def test_refuses_a_resolution_that_is_not_on_its_list(self, desk: Desk, operator: Client):
        desk.settle(unknown_line(500))
        case = desk.case()
        operator.post(act("driftcase", "take", case.id))

        operator.post(
            act("driftcase", "close", case.id), {"resolution": "written_off", "note": "why not", "confirmed": 1}
        )

        assert desk.case().state == "assigned"

    def test_says_whose_case_it_is_when_somebody_was_faster(self, desk: Desk, operator: Client):
        desk.settle(unknown_line(500))
        case = desk.case()
        browser(person(desk, "grace", MemberRole.OPERATOR)).post(act("driftcase", "take", case.id))

        answer = operator.post(act("driftcase", "take", case.id), follow=True)

        assert "Somebody else owns the case" in answer.content.decode()
        assert desk.case().owner == make_user("grace")

    def test_gives_a_case_back(self, desk: Desk, operator: Client):
        desk.settle(unknown_line(500))
        case = desk.case()
        operator.post(act("driftcase", "take", case.id))

        operator.post(act("driftcase", "release", case.id))

        assert (desk.case().state, desk.case().owner) == ("open", None)

    def test_a_look_at_an_action_changes_nothing(self, desk: Desk, operator: Client):
        desk.settle(unknown_line(500))
        case = desk.case()

        for action in ("take", "release", "close"):
            operator.get(act("driftcase", action, case.id))

        assert desk.case().state == "open"


class TestBatches:
    def test_a_failed_control_is_shown_and_accepted_with_a_note(self, desk: Desk, operator: Client):
        batch = desk.settle(line_of(desk.captured(10_000)), declared_delta_minor=-500)
        shown = operator.get(page("settlementbatch", batch.id)).content.decode()
        assert "differs" in shown
        assert "Accept the batch" in shown

        operator.post(act("settlementbatch", "accept", batch.id), {"note": ""})
        assert SettlementBatch.objects.get(id=batch.id).state == "control_failed"
        operator.post(act("settlementbatch", "accept", batch.id), {"note": "confirmed by phone"})

        assert SettlementBatch.objects.get(id=batch.id).state == "matching"
        assert desk.case().suspense_minor == 500

    def test_the_case_of_a_batch_that_is_not_accepted_says_what_to_do(self, desk: Desk, operator: Client):
        desk.settle(line_of(desk.captured(10_000)), declared_delta_minor=-500)

        assert "Accept the batch, or import" in operator.get(page("driftcase", desk.case().id)).content.decode()


class TestFiles:
    def test_are_imported_and_shown_with_their_errors(self, desk: Desk, operator: Client):
        content = file_of(line_of(desk.captured())) + b"line,oops\n"
        upload = SimpleUploadedFile("march.csv", content, "text/csv")

        answer = operator.post(
            reverse("admin:settlement_settlementfile_upload"),
            {"provider_account": str(desk.account.id), "file": upload},
            follow=True,
        )

        assert SettlementFile.objects.get().received_from == "operator:ada"
        assert "2 columns where the header has 12" in answer.content.decode()

    def test_cannot_be_brought_for_an_account_out_of_reach(self, desk: Desk, operator: Client):
        stranger = open_desk("Other")

        answer = operator.post(
            reverse("admin:settlement_settlementfile_upload"),
            {"provider_account": str(stranger.account.id), "file": SimpleUploadedFile("x.csv", b"x")},
        )

        assert answer.status_code == 200
        assert not SettlementFile.objects.exists()


class TestWhoMay:
    def test_an_auditor_reads_and_decides_nothing(self, desk: Desk):
        desk.settle(unknown_line(500))
        case = desk.case()
        auditor = browser(person(desk, "eve", MemberRole.AUDITOR))

        assert auditor.get(page("driftcase", case.id)).status_code == 200
        assert auditor.post(act("driftcase", "take", case.id)).status_code == 403
        assert auditor.post(act("settlementbatch", "accept", desk.batch().id), {"note": "yes"}).status_code == 403
        assert auditor.get(reverse("admin:settlement_settlementfile_upload")).status_code == 403
        assert desk.case().state == "open"

    def test_somebody_of_another_workspace_sees_and_does_nothing(self, desk: Desk):
        batch = desk.settle(unknown_line(500))
        case = desk.case()
        stranger = browser(person(open_desk("Other"), "mallory", MemberRole.ADMIN))

        lane = stranger.get(reverse("admin:settlement_driftcase_changelist")).content.decode()
        assert case.public_id not in lane
        for name, row in (("driftcase", case), ("settlementbatch", batch), ("settlementfile", batch.file)):
            answer = stranger.get(page(name, row.pk))
            assert answer.status_code == 302
        assert stranger.post(act("driftcase", "take", case.id)).status_code == 403
        assert stranger.post(act("settlementbatch", "accept", batch.id), {"note": "yes"}).status_code == 403
        assert desk.case().state == "open"

    @pytest.mark.parametrize(
        "name", ["driftcase", "settlementbatch", "settlementfile", "settlementline", "reconciliationrun"]
    )
    def test_nobody_adds_edits_or_deletes_rows(self, desk: Desk, name: str):
        desk.settle(unknown_line(500))
        root = browser(make_user("root", is_superuser=True))
        rows = {
            "driftcase": DriftCase,
            "settlementbatch": SettlementBatch,
            "settlementfile": SettlementFile,
            "settlementline": SettlementLine,
        }

        assert root.get(reverse(f"admin:settlement_{name}_changelist")).status_code == 200
        assert root.get(reverse(f"admin:settlement_{name}_add")).status_code == 403
        if name in rows:
            row = rows[name].objects.get()
            assert root.get(page(name, row.pk)).status_code == 200
            assert root.post(page(name, row.pk), {"state": "closed"}).status_code == 403
            assert (
                root.post(reverse(f"admin:settlement_{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
            )
