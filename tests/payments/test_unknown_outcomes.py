from __future__ import annotations

from datetime import timedelta

import pytest

from payments.models import Attempt, Payment
from payments.services import attempts, sweeps
from tests.factories.shop import Shop
from tests.simulator.process import Simulator
from zentra.core.clock import SYSTEM_CLOCK
from zentra.tenancy.services import set_test_clock


def attempt_of(shop: Shop) -> Attempt:
    return Attempt.objects.get(workspace_id=shop.workspace_id)


def later(shop: Shop, delta: timedelta) -> None:
    """Move the sandbox workspace's test clock."""
    set_test_clock(workspace=shop.tenant.workspace, offset=delta)


class TestResolver:
    @pytest.mark.parametrize(
        "token",
        ["accept_then_timeout", "accept_then_reset", "accept_then_server_error", "garbled_answer"],
    )
    def test_a_charge_that_was_accepted_is_found_and_never_made_twice(
        self, shop: Shop, simulator: Simulator, token: str
    ):
        shop.pay(10_000, token)
        assert attempt_of(shop).state == "unknown"

        for _ in range(4):
            sweeps.resolve_attempt(workspace_id=shop.workspace_id, attempt_id=attempt_of(shop).id)
            later(shop, timedelta(days=200))

        assert Payment.objects.get(workspace_id=shop.workspace_id).state == "authorized"
        assert len(simulator.alpha.by_reference(attempt_of(shop).reference)) == 1
        assert simulator.beta.by_reference(attempt_of(shop).reference) == []

    @pytest.mark.parametrize("token", ["connection_reset", "server_error"])
    def test_a_call_that_changed_nothing_never_goes_to_another_provider_by_itself(
        self, shop: Shop, simulator: Simulator, token: str
    ):
        reply = shop.pay(10_000, token)

        assert reply.status == 202
        assert Attempt.objects.filter(workspace_id=shop.workspace_id).count() == 1

    def test_it_is_due_by_the_clock_of_its_own_workspace(self, shop: Shop):
        shop.pay(10_000, "accept_then_timeout")
        assert sweeps.resolve_unknown(clock=SYSTEM_CLOCK) == 0

        later(shop, timedelta(seconds=10))

        assert sweeps.resolve_unknown(clock=SYSTEM_CLOCK) == 1
        assert attempt_of(shop).state == "approved"
        assert attempt_of(shop).resolved_by == "replay"

    def test_an_attempt_of_a_process_that_died_is_taken_up(self, shop: Shop, monkeypatch):
        def die(_attempt: Attempt):
            raise SystemExit("the process dies here")

        monkeypatch.setattr(attempts, "call", die)
        with pytest.raises(SystemExit):
            shop.pay(10_000, "approved")
        monkeypatch.undo()
        assert attempt_of(shop).state == "sent"

        later(shop, timedelta(minutes=2))
        sweeps.resolve_unknown(clock=SYSTEM_CLOCK)

        assert Payment.objects.get(workspace_id=shop.workspace_id).state == "authorized"

    def test_one_not_found_proves_nothing_and_several_over_time_do(self, shop: Shop):
        shop.pay(10_000, "server_error")
        # Past half of the key's retention a repeat could charge anew: only the query is left.
        day = 24 * 60
        for minutes in (200 * day, 201 * day):
            later(shop, timedelta(minutes=minutes))
            sweeps.resolve_attempt(workspace_id=shop.workspace_id, attempt_id=attempt_of(shop).id)
            assert attempt_of(shop).state == "unknown"

        later(shop, timedelta(minutes=202 * day))
        sweeps.resolve_attempt(workspace_id=shop.workspace_id, attempt_id=attempt_of(shop).id)

        assert attempt_of(shop).state == "failed"
        assert Payment.objects.get(workspace_id=shop.workspace_id).state == "failed"

    def test_after_the_last_step_of_the_schedule_a_person_owns_it(self, shop: Shop):
        shop.pay(10_000, "server_error")

        for _ in range(len(attempts.RESOLVE_SCHEDULE)):
            sweeps.resolve_attempt(workspace_id=shop.workspace_id, attempt_id=attempt_of(shop).id)

        assert attempt_of(shop).needs_operator
        assert attempt_of(shop).state == "unknown"
        later(shop, timedelta(days=2))
        assert sweeps.resolve_unknown(clock=SYSTEM_CLOCK) == 0

    def test_an_answer_of_another_amount_is_put_before_a_person(self, shop: Shop):
        reply = shop.pay(10_000, "wrong_amount")

        assert (reply.status, reply.data["status"]) == (202, "processing")
        assert attempt_of(shop).state == "conflicted"
        assert attempt_of(shop).needs_operator
        assert attempt_of(shop).conflicts == ["amount_minor"]


class TestResumeUnsent:
    def test_a_capture_whose_hint_was_lost_is_carried_out(self, shop: Shop):
        payment = shop.pay(10_000).data

        assert sweeps.resume_unsent(clock=SYSTEM_CLOCK) == 0
        later(shop, timedelta(seconds=10))
        assert sweeps.resume_unsent(clock=SYSTEM_CLOCK) == 1

        assert shop.get(f"payments/{payment['id']}").data["status"] == "captured"

    def test_a_capture_that_could_not_be_sent_waits_for_its_next_try(self, shop: Shop, simulator: Simulator):
        payment = shop.pay(10_000).data
        simulator.alpha.control("down", {"seconds": 0.5})

        shop.work()

        now = shop.get(f"payments/{payment['id']}").data
        assert (now["status"], now["states"]["capture"]) == ("authorized", "pending")
        assert Attempt.objects.get(workspace_id=shop.workspace_id, operation="capture").transport == "not_sent"
