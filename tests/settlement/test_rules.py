"""Verdicts, severities, resolutions and both transition tables: every edge and every non-edge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from settlement import matching
from settlement.rules import resolutions_for, severity_of
from settlement.states import (
    BATCH_TRANSITIONS,
    CASE_TRANSITIONS,
    BatchState,
    BatchTrigger,
    CaseState,
    CaseTrigger,
    next_batch_state,
    next_case_state,
)
from settlement.types import Candidate, DriftClass, MatchRule, Resolution, Severity, Verdict
from zentra.core.ids import new_id
from zentra.core.transitions import IllegalTransition


@dataclass
class Line:
    line_type: str = "sale"
    provider_reference: str = "psp_1"
    own_reference: str = "ours_1"
    currency: str = "EUR"
    gross_minor: int = 10_000


def candidate(**changes: object) -> Candidate:
    fields = {
        "kind": "capture",
        "item_id": new_id(),
        "payment_id": new_id(),
        "own_reference": "ours_1",
        "provider_reference": "psp_1",
        "currency": "EUR",
        "amount_minor": 10_000,
        "succeeded_at": datetime(2026, 3, 1, tzinfo=UTC),
        "has_line": False,
    }
    return Candidate(**{**fields, **changes})  # type: ignore[arg-type]


class TestFindItems:
    def test_prefers_the_providers_reference(self):
        by_provider = candidate(own_reference="other")
        by_own = candidate(provider_reference="other")

        assert matching.find_items([Line()], [by_own, by_provider]) == [(by_provider, MatchRule.PROVIDER_REFERENCE)]

    def test_falls_back_to_our_reference(self):
        item = candidate(provider_reference="other")

        assert matching.find_items([Line()], [item]) == [(item, MatchRule.OWN_REFERENCE)]

    def test_finds_nothing_where_two_items_carry_the_reference(self):
        assert matching.find_items([Line(own_reference="")], [candidate(), candidate()]) == [None]

    def test_never_takes_a_refund_for_a_sale(self):
        assert matching.find_items([Line()], [candidate(kind="refund")]) == [None]

    def test_an_empty_reference_finds_nothing(self):
        line = Line(provider_reference="", own_reference="")

        assert matching.find_items([line], [candidate(provider_reference="", own_reference="")]) == [None]


class TestJudge:
    @pytest.mark.parametrize(
        ("line", "item", "has_line", "verdict"),
        [
            (Line(), candidate(), False, Verdict.MATCHED),
            (Line("refund", gross_minor=-10_000), candidate(kind="refund"), False, Verdict.MATCHED),
            (Line(gross_minor=9_999), candidate(), False, Verdict.AMOUNT_DIFFERS),
            (Line(currency="USD"), candidate(), False, Verdict.CURRENCY_DIFFERS),
            (Line(), candidate(), True, Verdict.DUPLICATE),
            (Line(gross_minor=9_999), candidate(), True, Verdict.DUPLICATE),
            (Line(), None, False, Verdict.UNKNOWN_REFERENCE),
        ],
    )
    def test_says_what_a_line_is(self, line: Line, item: Candidate | None, has_line: bool, verdict: Verdict):
        assert matching.judge(line, item, has_line=has_line) is verdict

    def test_only_a_line_in_the_items_currency_claims_it(self):
        assert [verdict for verdict in Verdict if matching.claims_item(verdict)] == [
            Verdict.MATCHED,
            Verdict.AMOUNT_DIFFERS,
        ]


class TestSeverity:
    @pytest.mark.parametrize(
        ("amount_minor", "currency", "hours", "severity", "due_hours"),
        [
            (99, "EUR", 0, Severity.LOW, 168),
            (100_000, "EUR", 0, Severity.MEDIUM, 120),
            (-1_000_000, "EUR", 0, Severity.HIGH, 72),
            (10_000_000, "EUR", 0, Severity.CRITICAL, 24),
            (1_000, "JPY", 0, Severity.MEDIUM, 120),
            (999_999, "KWD", 0, Severity.LOW, 168),
            (1, "EUR", 24, Severity.MEDIUM, 120),
            (1, "EUR", 72, Severity.HIGH, 72),
            (1, "EUR", 120, Severity.CRITICAL, 24),
        ],
    )
    def test_is_the_worse_of_amount_in_major_units_and_age(
        self, amount_minor: int, currency: str, hours: int, severity: Severity, due_hours: int
    ):
        assert severity_of(amount_minor, currency, timedelta(hours=hours)) == (severity, timedelta(hours=due_hours))


class TestResolutions:
    def test_missing_money_is_never_a_gain_and_too_much_never_a_loss(self):
        for drift_class, kind in product(DriftClass, ("capture", "refund", "")):
            if drift_class is DriftClass.MISSING_LINE:
                continue
            short = resolutions_for(drift_class, suspense_minor=1, item_kind=kind)
            over = resolutions_for(drift_class, suspense_minor=-1, item_kind=kind)
            assert Resolution.GAINED not in short
            assert not {Resolution.WRITTEN_OFF, Resolution.PROVIDER_FEE, Resolution.MERCHANT_BEARS} & set(over)

    def test_a_case_without_money_can_only_be_reviewed(self):
        assert resolutions_for(DriftClass.CONTROL_TOTAL, suspense_minor=0, item_kind="") == (Resolution.REVIEWED,)

    def test_a_merchant_bears_only_what_was_captured(self):
        assert Resolution.MERCHANT_BEARS not in resolutions_for(
            DriftClass.AMOUNT_DIFFERS, suspense_minor=1, item_kind="refund"
        )


class TestTransitionTables:
    @pytest.mark.parametrize(("state", "trigger"), list(product(BatchState, BatchTrigger)))
    def test_of_batches(self, state: BatchState, trigger: BatchTrigger):
        if (state, trigger) in BATCH_TRANSITIONS:
            assert next_batch_state(state, trigger) is BATCH_TRANSITIONS[state, trigger]
        else:
            with pytest.raises(IllegalTransition):
                next_batch_state(state, trigger)

    @pytest.mark.parametrize(("state", "trigger"), list(product(CaseState, CaseTrigger)))
    def test_of_cases(self, state: CaseState, trigger: CaseTrigger):
        if (state, trigger) in CASE_TRANSITIONS:
            assert next_case_state(state, trigger) is CASE_TRANSITIONS[state, trigger]
        else:
            with pytest.raises(IllegalTransition):
                next_case_state(state, trigger)

    def test_a_closed_case_stays_closed(self):
        assert not [edge for edge in CASE_TRANSITIONS if edge[0] is CaseState.CLOSED]

    def test_a_batch_whose_control_failed_is_matched_only_after_a_person_accepted_it_or_a_new_file_came(self):
        ways = {trigger for (state, trigger) in BATCH_TRANSITIONS if state is BatchState.CONTROL_FAILED}
        assert ways == {BatchTrigger.ACCEPTED, BatchTrigger.LINES_ADDED}
