"""Real threads, real locks, a real acquirer: what must hold when many come at once."""

from __future__ import annotations

from tests.races import scenarios
from tests.races.scenarios import Stage


class TestOneKey:
    def test_makes_one_payment(self, stage: Stage):
        scenarios.one_key_makes_one_payment(stage)


class TestOneReference:
    def test_names_one_live_payment(self, stage: Stage):
        scenarios.one_reference_names_one_live_payment(stage)


class TestRefunds:
    def test_never_exceed_what_was_captured(self, stage: Stage):
        scenarios.refunds_never_exceed_what_was_captured(stage)


class TestCaptures:
    def test_never_exceed_what_was_authorized(self, stage: Stage):
        scenarios.captures_never_exceed_what_was_authorized(stage)

    def test_delivered_twice_move_money_once(self, stage: Stage):
        scenarios.a_capture_delivered_twice_moves_money_once(stage)


class TestAPayment:
    def test_is_captured_or_voided(self, stage: Stage):
        scenarios.a_payment_is_captured_or_voided(stage)


class TestAnUnknownOutcome:
    def test_learnt_twice_is_applied_once(self, stage: Stage):
        scenarios.an_outcome_learnt_twice_is_applied_once(stage)


class TestACallback:
    def test_is_kept_once(self, stage: Stage):
        scenarios.a_callback_is_kept_once(stage)


class TestMoney:
    def test_is_spent_once(self, stage: Stage):
        scenarios.money_is_spent_once(stage)

    def test_is_booked_once(self, stage: Stage):
        scenarios.a_posting_is_booked_once(stage)
