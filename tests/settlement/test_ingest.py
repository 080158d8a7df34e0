from __future__ import annotations

import hashlib

import pytest
from django.db import IntegrityError, InternalError, connection, transaction

from payments.models import Payment
from routing.selectors import account_by_id
from settlement.models import SettlementBatch, SettlementFile, SettlementLine
from settlement.services import ingest
from tests.factories.routing import make_account
from tests.factories.tenancy import OPERATOR
from tests.ledger.booking import settle_constraints
from tests.settlement.desk import Desk, open_desk
from tests.settlement.files import file_of, line_of, unknown_line
from webhooks.models import Event
from zentra.core.errors import NotFound
from zentra.evidence.models import EvidenceRecord
from zentra.evidence.types import RequestContext


def as_server_administrator(statement: str) -> None:
    """Run a statement as the login behind the app role, which no privilege stops."""
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE NONE")
        cursor.execute(statement)


class TestImport:
    def test_keeps_the_bytes_and_their_hash(self, desk: Desk):
        content = file_of(line_of(desk.captured()))

        file = desk.ingest(content)

        stored = SettlementFile.objects.get(id=file.id)
        assert bytes(stored.content or b"") == content
        assert stored.sha256 == hashlib.sha256(content).hexdigest()
        assert (stored.status, stored.line_count, stored.new_line_count) == ("read", 1, 1)

    def test_keeps_declared_and_computed_totals_apart(self, desk: Desk):
        desk.ingest(file_of(line_of(desk.captured(), fee_minor=165), declared_delta_minor=-500))

        batch = desk.batch()
        assert (batch.declared_gross_minor, batch.declared_fee_minor, batch.declared_net_minor) == (9_500, 165, 9_335)
        assert (batch.gross_minor, batch.fee_minor, batch.net_minor) == (10_000, 165, 9_835)
        assert not batch.totals_agree

    def test_books_nothing_by_itself(self, desk: Desk):
        capture = desk.captured()
        before = desk.balances()

        desk.ingest(file_of(line_of(capture)))

        assert desk.balances() == before

    def test_records_evidence_and_announces_the_batch(self, desk: Desk):
        desk.ingest(file_of(line_of(desk.captured())))

        actions = set(EvidenceRecord.objects.values_list("content__action", flat=True))
        assert {"settlement_file.received", "settlement_batch.received"} <= actions
        assert Event.objects.filter(type="settlement.batch.received").count() == 1

    def test_a_bad_row_is_an_error_of_the_file_and_stops_its_batch(self, desk: Desk):
        content = file_of(line_of(desk.captured()), line_of(desk.captured()))
        broken = content.replace(b",10000,0,10000,", b",10000.0,0,10000,", 1)

        file = desk.ingest(broken)
        batch = desk.reconcile()

        assert (file.status, file.error_count) == ("read_with_errors", 1)
        assert file.errors == [{"row": 2, "reason": "gross_minor is not an integer of minor units"}]
        assert batch.state == "control_failed"

    @pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"a,b,c\n1,2,3\n"])
    def test_an_unreadable_file_is_kept_with_its_reason(self, desk: Desk, content: bytes):
        file = desk.ingest(content)

        assert (file.status, file.error_count) == ("unreadable", 1)
        assert SettlementFile.objects.filter(id=file.id).exists()
        assert not SettlementBatch.objects.exists()


class TestImportAgain:
    def test_of_the_same_bytes_answers_with_the_first_file_and_adds_nothing(self, desk: Desk):
        content = file_of(line_of(desk.captured()))
        first = desk.ingest(content)
        desk.reconcile()
        books, events = desk.balances(), Event.objects.count()

        again = desk.ingest(content, name="renamed.csv")
        desk.reconcile()

        assert (again.id, again.replayed, again.name) == (first.id, True, "settlement.csv")
        assert SettlementLine.objects.count() == 1
        assert (desk.balances(), Event.objects.count()) == (books, events)

    def test_of_an_overlapping_file_adds_only_what_is_new(self, desk: Desk):
        first, second = desk.captured(), desk.captured(2_000)
        desk.settle(line_of(first))

        file = desk.ingest(file_of(line_of(first), line_of(second)))
        batch = desk.reconcile()

        assert (file.line_count, file.new_line_count) == (2, 1)
        assert (batch.state, batch.line_count, batch.matched_count) == ("matched", 2, 2)
        desk.assert_books_hold()

    def test_keeps_lines_that_are_truly_there_twice(self, desk: Desk):
        line = line_of(desk.captured(), line_id="same")
        desk.ingest(file_of(line, line))

        desk.ingest(file_of(line, line, unknown_line(1)))

        assert SettlementLine.objects.filter(provider_line_id="same").count() == 2

    def test_a_line_whose_content_was_corrected_is_not_swallowed(self, desk: Desk):
        line = line_of(desk.captured(), line_id="L1")
        desk.ingest(file_of(line))

        desk.ingest(file_of(line.but(gross_minor=9_000)))

        assert set(SettlementLine.objects.values_list("gross_minor", flat=True)) == {10_000, 9_000}

    def test_for_another_account_is_refused(self, desk: Desk):
        content = file_of(line_of(desk.captured()))
        desk.ingest(content)
        other = make_account(desk.workspace_id, "beta")

        with pytest.raises(ingest.FileOfAnotherAccount):
            ingest.ingest_file(
                workspace_id=desk.workspace_id,
                provider_account_id=other.id,
                name="x.csv",
                content=content,
                actor=OPERATOR,
                context=RequestContext(),
            )

        assert SettlementFile.objects.count() == 1

    def test_in_another_currency_than_the_batch_has_is_an_error_of_the_file(self, desk: Desk):
        desk.ingest(file_of(unknown_line(100)))

        file = desk.ingest(file_of(unknown_line(100, currency="USD")))

        assert (file.status, file.new_line_count) == ("read_with_errors", 0)
        assert desk.batch().currency == "EUR"


class TestRefusals:
    def test_an_account_of_another_workspace_does_not_exist(self, desk: Desk):
        stranger = open_desk("Other")

        with pytest.raises(NotFound):
            ingest.ingest_file(
                workspace_id=desk.workspace_id,
                provider_account_id=stranger.account.id,
                name="x.csv",
                content=b"",
                actor=OPERATOR,
                context=RequestContext(),
            )

        assert account_by_id(stranger.workspace_id, stranger.account.id)
        assert not SettlementFile.objects.exists()

    @pytest.mark.parametrize("name", ["", "x" * 201, "a\nb"])
    def test_a_file_needs_a_printable_name(self, desk: Desk, name: str):
        with pytest.raises(ingest.FileNameInvalid):
            desk.ingest(file_of(unknown_line(1)), name=name)

        assert not SettlementFile.objects.exists()

    def test_a_file_over_the_limit_is_refused(self, desk: Desk, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(ingest, "MAX_FILE_BYTES", 10)

        with pytest.raises(ingest.FileTooLarge):
            desk.ingest(file_of(unknown_line(1)))

        assert not SettlementFile.objects.exists()


class TestDatabaseGuards:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE settlement_settlementline SET gross_minor = 1, fee_minor = 0, net_minor = 1",
            "DELETE FROM settlement_settlementline",
            "TRUNCATE settlement_settlementline CASCADE",
            "DELETE FROM settlement_linematch",
            "UPDATE settlement_settlementfile SET content = 'other'::bytea",
            "UPDATE settlement_settlementfile SET sha256 = 'other'",
            "DELETE FROM settlement_settlementfile",
        ],
    )
    def test_refuse_to_change_what_the_provider_wrote_even_for_the_owner(self, desk: Desk, statement: str):
        desk.settle(line_of(desk.captured()))
        settle_constraints()

        with pytest.raises((IntegrityError, InternalError)), transaction.atomic():
            as_server_administrator(statement)

    def test_let_retention_purge_the_bytes_of_a_file(self, desk: Desk):
        desk.settle(line_of(desk.captured()))

        assert SettlementFile.objects.update(content=None) == 1

    def test_refuse_a_second_claim_on_an_item_and_a_second_match_of_a_line(self, desk: Desk):
        capture = desk.captured()
        desk.settle(line_of(capture), unknown_line(5))
        taken, free = desk.matches()

        for changes in ({"item_id": capture.id, "claims": True}, {"line_id": taken.line_id}):
            with pytest.raises(IntegrityError), transaction.atomic():
                type(free).objects.filter(id=free.id).update(**changes)

    def test_refuse_a_closed_case_that_still_holds_money_or_has_no_owner(self, desk: Desk):
        desk.settle(unknown_line(5))
        case = desk.case()

        for changes in (
            {"state": "closed", "resolution": "gained", "note": "x", "closed_at": case.opened_at, "suspense_minor": 0},
            {"state": "closed", "resolution": "line_arrived", "closed_at": case.opened_at},
        ):
            with pytest.raises(IntegrityError), transaction.atomic():
                type(case).objects.filter(id=case.id).update(**changes)


def test_payments_are_untouched_by_an_import(desk: Desk):
    capture = desk.captured()
    desk.ingest(file_of(line_of(capture)))
    assert Payment.objects.get(id=capture.payment_id).settled_minor == 0
