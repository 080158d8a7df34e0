from __future__ import annotations

import itertools

import pytest

from payments import states
from payments.states import (
    Amounts,
    AttemptState,
    AttemptTrigger,
    OperationState,
    OperationTrigger,
    PaymentState,
    PaymentTrigger,
    axis_states,
    status_of,
)
from zentra.core.transitions import IllegalTransition

MACHINES = [
    (states.PAYMENT_TRANSITIONS, states.next_payment_state, PaymentState, PaymentTrigger),
    (states.ATTEMPT_TRANSITIONS, states.next_attempt_state, AttemptState, AttemptTrigger),
    (states.OPERATION_TRANSITIONS, states.next_operation_state, OperationState, OperationTrigger),
]
EVERY_PAIR = [
    pytest.param(table, step, state, trigger, id=f"{state}-{trigger}")
    for table, step, all_states, triggers in MACHINES
    for state, trigger in itertools.product(all_states, triggers)
]


class TestTransitionTables:
    @pytest.mark.parametrize(("table", "step", "state", "trigger"), EVERY_PAIR)
    def test_every_pair_is_an_edge_or_refused(self, table, step, state, trigger):
        if (state, trigger) in table:
            assert step(state, trigger) is table[state, trigger]
        else:
            with pytest.raises(IllegalTransition) as refused:
                step(state, trigger)
            assert refused.value.details == {"state": str(state), "trigger": str(trigger)}

    @pytest.mark.parametrize("state", ["declined", "failed", "rejected", "voided", "expired"])
    def test_nothing_leaves_a_final_payment_state(self, state):
        assert not [edge for edge in states.PAYMENT_TRANSITIONS if edge[0] == state]

    @pytest.mark.parametrize("state", ["approved", "declined", "failed", "conflicted"])
    def test_a_decided_attempt_is_never_decided_again(self, state):
        assert not [edge for edge in states.ATTEMPT_TRANSITIONS if edge[0] == state]

    def test_an_unknown_outcome_never_fails_by_itself(self):
        causes = {
            trigger
            for (state, trigger), target in states.ATTEMPT_TRANSITIONS.items()
            if state == AttemptState.UNKNOWN and target in (AttemptState.FAILED, AttemptState.DECLINED)
        }
        assert causes == {AttemptTrigger.NOTHING_HAPPENED, AttemptTrigger.DECLINED}


class TestStatus:
    @pytest.mark.parametrize(
        ("state", "amounts", "status"),
        [
            ("processing", Amounts(100), "processing"),
            ("authorized", Amounts(100, authorized=100), "authorized"),
            ("authorized", Amounts(100, authorized=100, capturing=100), "authorized"),
            ("authorized", Amounts(100, authorized=100, captured=40), "partially_captured"),
            ("authorized", Amounts(100, authorized=100, captured=100), "captured"),
            ("authorized", Amounts(100, authorized=100, captured=40, released=60), "captured"),
            ("voided", Amounts(100, authorized=100, released=100), "voided"),
        ],
    )
    def test_it_follows_from_state_and_amounts(self, state, amounts, status):
        assert status_of(PaymentState(state), amounts) == status

    def test_each_axis_has_its_own_state(self):
        amounts = Amounts(100, authorized=100, captured=100, refunded=30, settled=100)

        shown = axis_states(PaymentState.AUTHORIZED, amounts, settled=True, outcome_unknown=False)

        assert shown == {
            "authorization": "authorized",
            "capture": "captured",
            "refund": "partially_refunded",
            "dispute": "none",
            "settlement": "settled",
        }

    def test_an_unknown_outcome_is_shown_as_unknown(self):
        shown = axis_states(PaymentState.PROCESSING, Amounts(100), settled=False, outcome_unknown=True)

        assert shown["authorization"] == "outcome_unknown"


class TestAmounts:
    def test_what_may_be_captured_leaves_out_what_is_under_way_and_released(self):
        assert Amounts(100, authorized=100, captured=20, capturing=30, released=10).capturable == 40

    def test_what_may_be_refunded_leaves_out_disputes_and_never_falls_below_zero(self):
        assert Amounts(100, authorized=100, captured=100, refunded=20, refunding=10, disputed=30).refundable == 40
        assert Amounts(100, authorized=100, captured=50, refunded=50, disputed=50).refundable == 0
