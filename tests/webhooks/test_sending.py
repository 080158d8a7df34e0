from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from standardwebhooks import Webhook

from tests.conftest import CommittedDatabase
from tests.core.raw_server import says, serving
from tests.factories.tenancy import OPERATOR, Tenant, make_tenant
from tests.factories.webhooks import change_endpoint, key_of, make_endpoint, publish_one
from tests.webhooks.receiver import Got, Receiver, always, receiving
from webhooks import rules
from webhooks.models import Delivery, DeliveryAttempt, Endpoint, Event
from webhooks.services import claims, endpoints, sending
from webhooks.services.claims import Result
from webhooks.signing import verify_own
from webhooks.types import Claim, Outcome
from zentra.core.clock import SYSTEM_CLOCK, FixedClock

pytestmark = pytest.mark.usefixtures("committed")


def later(**delta: float) -> FixedClock:
    return FixedClock(SYSTEM_CLOCK.now() + timedelta(**delta))


def deliver(clock: Any = SYSTEM_CLOCK) -> int:
    return sending.deliver_due(clock=clock)


def result(claim: Claim, status: int) -> Result:
    outcome = Outcome(started_at=SYSTEM_CLOCK.now(), duration_ms=1, status=status, error="")
    return Result(claim, outcome, rules.judge(outcome, attempt=claim.attempt, trigger=claim.trigger, jitter=0.0))


class TestDelivered:
    def test_the_receiver_gets_the_stored_bytes_signed_and_verifiable_by_the_official_library(
        self, committed_tenant: Tenant, receiver: Receiver
    ) -> None:
        new = make_endpoint(committed_tenant, receiver.url)
        event = publish_one(committed_tenant, note="Köln")

        assert deliver() == 1

        [got] = receiver.got
        assert got.body == bytes(Event.objects.get().body)
        assert Webhook(new.secret).verify(got.body, got.headers) == json.loads(got.body)
        now = int(SYSTEM_CLOCK.now().timestamp())
        own = got.headers["x-zentra-signature"]
        assert verify_own(header=own, body=got.body, secrets=[key_of(new)], now=now)
        delivery = Delivery.objects.get()
        assert got.headers["webhook-id"] == event.public_id
        assert got.headers["x-event-type"] == "payment.created"
        assert got.headers["x-delivery-id"] == delivery.public_id
        assert got.headers["x-attempt"] == "1"
        assert got.headers["content-type"] == "application/json"

    def test_the_delivery_and_its_log_say_so(self, committed_tenant: Tenant) -> None:
        with receiving(always(202, b"thanks, 4111 1111 1111 1111\x00 sk_sandbox_AAAAbbbbccccdddd")) as receiver:
            make_endpoint(committed_tenant, receiver.url)
            publish_one(committed_tenant)
            deliver()

        delivery, attempt = Delivery.objects.get(), DeliveryAttempt.objects.get()
        assert (delivery.state, delivery.attempts, delivery.last_status) == ("delivered", 1, 202)
        assert (delivery.next_at, delivery.lease_until, delivery.lease_token) == (None, None, None)
        assert delivery.finished_at is not None
        assert (attempt.number, attempt.status_code, attempt.error) == (1, 202, "")
        assert "411111…1111" in attempt.response
        assert "4111 1111" not in attempt.response
        assert "bbbbcccc" not in attempt.response
        assert attempt.signed_at == int(receiver.got[0].headers["webhook-timestamp"])

    def test_nothing_more_is_sent_afterwards(self, committed_tenant: Tenant, receiver: Receiver) -> None:
        make_endpoint(committed_tenant, receiver.url)
        publish_one(committed_tenant)
        deliver()

        assert deliver(later(days=9)) == 0
        assert len(receiver.got) == 1

    def test_what_the_log_keeps_of_an_answer_is_capped(self, committed_tenant: Tenant) -> None:
        with receiving(always(200, "ä".encode() * 30_000)) as receiver:
            make_endpoint(committed_tenant, receiver.url)
            publish_one(committed_tenant)
            deliver()

        assert len(DeliveryAttempt.objects.get().response.encode()) == 16 * 1024

    def test_many_events_reach_many_endpoints_of_many_workspaces_each_once(
        self, committed_tenant: Tenant, receiver: Receiver
    ) -> None:
        other = make_tenant("Other")
        for tenant in (committed_tenant, other):
            for _ in range(3):
                make_endpoint(tenant, receiver.url)
            for number in range(15):
                publish_one(tenant, f"pay_{number}")

        assert deliver() == 90

        assert set(Counter(receiver.ids()).values()) == {3}
        assert not Delivery.objects.exclude(state="delivered").exists()


class TestRetries:
    def test_follow_the_schedule_until_the_attempts_are_used_up(self, committed_tenant: Tenant) -> None:
        with receiving(always(500)) as receiver:
            make_endpoint(committed_tenant, receiver.url)
            publish_one(committed_tenant)
            clock = later(seconds=1)
            waits = []
            for _ in range(11):
                assert deliver(clock) == 1
                delivery = Delivery.objects.get()
                if delivery.next_at is not None:
                    waits.append((delivery.next_at - clock.now()).total_seconds())
                    clock.moment = delivery.next_at - timedelta(milliseconds=1)
                    assert deliver(clock) == 0, "a retry is never early"
                    clock.moment = delivery.next_at
            assert deliver(FixedClock(clock.now() + timedelta(days=30))) == 0

        assert len(waits) == 10
        for wait, step in zip(waits, rules.RETRY_DELAYS_SECONDS, strict=True):
            assert step <= wait <= step * 1.2
        assert (delivery.state, delivery.attempts, delivery.last_error) == ("exhausted", 11, "status_500")
        assert [attempt.number for attempt in DeliveryAttempt.objects.order_by("number")] == list(range(1, 12))

    def test_send_the_same_id_and_bytes_with_a_new_timestamp(self, committed_tenant: Tenant) -> None:
        answers = iter([503, 200])
        with receiving(lambda _got: (next(answers), {}, b"")) as receiver:
            make_endpoint(committed_tenant, receiver.url)
            publish_one(committed_tenant)
            deliver()
            deliver(later(seconds=30))

        first, second = receiver.got
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert int(first.headers["webhook-timestamp"]) + 20 < int(second.headers["webhook-timestamp"])
        assert second.headers["x-attempt"] == "2"
        assert Delivery.objects.get().state == "delivered"

    def test_wait_as_long_as_the_endpoint_asks(self, committed_tenant: Tenant) -> None:
        with receiving(always(429, retry_after="600")) as receiver:
            make_endpoint(committed_tenant, receiver.url)
            publish_one(committed_tenant)
            before = SYSTEM_CLOCK.now()
            deliver()

        assert 600 <= (_next_at() - before).total_seconds() < 610

    def test_a_redirect_is_refused_and_not_followed(self, committed_tenant: Tenant, receiver: Receiver) -> None:
        with receiving(always(302, location=receiver.url)) as redirecting:
            make_endpoint(committed_tenant, redirecting.url)
            publish_one(committed_tenant)
            deliver()

        assert receiver.got == []
        assert Delivery.objects.get().last_error == "redirect_refused"

    def test_a_huge_answer_is_cut_and_the_event_is_delivered(self, committed_tenant: Tenant) -> None:
        with serving(says(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5_000_000)) as server:
            make_endpoint(committed_tenant, server.url)
            publish_one(committed_tenant)
            deliver()

        assert Delivery.objects.get().state == "delivered"
        assert len(DeliveryAttempt.objects.get().response) == 16 * 1024

    def test_a_dripping_answer_ends_at_the_deadline(
        self, committed_tenant: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sending, "DEADLINE_SECONDS", 0.5)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        with serving(says(head, *[b"x"] * 60, pause_seconds=0.05)) as server:
            make_endpoint(committed_tenant, server.url)
            publish_one(committed_tenant)
            deliver()

        attempt = DeliveryAttempt.objects.get()
        assert (attempt.status_code, attempt.error) == (200, "deadline")
        assert attempt.duration_ms < 900
        assert Delivery.objects.get().state == "pending"

    def test_an_address_that_is_not_allowed_any_more_is_not_called(
        self, committed_tenant: Tenant, receiver: Receiver, settings: Any
    ) -> None:
        make_endpoint(committed_tenant, receiver.url)
        publish_one(committed_tenant)
        settings.OUTGOING_ALLOWED_NETWORKS = []

        deliver()

        assert receiver.got == []
        assert Delivery.objects.get().last_error == "address_refused"

    def test_a_dead_endpoint_does_not_hold_up_the_others(
        self, committed_tenant: Tenant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sending, "DEADLINE_SECONDS", 3.0)
        with receiving(lambda _got: (time.sleep(2.5), (200, {}, b""))[1]) as slow:
            make_endpoint(committed_tenant, slow.url)
            for number in range(40):
                publish_one(committed_tenant, f"slow_{number}")
            make_endpoint(committed_tenant, receiver.url)
            for number in range(20):
                publish_one(committed_tenant, f"pay_{number}")
            run = threading.Thread(target=_deliver_and_close, daemon=True)
            started = time.monotonic()
            monkeypatch.setattr(sending, "RUN_SECONDS", 1.0)
            run.start()
            receiver.wait_for(20, seconds=2.4)
            took = time.monotonic() - started
            run.join(20)

        assert took < 2.4
        assert slow.most_at_once <= claims.ENDPOINT_CONCURRENCY


class TestGone:
    def test_410_disables_the_endpoint_and_tells_the_others(self, committed_tenant: Tenant, receiver: Receiver) -> None:
        with receiving(always(410)) as gone:
            endpoint = make_endpoint(committed_tenant, gone.url).endpoint
            make_endpoint(committed_tenant, receiver.url, enabled_events=["webhook.endpoint.disabled"])
            publish_one(committed_tenant)
            deliver()
            publish_one(committed_tenant, "pay_2")
            deliver()

        endpoint.refresh_from_db()
        assert (endpoint.status, endpoint.disabled_reason) == ("disabled", "gone_410")
        assert len(gone.got) == 1
        assert Delivery.objects.get(endpoint=endpoint).state == "exhausted"
        [told] = receiver.got
        assert json.loads(told.body)["data"] == {"endpoint_id": endpoint.public_id, "reason": "gone_410"}


class TestDisabledEndpoint:
    def test_keeps_what_waits_without_using_up_attempts_and_gets_it_when_it_is_enabled(
        self, committed_tenant: Tenant, receiver: Receiver
    ) -> None:
        endpoint = make_endpoint(committed_tenant, receiver.url).endpoint
        publish_one(committed_tenant)
        change_endpoint(committed_tenant, endpoint, enabled=False)

        assert deliver(later(days=1)) == 0
        assert Delivery.objects.get().attempts == 0

        change_endpoint(committed_tenant, endpoint, enabled=True)
        assert deliver() == 1
        assert len(receiver.got) == 1


class TestRotation:
    def test_both_secrets_sign_until_the_overlap_ends_and_the_old_one_is_erased_then(
        self, committed_tenant: Tenant, receiver: Receiver
    ) -> None:
        old = make_endpoint(committed_tenant, receiver.url)
        new = _rotate(committed_tenant, old.endpoint, overlap_seconds=3600)
        publish_one(committed_tenant)
        deliver()
        publish_one(committed_tenant)
        deliver(later(seconds=3601))

        during, after = receiver.got
        for secret in (old.secret, new.secret):
            Webhook(secret).verify(during.body, during.headers)
        assert len(during.headers["webhook-signature"].split(" ")) == 2
        assert len(after.headers["webhook-signature"].split(" ")) == 1
        assert during.headers["x-zentra-signature"].count("v1=") == 2
        now = int(after.headers["webhook-timestamp"])
        own = after.headers["x-zentra-signature"]
        assert verify_own(header=own, body=after.body, secrets=[key_of(new)], now=now)
        assert not verify_own(header=own, body=after.body, secrets=[key_of(old)], now=now)
        endpoint = Endpoint.objects.get()
        assert (endpoint.previous_secret, endpoint.previous_secret_valid_until) == (None, None)

    def test_a_secret_that_was_moved_to_another_row_does_not_sign(
        self, committed_tenant: Tenant, receiver: Receiver
    ) -> None:
        first = make_endpoint(committed_tenant, receiver.url).endpoint
        second = make_endpoint(committed_tenant, receiver.url).endpoint
        Endpoint.objects.filter(id=first.id).update(secret=bytes(second.secret))
        publish_one(committed_tenant)
        deliver()

        assert len(receiver.got) == 1
        assert Delivery.objects.get(endpoint=first).last_error == "no_secret"


class TestClaims:
    def test_two_workers_never_hold_the_same_delivery(
        self, committed_tenant: Tenant, in_threads: Callable[..., list[Any]]
    ) -> None:
        for _ in range(8):
            make_endpoint(committed_tenant)
        for number in range(25):
            publish_one(committed_tenant, f"pay_{number}")

        def claim_all(_index: int) -> list[Any]:
            found = []
            for _ in range(20):
                found += claims.claim_due(clock=SYSTEM_CLOCK, limit=7, concurrency=1000)
            return found

        results = in_threads(claim_all, list(range(4)))

        held = [claim.delivery_id for found in results for claim in found]
        assert len(held) == len(set(held)) == 200

    def test_an_endpoint_gets_no_more_than_its_concurrency_over_several_claims(self, committed_tenant: Tenant) -> None:
        busy, quiet = make_endpoint(committed_tenant), make_endpoint(committed_tenant, enabled_events=["a.b"])
        for number in range(20):
            publish_one(committed_tenant, f"pay_{number}")
        publish_one(committed_tenant, "x", "a.b")

        found = [*claims.claim_due(clock=SYSTEM_CLOCK, limit=50), *claims.claim_due(clock=SYSTEM_CLOCK, limit=50)]

        counts = Counter(claim.endpoint_id for claim in found)
        assert counts == {busy.endpoint.id: claims.ENDPOINT_CONCURRENCY, quiet.endpoint.id: 1}

    def test_an_endpoint_gets_no_more_than_its_concurrency_from_workers_at_the_same_moment(
        self, committed_tenant: Tenant, in_threads: Callable[..., list[Any]]
    ) -> None:
        make_endpoint(committed_tenant)
        for number in range(40):
            publish_one(committed_tenant, f"pay_{number}")

        results = in_threads(lambda _index: claims.claim_due(clock=SYSTEM_CLOCK, limit=3), list(range(6)))

        assert sum(len(found) for found in results) == claims.ENDPOINT_CONCURRENCY

    def test_a_delivery_that_somebody_has_locked_is_passed_over_and_not_waited_for(
        self, committed: CommittedDatabase, committed_tenant: Tenant
    ) -> None:
        for _ in range(2):
            make_endpoint(committed_tenant)
        publish_one(committed_tenant)
        locked, free = Delivery.objects.order_by("id").values_list("id", flat=True)

        with committed.connect() as raw, raw.transaction(), connection.cursor() as cursor:
            raw.execute("SELECT 1 FROM webhooks_delivery WHERE id = %s FOR UPDATE", [locked])
            cursor.execute("SET lock_timeout = '2s'")
            found = claims.claim_due(clock=SYSTEM_CLOCK, limit=10)

        assert [claim.delivery_id for claim in found] == [free]

    def test_endpoints_take_turns(self, committed_tenant: Tenant) -> None:
        for _ in range(4):
            make_endpoint(committed_tenant)
        for number in range(5):
            publish_one(committed_tenant, f"pay_{number}")

        served, after = [], claims.FIRST_TURN
        for _ in range(4):
            found = claims.claim_due(clock=SYSTEM_CLOCK, limit=5, after=after)
            after = max(claim.endpoint_id for claim in found)
            served.append({claim.endpoint_id for claim in found})

        assert len(set.union(*served)) == 4
        assert all(len(ids) == 1 for ids in served)

    def test_a_lease_that_ran_out_makes_the_delivery_due_again_and_the_late_result_does_not_count(
        self, committed_tenant: Tenant
    ) -> None:
        make_endpoint(committed_tenant)
        publish_one(committed_tenant)
        [lost] = claims.claim_due(clock=SYSTEM_CLOCK, limit=1)
        assert claims.claim_due(clock=later(seconds=59), limit=1) == []
        [taken] = claims.claim_due(clock=later(seconds=61), limit=1)

        late = claims.record_results(results=[result(lost, 500)], clock=SYSTEM_CLOCK)
        winning = claims.record_results(results=[result(taken, 200)], clock=SYSTEM_CLOCK)
        again = claims.record_results(results=[result(lost, 500)], clock=SYSTEM_CLOCK)

        assert (late, winning, again) == (set(), {taken.delivery_id}, set())
        delivery = Delivery.objects.get()
        assert (delivery.state, delivery.attempts, delivery.last_status) == ("delivered", 1, 200)
        assert [attempt.status_code for attempt in DeliveryAttempt.objects.all()] == [200]

    def test_a_result_of_a_cancelled_delivery_does_not_revive_it(self, committed_tenant: Tenant) -> None:
        endpoint = make_endpoint(committed_tenant).endpoint
        publish_one(committed_tenant)
        [claim] = claims.claim_due(clock=SYSTEM_CLOCK, limit=1)
        _delete(committed_tenant, endpoint)

        counted = claims.record_results(results=[result(claim, 200)], clock=SYSTEM_CLOCK)

        assert counted == set()
        assert Delivery.objects.get().state == "cancelled"

    def test_a_released_claim_is_due_at_once(self, committed_tenant: Tenant) -> None:
        make_endpoint(committed_tenant)
        publish_one(committed_tenant)
        found = claims.claim_due(clock=SYSTEM_CLOCK, limit=1)

        claims.release_claims(claims=found)

        assert len(claims.claim_due(clock=SYSTEM_CLOCK, limit=1)) == 1

    def test_told_to_stop_the_sender_gives_back_what_it_has_not_begun(
        self, committed_tenant: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sending, "SENDER_THREADS", 2)
        stop = threading.Event()

        def stopping(_got: Got) -> tuple[int, dict[str, str], bytes]:
            stop.set()
            time.sleep(0.7)
            return 200, {}, b""

        with receiving(stopping) as receiver:
            for _ in range(10):
                make_endpoint(committed_tenant, receiver.url)
            publish_one(committed_tenant)
            made = sending.deliver_due(clock=SYSTEM_CLOCK, should_stop=stop.is_set)

        assert made == len(receiver.got) == Delivery.objects.filter(state="delivered").count() < 10
        assert Delivery.objects.filter(lease_token__isnull=False).count() == 0

    def test_a_sender_that_breaks_still_uses_up_the_attempt(
        self, committed_tenant: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_endpoint(committed_tenant)
        publish_one(committed_tenant)

        def broken(**_arguments: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(sending.http, "send", broken)

        assert deliver() == 1
        assert Delivery.objects.get().last_error == "sender_failed"
        assert DeliveryAttempt.objects.get().number == 1


def _next_at() -> datetime:
    found = Delivery.objects.get().next_at
    assert found is not None
    return found


def _deliver_and_close() -> None:
    try:
        deliver()
    finally:
        connection.close()


def _rotate(tenant: Tenant, endpoint: Endpoint, *, overlap_seconds: int) -> endpoints.NewSecret:
    return endpoints.rotate_secret(
        workspace_id=tenant.workspace.id,
        endpoint_id=endpoint.id,
        actor=OPERATOR,
        clock=SYSTEM_CLOCK,
        overlap_seconds=overlap_seconds,
    )


def _delete(tenant: Tenant, endpoint: Endpoint) -> None:
    endpoints.delete_endpoint(
        workspace_id=tenant.workspace.id, endpoint_id=endpoint.id, actor=OPERATOR, clock=SYSTEM_CLOCK
    )
