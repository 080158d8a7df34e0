"""Rate limits of one process: their headers, and what they fall back to when Redis is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.api.refusals import require_typed
from tests.factories.shop import Shop
from tests.factories.tenancy import make_tenant
from tests.rows import everything_stored
from tests.servers import free_port
from zentra.api import throttling


@pytest.fixture
def without_redis(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    monkeypatch.setattr(throttling, "_failed_at", 0.0)
    monkeypatch.setattr(throttling, "_local", {})
    throttling._client.cache_clear()
    yield
    throttling._client.cache_clear()


def bucket() -> str:
    return f"rl:test:{uuid4()}"


class TestABucket:
    def test_lets_a_burst_of_half_as_many_again_pass_and_then_says_when(self):
        name = bucket()

        answers = [throttling.take(name, 10) for _ in range(16)]

        assert [answer.allowed for answer in answers] == [True] * 15 + [False]
        assert [answer.remaining for answer in answers[:15]] == list(range(14, -1, -1))
        assert 5 < answers[-1].retry_after_seconds <= 6
        assert 0 < answers[-1].reset_at - time.time() < 100

    def test_refills_with_time(self):
        name = bucket()
        while throttling.take(name, 600).allowed:
            pass

        time.sleep(0.25)

        assert [throttling.take(name, 600).allowed for _ in range(2)] == [True, True]

    def test_of_one_workspace_is_not_emptied_by_another(self):
        first, second = bucket(), bucket()
        while throttling.take(first, 10).allowed:
            pass

        assert throttling.take(second, 10).allowed

    def test_is_forgotten_when_it_is_full_again(self):
        name = bucket()
        throttling.take(name, 600)

        assert 0 < throttling._client().pttl(name) < 5_000


class TestWithoutRedis:
    def test_each_process_keeps_a_bucket_at_a_quarter_of_the_rate(self, without_redis: None):
        name = bucket()

        answers = [throttling.take(name, 40) for _ in range(16)]

        assert [answer.allowed for answer in answers] == [True] * 15 + [False]
        assert answers[0].limit == 40

    def test_a_request_is_neither_slow_nor_stopped(self, without_redis: None, shop: Shop):
        started = time.monotonic()
        reply = shop.get("payments")

        assert reply.status == 200
        assert time.monotonic() - started < 1.0
        assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= set(reply.headers)

    def test_the_gate_is_not_open(self, without_redis: None, db: None):
        shop = Shop(make_tenant(requests_per_minute=8))

        statuses = [shop.get("payments").status for _ in range(4)]

        assert statuses == [200, 200, 200, 429]


class TestARefusedRequest:
    def test_is_told_when_to_come_back_and_writes_nothing(self, db: None):
        shop = Shop(make_tenant(requests_per_minute=2))
        allowed = [shop.get("payments").status for _ in range(3)]
        before = everything_stored()

        refused = shop.pay()

        assert allowed == [200, 200, 200]
        require_typed(refused, 429, "rate_limit_exceeded")
        assert refused.error["details"] == {"limit": 2, "window": "1 minute", "retry_after": 30}
        assert refused.headers["Retry-After"] == "30"
        assert refused.headers["X-RateLimit-Remaining"] == "0"
        assert everything_stored() == before
