from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise, product

import pytest

from webhooks import rules
from webhooks.states import TRANSITIONS, DeliveryState, DeliveryTrigger, next_state
from webhooks.types import Outcome, SendTrigger
from zentra.core.transitions import IllegalTransition

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def outcome(status: int | None, error: str = "", **headers: str) -> Outcome:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Outcome(started_at=NOW, duration_ms=1, status=status, error=error, headers=named)


def judged(
    made: Outcome, *, attempt: int = 1, trigger: SendTrigger = SendTrigger.AUTO, jitter: float = 0.0
) -> rules.Judgement:
    return rules.judge(made, attempt=attempt, trigger=trigger, jitter=jitter)


class TestTransitions:
    @pytest.mark.parametrize(("state", "trigger"), list(product(DeliveryState, DeliveryTrigger)))
    def test_every_edge_is_in_the_table_and_every_other_pair_is_refused(
        self, state: DeliveryState, trigger: DeliveryTrigger
    ) -> None:
        if state is DeliveryState.PENDING:
            assert next_state(state, trigger) is TRANSITIONS[state, trigger]
        else:
            with pytest.raises(IllegalTransition):
                next_state(state, trigger)

    def test_only_a_failed_attempt_leaves_a_delivery_pending(self) -> None:
        staying = {trigger for (_, trigger), state in TRANSITIONS.items() if state is DeliveryState.PENDING}

        assert staying == {DeliveryTrigger.ATTEMPT_FAILED}


class TestSchedule:
    def test_eleven_attempts_spread_over_about_three_days(self) -> None:
        assert rules.MAX_ATTEMPTS == 11
        assert rules.RETRY_DELAYS_SECONDS[:4] == (5, 60, 300, 1800)
        assert 71 * 3600 < sum(rules.RETRY_DELAYS_SECONDS) < 73 * 3600

    def test_later_waits_are_never_shorter(self) -> None:
        assert all(earlier <= later for earlier, later in pairwise(rules.RETRY_DELAYS_SECONDS))

    @pytest.mark.parametrize("attempt", range(1, 11))
    def test_jitter_makes_a_retry_up_to_a_fifth_later_and_never_earlier(self, attempt: int) -> None:
        step = rules.RETRY_DELAYS_SECONDS[attempt - 1]

        assert rules.retry_delay_seconds(attempt, asked=None, jitter=0.0) == step
        assert step < rules.retry_delay_seconds(attempt, asked=None, jitter=0.999) < step * 1.2


class TestJudge:
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
    def test_any_2xx_is_delivered(self, status: int) -> None:
        assert judged(outcome(status)).trigger is DeliveryTrigger.ENDPOINT_ACCEPTED

    def test_a_2xx_with_more_body_than_we_read_is_delivered(self) -> None:
        assert judged(outcome(200, "too_large")).trigger is DeliveryTrigger.ENDPOINT_ACCEPTED

    @pytest.mark.parametrize("error", ["deadline", "truncated"])
    def test_a_2xx_whose_answer_never_ended_is_not_delivered(self, error: str) -> None:
        assert judged(outcome(200, error)).trigger is DeliveryTrigger.ATTEMPT_FAILED

    @pytest.mark.parametrize(
        ("made", "error"),
        [
            (outcome(301), "redirect_refused"),
            (outcome(308), "redirect_refused"),
            (outcome(400), "status_400"),
            (outcome(404), "status_404"),
            (outcome(500), "status_500"),
            (outcome(None, "connect_refused"), "connect_refused"),
            (outcome(None, "address_refused"), "address_refused"),
            (outcome(None, "deadline"), "deadline"),
        ],
    )
    def test_everything_else_is_tried_again_and_says_why(self, made: Outcome, error: str) -> None:
        judgement = judged(made)

        assert judgement == rules.Judgement(DeliveryTrigger.ATTEMPT_FAILED, error, 5.0)

    def test_410_means_that_the_endpoint_is_gone(self) -> None:
        assert judged(outcome(410)).endpoint_gone

    def test_the_eleventh_failure_uses_the_attempts_up(self) -> None:
        assert judged(outcome(500), attempt=10).trigger is DeliveryTrigger.ATTEMPT_FAILED
        assert judged(outcome(500), attempt=11).trigger is DeliveryTrigger.ATTEMPTS_USED_UP

    def test_a_replay_by_hand_is_one_attempt(self) -> None:
        assert judged(outcome(500), trigger=SendTrigger.MANUAL).trigger is DeliveryTrigger.ATTEMPTS_USED_UP


class TestRetryAfter:
    @pytest.mark.parametrize("status", [429, 503])
    def test_a_longer_wait_is_honoured(self, status: int) -> None:
        assert judged(outcome(status, retry_after="120")).retry_in_seconds == 120

    def test_a_shorter_one_does_not_hurry_us(self) -> None:
        assert judged(outcome(429, retry_after="1"), attempt=4).retry_in_seconds == 1800

    def test_it_counts_up_to_six_hours_and_never_shortens_a_longer_step(self) -> None:
        assert judged(outcome(429, retry_after="999999")).retry_in_seconds == 6 * 3600
        assert judged(outcome(429, retry_after="999999"), attempt=7).retry_in_seconds == 36_000

    def test_a_date_is_understood(self) -> None:
        moment = (NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")

        assert judged(outcome(503, retry_after=moment)).retry_in_seconds == 90

    @pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "１２０", "9" * 30, "Mon, 99 Foo 2026 00:00:00 GMT"])
    def test_what_cannot_be_understood_is_ignored(self, text: str) -> None:
        assert judged(outcome(429, retry_after=text)).retry_in_seconds == 5

    def test_other_statuses_do_not_carry_it(self) -> None:
        assert judged(outcome(500, retry_after="120")).retry_in_seconds == 5
