"""The journals of ledger B6, entry by entry: what a line, a case and its end put on which account."""

from __future__ import annotations

import pytest

from payments.models import Capture, Payment
from settlement.models import DriftCase, LineMatch
from settlement.services import drift, reconcile
from settlement.types import Resolution
from tests.factories.tenancy import OPERATOR
from tests.settlement.desk import Desk
from tests.settlement.files import file_of, line_of, unknown_line
from zentra.core.transitions import IllegalTransition


class TestMatchedSale:
    def test_clears_the_receivable_and_releases_the_merchants_money(self, desk: Desk):
        capture = desk.captured(125_000)

        batch = desk.settle(line_of(capture, fee_minor=1_775))

        assert batch.state == "matched"
        assert desk.journal(kind="settlement_sale_matched") == {
            "1110": 123_225,
            "5010": 1_775,
            "1100": -125_000,
            "9030": 125_000,
            "9010": -125_000,
            "2010": 125_000,
            "2020": -125_000,
        }
        assert desk.balances() == {"1110": 123_225, "2020": -125_000, "5010": 1_775}
        assert desk.on("1110", batch.id) == batch.net_minor
        desk.assert_books_hold()

    def test_marks_the_capture_and_its_payment_settled(self, desk: Desk):
        capture = desk.captured(125_000)

        desk.settle(line_of(capture))

        capture.refresh_from_db()
        payment = Payment.objects.get(id=capture.payment_id)
        assert (capture.settled_minor, capture.pending_minor) == (125_000, 0)
        assert payment.settled_minor == 125_000
        assert payment.settled_at is not None

    def test_repays_first_what_the_merchant_owes(self, desk: Desk):
        old, new = desk.captured(10_000), desk.captured(4_000)
        desk.settle(line_of(old), batch="bat_0")
        # The merchant's money was paid out elsewhere in the meantime; the refund becomes a debt.
        desk.refunded(old, 3_000, available_minor=0)

        desk.settle(line_of(new))

        assert desk.journal(kind="settlement_sale_matched", payment_id=new.payment_id)["1200"] == -3_000
        assert desk.journal(kind="settlement_sale_matched", payment_id=new.payment_id)["2020"] == -1_000
        assert "1200" not in desk.balances()

    def test_releases_no_more_than_is_pending_after_a_refund(self, desk: Desk):
        capture = desk.captured(10_000)
        refund = desk.refunded(capture, 2_500)

        desk.settle(line_of(capture), line_of(refund))

        assert desk.balances() == {"1110": 7_500, "2020": -7_500}
        desk.assert_books_hold()


class TestMatchedRefund:
    def test_clears_refunds_in_transit_and_books_the_fee(self, desk: Desk):
        capture = desk.captured(10_000)
        refund = desk.refunded(capture, 2_500)

        desk.settle(line_of(refund, fee_minor=30))

        assert desk.journal(kind="settlement_refund_matched") == {"1110": -2_530, "5010": 30, "2050": 2_500}
        desk.assert_books_hold()


class TestAmountThatDiffers:
    def test_short_line_clears_all_that_was_captured_and_holds_the_rest_in_suspense(self, desk: Desk):
        capture = desk.captured(10_000)

        batch = desk.settle(line_of(capture, fee_minor=100, gross_minor=9_900))

        case = desk.case()
        assert batch.state == "partially_matched"
        assert desk.journal(kind="settlement_sale_amount_differs") == {
            "1110": 9_800,
            "5010": 100,
            "1100": -10_000,
            "9030": 10_000,
            "9010": -10_000,
            "2010": 9_900,
            "2020": -9_900,
            "2900": 100,
        }
        assert (case.drift_class, case.expected_minor, case.actual_minor) == ("amount_differs", 10_000, 9_900)
        assert case.suspense_minor == desk.on("2900", case.id) == 100
        assert desk.balances()["2010"] == -100
        desk.assert_books_hold()

    def test_over_paid_line_holds_the_excess_as_a_credit(self, desk: Desk):
        capture = desk.captured(10_000)

        desk.settle(line_of(capture, gross_minor=10_400))

        assert desk.case().suspense_minor == -400
        assert desk.balances() == {"1110": 10_400, "2020": -10_000, "2900": -400}

    def test_refund_line_of_a_wrong_amount(self, desk: Desk):
        capture = desk.captured(10_000)
        refund = desk.refunded(capture, 2_500)

        desk.settle(line_of(refund, gross_minor=-2_700))

        assert desk.journal(kind="settlement_refund_amount_differs") == {"1110": -2_700, "2050": 2_500, "2900": 200}
        assert desk.case().suspense_minor == 200
        desk.assert_books_hold()

    @pytest.mark.parametrize(
        ("resolution", "closing", "after"),
        [
            (Resolution.WRITTEN_OFF, {"5090": 100, "2900": -100, "2010": 100, "2020": -100}, {"5090": 100}),
            (Resolution.PROVIDER_FEE, {"5010": 100, "2900": -100, "2010": 100, "2020": -100}, {"5010": 100}),
            (Resolution.MERCHANT_BEARS, {"2010": 100, "2900": -100}, {}),
            (
                Resolution.PROVIDER_CORRECTS_PAYOUT,
                {"1110": 100, "2900": -100, "2010": 100, "2020": -100},
                {},
            ),
        ],
    )
    def test_each_way_to_close_a_short_line(
        self, desk: Desk, resolution: Resolution, closing: dict[str, int], after: dict[str, int]
    ):
        capture = desk.captured(10_000)
        desk.settle(line_of(capture, gross_minor=9_900))

        case = desk.close(desk.case(), resolution)

        borne = resolution is Resolution.MERCHANT_BEARS
        corrected = resolution is Resolution.PROVIDER_CORRECTS_PAYOUT
        assert desk.journal(id=case.closing_journal_id) == closing
        assert desk.balances() == {
            "1110": 10_000 if corrected else 9_900,
            "2020": -9_900 if borne else -10_000,
            **after,
        }
        assert desk.batch().state == "matched"
        capture.refresh_from_db()
        assert capture.pending_minor == 0
        assert capture.settled_at is not None
        desk.assert_books_hold()

    def test_a_merchant_whose_pending_went_to_a_refund_bears_from_available_money_and_then_as_a_debt(self, desk: Desk):
        capture = desk.captured(10_000)
        desk.refunded(capture, 9_800)
        desk.settle(line_of(capture, gross_minor=9_500))
        assert desk.balances()["2020"] == -200

        case = desk.close(desk.case(), Resolution.MERCHANT_BEARS)

        assert desk.journal(id=case.closing_journal_id) == {"2020": 200, "1200": 300, "2900": -500}
        desk.assert_books_hold()

    def test_an_excess_is_gained(self, desk: Desk):
        desk.settle(line_of(desk.captured(10_000), gross_minor=10_400))

        case = desk.close(desk.case(), Resolution.GAINED)

        assert desk.journal(id=case.closing_journal_id) == {"2900": 400, "4090": -400}
        assert desk.balances() == {"1110": 10_400, "2020": -10_000, "4090": -400}

    def test_the_payment_is_settled_once_its_case_is_closed_and_not_before(self, desk: Desk):
        capture = desk.captured(10_000)
        desk.settle(line_of(capture, gross_minor=9_900))
        assert Payment.objects.get(id=capture.payment_id).settled_at is None

        desk.close(desk.case(), Resolution.WRITTEN_OFF)

        assert Payment.objects.get(id=capture.payment_id).settled_at is not None


class TestLinesWithoutAnItem:
    def test_unknown_sale_is_suspense_and_leaves_the_receivable_alone(self, desk: Desk):
        desk.settle(unknown_line(5_000, fee_minor=95))

        case = desk.case()
        assert desk.journal(kind="settlement_sale_unknown_reference") == {"1110": 4_905, "5010": 95, "2900": -5_000}
        assert (case.drift_class, case.payment_id, case.suspense_minor) == ("unknown_reference", None, -5_000)
        desk.assert_books_hold()

    def test_second_line_of_a_capture_is_a_duplicate_that_releases_nothing(self, desk: Desk):
        capture = desk.captured(10_000)

        desk.settle(line_of(capture, fee_minor=165), line_of(capture, fee_minor=165))

        case = desk.case()
        assert (case.drift_class, case.payment_id) == ("duplicate", capture.payment_id)
        assert desk.balances() == {"1110": 19_670, "2020": -10_000, "2900": -10_000, "5010": 330}
        desk.assert_books_hold()

    def test_a_duplicate_that_the_provider_takes_back_leaves_the_payout_right(self, desk: Desk):
        capture = desk.captured(10_000)
        desk.settle(line_of(capture), line_of(capture))

        case = desk.close(desk.case(), Resolution.PROVIDER_CORRECTS_PAYOUT)

        assert desk.journal(id=case.closing_journal_id) == {"2900": 10_000, "1110": -10_000}
        assert desk.balances() == {"1110": 10_000, "2020": -10_000}

    def test_a_line_in_another_currency_leaves_the_capture_open_and_makes_one_case_for_the_batch(self, desk: Desk):
        first, second = desk.captured(10_000), desk.captured(2_000)

        batch = desk.settle(
            line_of(first, currency="USD", gross_minor=11_000), line_of(second, currency="USD", gross_minor=2_200)
        )

        case = desk.case()
        assert (case.drift_class, case.currency, case.line_id, case.batch_id) == (
            "currency_differs",
            "USD",
            None,
            batch.id,
        )
        assert case.suspense_minor == -13_200
        assert Capture.objects.filter(id__in=[first.id, second.id], settled_minor=0).count() == 2
        desk.assert_books_hold()


class TestLateLines:
    def test_an_unknown_sale_is_matched_by_an_operator_once_its_capture_is_confirmed(self, desk: Desk):
        capture = desk.captured(10_000)
        Capture.objects.filter(id=capture.id).update(state="processing")
        desk.settle(line_of(capture, fee_minor=165))
        assert desk.case().drift_class == "unknown_reference"
        Capture.objects.filter(id=capture.id).update(state="succeeded")

        case = desk.close(desk.case(), Resolution.LATE_SALE_LINE)

        assert desk.journal(id=case.closing_journal_id) == {
            "2900": 10_000,
            "1100": -10_000,
            "9030": 10_000,
            "9010": -10_000,
            "2010": 10_000,
            "2020": -10_000,
        }
        match = LineMatch.objects.get(case=case)
        assert (match.claims, match.item_id, match.rule) == (True, capture.id, "operator")
        assert case.payment_id == capture.payment_id
        assert desk.balances() == {"1110": 9_835, "2020": -10_000, "5010": 165}
        desk.assert_books_hold()

    def test_is_refused_while_nothing_matches_and_the_case_stays_as_it_is(self, desk: Desk):
        desk.settle(unknown_line(10_000))

        with pytest.raises(drift.NoOpenItemForLine):
            desk.close(desk.case(), Resolution.LATE_SALE_LINE)

        assert desk.case().state == "assigned"
        assert desk.case().suspense_minor == -10_000
        desk.assert_books_hold()

    def test_a_late_refund_line_clears_refunds_in_transit(self, desk: Desk):
        capture = desk.captured(10_000)
        refund = desk.refunded(capture, 2_500)
        type(refund).objects.filter(id=refund.id).update(state="processing")
        desk.settle(line_of(refund))
        type(refund).objects.filter(id=refund.id).update(state="succeeded")

        case = desk.close(desk.case(), Resolution.LATE_REFUND_LINE)

        assert desk.journal(id=case.closing_journal_id) == {"2050": 2_500, "2900": -2_500}
        desk.assert_books_hold()


class TestControlTotals:
    def test_a_wrong_declared_total_books_nothing_and_opens_a_case_without_money(self, desk: Desk):
        capture = desk.captured(10_000)

        batch = desk.settle(line_of(capture), declared_delta_minor=-500)

        case = desk.case()
        assert batch.state == "control_failed"
        assert (case.drift_class, case.expected_minor, case.actual_minor) == ("control_total", 10_000, 9_500)
        assert case.suspense_minor == 0
        assert not LineMatch.objects.exists()
        assert "1110" not in desk.balances()

    def test_reconciling_it_again_changes_nothing(self, desk: Desk):
        desk.settle(line_of(desk.captured(10_000)), declared_delta_minor=-500)
        before = desk.balances()

        desk.reconcile()

        assert desk.balances() == before
        assert DriftCase.objects.count() == 1

    def test_an_accepted_batch_is_matched_and_the_difference_goes_to_suspense(self, desk: Desk):
        capture = desk.captured(10_000)
        batch = desk.settle(line_of(capture), declared_delta_minor=-500)

        reconcile.accept_batch(
            workspace_id=desk.workspace_id, batch_id=batch.id, note="provider confirmed 9500", actor=OPERATOR
        )
        batch = desk.reconcile()

        case = desk.case()
        assert desk.journal(kind="settlement_control_accepted") == {"1110": -500, "2900": 500}
        assert desk.on("1110", batch.id) == batch.declared_net_minor == 9_500
        assert case.suspense_minor == desk.on("2900", case.id) == 500
        assert batch.state == "partially_matched"
        desk.assert_books_hold()

        desk.close(case, Resolution.WRITTEN_OFF)
        assert desk.balances() == {"1110": 9_500, "2020": -10_000, "5090": 500}
        assert desk.batch().state == "matched"

    def test_a_truncated_file_declares_nothing_and_is_stopped(self, desk: Desk):
        batch = desk.settle(line_of(desk.captured(10_000)), declared=False)

        assert batch.state == "control_failed"
        assert desk.case().actual_minor is None

    def test_the_whole_file_after_a_truncated_one_closes_the_case_by_itself(self, desk: Desk):
        first, second = desk.captured(10_000), desk.captured(2_000)
        whole = file_of(line_of(first), line_of(second))
        desk.ingest(whole.rsplit(b"\n", 3)[0] + b"\n", name="cut.csv")
        desk.reconcile()

        desk.ingest(whole)
        batch = desk.reconcile()

        assert batch.state == "matched"
        assert (desk.case().state, desk.case().resolution) == ("closed", "totals_agree")
        assert desk.balances() == {"1110": 12_000, "2020": -12_000}

    def test_an_accepted_difference_that_later_lines_explain_empties_its_case(self, desk: Desk):
        first, second = desk.captured(10_000), desk.captured(2_000)
        whole = file_of(line_of(first), line_of(second))
        rows = whole.splitlines(keepends=True)
        desk.ingest(rows[0] + rows[1] + rows[3], name="one line lost.csv")
        batch = desk.reconcile()
        reconcile.accept_batch(workspace_id=desk.workspace_id, batch_id=batch.id, note="go on", actor=OPERATOR)
        desk.reconcile()
        assert desk.case().suspense_minor == -2_000

        desk.ingest(whole)
        batch = desk.reconcile()

        assert (batch.state, desk.case().state, desk.case().suspense_minor) == ("matched", "closed", 0)
        assert desk.balances() == {"1110": 12_000, "2020": -12_000}
        desk.assert_books_hold()

    def test_its_case_cannot_be_closed_before_the_batch_is_accepted(self, desk: Desk):
        desk.settle(line_of(desk.captured(10_000)), declared_delta_minor=-500)

        with pytest.raises(drift.BatchNotAccepted):
            desk.close(desk.case(), Resolution.REVIEWED)

        assert desk.case().state == "assigned"

    def test_accepting_needs_a_note_and_a_batch_that_failed(self, desk: Desk):
        failed = desk.settle(line_of(desk.captured(10_000)), declared_delta_minor=-500)
        matched = desk.settle(line_of(desk.captured(10_000)), batch="bat_2")

        with pytest.raises(reconcile.NoteRequired):
            reconcile.accept_batch(workspace_id=desk.workspace_id, batch_id=failed.id, note=" ", actor=OPERATOR)
        with pytest.raises(IllegalTransition):
            reconcile.accept_batch(workspace_id=desk.workspace_id, batch_id=matched.id, note="why", actor=OPERATOR)

        failed.refresh_from_db()
        assert failed.state == "control_failed"
