"""Random batches, refunds and closings; after every step the books say what the cases and batches say."""

from __future__ import annotations

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payments.models import Capture, Payment, Refund
from settlement.models import DriftCase, SettlementBatch
from settlement.services import drift, reconcile
from settlement.types import Resolution
from tests.factories.tenancy import OPERATOR
from tests.settlement.desk import Desk
from tests.settlement.files import Line, line_of, unknown_line

FAULTS = st.sampled_from(["none", "none", "none", "short", "over", "duplicate", "unknown", "missing", "currency"])
PLANS = st.lists(
    st.tuples(
        st.integers(100, 5_000),  # captured
        st.sampled_from([0, 0, 40, 100]),  # percent of it refunded before the batch comes
        st.sampled_from([0, 0, 7]),  # fee
        FAULTS,
        st.integers(1, 60),  # by how much a wrong amount is wrong
    ),
    min_size=1,
    max_size=5,
)


def lines_for(desk: Desk, plan: list[tuple[int, int, int, str, int]]) -> list[Line]:
    lines: list[Line] = []
    for captured, refund_percent, fee, fault, delta in plan:
        capture = desk.captured(captured)
        if refund_percent:
            lines.append(line_of(desk.refunded(capture, captured * refund_percent // 100)))
        line = line_of(capture, fee_minor=fee)
        lines += {
            "none": [line],
            "short": [line.but(gross_minor=line.gross_minor - delta)],
            "over": [line.but(gross_minor=line.gross_minor + delta)],
            "duplicate": [line, line],
            "unknown": [line, unknown_line(delta)],
            "missing": [],
            "currency": [],
        }[fault]
    return lines


def assert_agreement(desk: Desk) -> None:
    """What must hold after every step, whatever happened before."""
    books = desk.balances()
    open_cases = DriftCase.objects.filter(workspace_id=desk.workspace_id).exclude(state="closed")
    assert books.get("2900", 0) == sum(case.suspense_minor for case in open_cases)
    waiting = Capture.objects.filter(workspace_id=desk.workspace_id, settled_minor=0, settled_at__isnull=True)
    assert books.get("1100", 0) == sum(capture.amount_minor for capture in waiting)
    assert books.get("9030", 0) == -sum(capture.amount_minor for capture in waiting)
    pending = Capture.objects.filter(workspace_id=desk.workspace_id)
    assert books.get("2010", 0) == -sum(capture.pending_minor for capture in pending)
    on_the_way = Refund.objects.filter(workspace_id=desk.workspace_id, settled_minor=0)
    assert books.get("2050", 0) == -sum(refund.amount_minor for refund in on_the_way)
    on_balance = sum(amount for code, amount in books.items() if code < "9")
    assert on_balance == 0
    desk.assert_books_hold()


@pytest.mark.django_db
class TestRandomBatches:
    @given(plan=PLANS, declared_delta=st.sampled_from([0, 0, -30, 45]), choices=st.randoms(use_true_random=False))
    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    def test_leave_books_cases_and_batches_in_agreement(self, desk: Desk, plan, declared_delta, choices):
        sid = transaction.savepoint()
        try:
            self._play(desk, plan, declared_delta, choices)
        finally:
            transaction.savepoint_rollback(sid)

    def _play(self, desk: Desk, plan, declared_delta, choices) -> None:
        lines = lines_for(desk, plan)
        if not lines:
            return
        choices.shuffle(lines)
        batch = desk.settle(*lines, declared_delta_minor=declared_delta)
        assert_agreement(desk)
        if batch.state == "control_failed":
            reconcile.accept_batch(workspace_id=desk.workspace_id, batch_id=batch.id, note="go on", actor=OPERATOR)
            assert_agreement(desk)
            batch = desk.reconcile()
            assert_agreement(desk)
        assert desk.on("1110", batch.id) == batch.declared_net_minor
        taken_back = self._close_all(desk, choices)
        batch.refresh_from_db()
        assert batch.state == "matched"
        assert "2900" not in desk.balances()
        assert desk.on("1110", batch.id) == batch.declared_net_minor + taken_back
        settled = Payment.objects.filter(workspace_id=desk.workspace_id, settled_at__isnull=False)
        assert (
            settled.count()
            == SettlementBatch.objects.get(id=batch.id).lines.filter(match__claims=True, line_type="sale").count()
        )

    def _close_all(self, desk: Desk, choices) -> int:
        """Close every case in a way drawn by lot; returns what the provider corrects in its payout."""
        taken_back = 0
        for case in DriftCase.objects.filter(workspace_id=desk.workspace_id).order_by("id"):
            late = (Resolution.LATE_SALE_LINE, Resolution.LATE_REFUND_LINE)
            allowed = [item for item in drift.resolutions_of(case) if item not in late]
            resolution = choices.choice(allowed)
            if resolution is Resolution.PROVIDER_CORRECTS_PAYOUT:
                taken_back += case.suspense_minor
            desk.close(case, resolution)
            assert_agreement(desk)
        return taken_back
