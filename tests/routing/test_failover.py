"""When another provider may be tried: the whole matrix, cell by cell, against a table written by hand."""

from __future__ import annotations

import itertools

import pytest

from routing.providers.base import read_as_follow_up
from routing.rules import may_fail_over
from routing.types import Operation, RetryAdvice, Transport, Verdict
from tests.factories.routing import provider_result

V, T, A = Verdict, Transport, RetryAdvice
MAY, NEVER, IMPOSSIBLE = "may", "never", "impossible"

#: transport -> verdict -> (with nothing_authorized, without it). The advice is other_provider_now throughout.
MATRIX = {
    T.NOT_SENT: {
        V.APPROVED: (IMPOSSIBLE, IMPOSSIBLE),
        V.ACTION_REQUIRED: (IMPOSSIBLE, IMPOSSIBLE),
        V.SOFT_DECLINE: (IMPOSSIBLE, IMPOSSIBLE),
        V.HARD_DECLINE: (IMPOSSIBLE, IMPOSSIBLE),
        V.INVALID_REQUEST: (MAY, NEVER),
        V.CONFIG: (MAY, NEVER),
        V.PROVIDER_FAULT: (MAY, NEVER),
        V.RISK_BLOCK: (IMPOSSIBLE, IMPOSSIBLE),
        V.UNKNOWN: (IMPOSSIBLE, NEVER),
    },
    T.SENT_NO_ANSWER: {
        V.APPROVED: (IMPOSSIBLE, IMPOSSIBLE),
        V.ACTION_REQUIRED: (IMPOSSIBLE, IMPOSSIBLE),
        V.SOFT_DECLINE: (IMPOSSIBLE, IMPOSSIBLE),
        V.HARD_DECLINE: (IMPOSSIBLE, IMPOSSIBLE),
        V.INVALID_REQUEST: (IMPOSSIBLE, IMPOSSIBLE),
        V.CONFIG: (IMPOSSIBLE, IMPOSSIBLE),
        V.PROVIDER_FAULT: (IMPOSSIBLE, IMPOSSIBLE),
        V.RISK_BLOCK: (IMPOSSIBLE, IMPOSSIBLE),
        V.UNKNOWN: (IMPOSSIBLE, NEVER),
    },
    T.ANSWERED: {
        V.APPROVED: (IMPOSSIBLE, NEVER),
        V.ACTION_REQUIRED: (IMPOSSIBLE, NEVER),
        V.SOFT_DECLINE: (MAY, NEVER),
        V.HARD_DECLINE: (NEVER, NEVER),
        V.INVALID_REQUEST: (NEVER, NEVER),
        V.CONFIG: (MAY, NEVER),
        V.PROVIDER_FAULT: (MAY, NEVER),
        V.RISK_BLOCK: (NEVER, NEVER),
        V.UNKNOWN: (IMPOSSIBLE, NEVER),
    },
    T.ANSWERED_UNREADABLE: {
        V.APPROVED: (IMPOSSIBLE, IMPOSSIBLE),
        V.ACTION_REQUIRED: (IMPOSSIBLE, IMPOSSIBLE),
        V.SOFT_DECLINE: (IMPOSSIBLE, IMPOSSIBLE),
        V.HARD_DECLINE: (IMPOSSIBLE, IMPOSSIBLE),
        V.INVALID_REQUEST: (IMPOSSIBLE, IMPOSSIBLE),
        V.CONFIG: (IMPOSSIBLE, IMPOSSIBLE),
        V.PROVIDER_FAULT: (IMPOSSIBLE, IMPOSSIBLE),
        V.RISK_BLOCK: (IMPOSSIBLE, IMPOSSIBLE),
        V.UNKNOWN: (IMPOSSIBLE, NEVER),
    },
}
CELLS = [
    (transport, verdict, nothing_authorized)
    for transport, verdict, nothing_authorized in itertools.product(Transport, Verdict, (True, False))
]


def cell(transport, verdict, nothing_authorized):
    try:
        result = provider_result(transport, verdict, nothing_authorized=nothing_authorized)
    except ValueError:
        return IMPOSSIBLE
    return MAY if may_fail_over(result) else NEVER


class TestAnotherProviderMayBeTried:
    @pytest.mark.parametrize(("transport", "verdict", "nothing_authorized"), CELLS)
    def test_exactly_where_the_table_says(self, transport, verdict, nothing_authorized):
        expected = MATRIX[transport][verdict][0 if nothing_authorized else 1]

        assert cell(transport, verdict, nothing_authorized) == expected

    def test_in_no_cell_without_the_certainty_that_nothing_happened(self):
        assert not [row for row in CELLS if not row[2] and cell(*row) == MAY]

    @pytest.mark.parametrize(
        ("verdict", "allowing"),
        [
            (V.SOFT_DECLINE, {A.OTHER_PROVIDER_NOW}),
            (V.PROVIDER_FAULT, {A.OTHER_PROVIDER_NOW, A.SAME_PROVIDER_LATER}),
            (V.CONFIG, {A.OTHER_PROVIDER_NOW, A.SAME_PROVIDER_LATER}),
            (V.HARD_DECLINE, set()),
            (V.RISK_BLOCK, set()),
            (V.INVALID_REQUEST, set()),
        ],
    )
    def test_only_with_the_advice_that_allows_it(self, verdict, allowing):
        found = {
            advice for advice in RetryAdvice if may_fail_over(provider_result(verdict=verdict, retry_advice=advice))
        }

        assert found == allowing

    @pytest.mark.parametrize("operation", set(Operation) - {Operation.AUTHORIZE})
    def test_for_no_operation_but_an_authorization(self, operation):
        result = provider_result(T.NOT_SENT, V.PROVIDER_FAULT, operation=operation)

        assert not may_fail_over(result)

    def test_not_after_an_answer_that_contradicts_its_request(self):
        assert may_fail_over(provider_result(verdict=V.PROVIDER_FAULT))
        assert not may_fail_over(provider_result(verdict=V.PROVIDER_FAULT, conflicts=("reference",)))


class TestARepeatOrAQuery:
    """What a second call says about the first one."""

    @pytest.mark.parametrize("verdict", [V.SOFT_DECLINE, V.HARD_DECLINE, V.RISK_BLOCK])
    def test_believes_a_decline(self, verdict):
        result = provider_result(verdict=verdict)

        assert read_as_follow_up(result) == result

    @pytest.mark.parametrize("verdict", [V.APPROVED, V.ACTION_REQUIRED])
    def test_believes_an_approval(self, verdict):
        result = provider_result(verdict=verdict, nothing_authorized=False)

        assert read_as_follow_up(result) == result

    @pytest.mark.parametrize(
        ("transport", "verdict"),
        [
            (T.NOT_SENT, V.PROVIDER_FAULT),
            (T.NOT_SENT, V.CONFIG),
            (T.ANSWERED, V.PROVIDER_FAULT),
            (T.ANSWERED, V.CONFIG),
            (T.ANSWERED, V.INVALID_REQUEST),
        ],
    )
    def test_concludes_nothing_from_its_own_failing(self, transport, verdict):
        before = provider_result(transport, verdict)
        after = read_as_follow_up(before)

        assert may_fail_over(before) or verdict is V.INVALID_REQUEST
        assert (after.verdict, after.nothing_authorized, after.retry_advice) == (V.UNKNOWN, False, A.RESOLVE_FIRST)
        assert not may_fail_over(after)

    def test_believes_a_fault_that_is_marked_as_the_first_answer(self):
        result = provider_result(verdict=V.PROVIDER_FAULT, replayed=True)

        assert read_as_follow_up(result) == result
