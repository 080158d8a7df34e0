"""Acceptance 4: one key, one payment, one charge, over real web processes and a real acquirer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from payments.models import Attempt
from tests.conftest import CommittedDatabase, run_in_threads
from tests.factories.shop import Reply, open_shop
from tests.races.scenarios import Stage, require_one_payment
from tests.rows import everything_stored, row_counts
from tests.servers import LiveShop, web_server
from tests.simulator.process import Simulator
from zentra.idempotency.models import IdempotencyKey


@pytest.fixture
def stage(committed_database: CommittedDatabase, simulator: Simulator) -> Stage:
    return Stage(committed_database, simulator)


@pytest.fixture
def shops(stage: Stage) -> Iterator[list[LiveShop]]:
    """One merchant in front of two web processes."""
    shop = open_shop(stage.simulator, deadline_seconds=3.0)
    with ExitStack() as running:
        servers = [running.enter_context(web_server(stage.database.environment())) for _ in range(2)]
        yield [LiveShop(shop.tenant, server=server) for server in servers]


def sixteen(shops: list[LiveShop], token: str, key: str) -> list[Reply]:
    """The same body under one key from 16 threads, half of them to each process."""
    replies = run_in_threads(lambda number: shops[number % 2].pay(1000, token, key=key), list(range(16)))
    assert [type(reply) for reply in replies] == [Reply] * 16, replies
    return replies


def charges(stage: Stage) -> int:
    return (
        Counter(stage.simulator.alpha.recorded())["authorization"]
        + Counter(stage.simulator.beta.recorded())["authorization"]
    )


class TestSixteenRequestsWithOneKey:
    def test_make_one_payment_and_one_charge_and_every_answer_names_it(self, stage: Stage, shops: list[LiveShop]):
        before = charges(stage)

        replies = sixteen(shops, "approved", "key-1")

        only = require_one_payment(shops[0], replies)
        assert charges(stage) - before == 1
        assert {table: count for table, count in row_counts().items() if table in COUNTED} == COUNTED
        self._repeats_alike(shops, only, [reply for reply in replies if reply.status == 201])

    def _repeats_alike(self, shops: list[LiveShop], only: str, first: list[Reply]) -> None:
        before = everything_stored()

        repeats = [shop.pay(1000, key="key-1") for shop in (*shops, *shops)]

        assert first
        assert {reply.content for reply in (*first, *repeats)} == {first[0].content}
        for repeat in repeats:
            assert (repeat.status, repeat.data["id"]) == (201, only)
            assert repeat.headers["Idempotent-Replayed"] == "true"
            assert repeat.headers["Original-Request-Id"] == repeat.json["meta"]["request_id"]
        for changed in (shops[0].pay(1001, key="key-1"), shops[1].pay(1000, "declined_stolen_card", key="key-1")):
            assert (changed.status, changed.code) == (422, "idempotency_key_reused")
            assert changed.error["details"] == {"resource_id": only}
        assert everything_stored() == before

    def test_make_one_while_the_acquirer_takes_its_time(self, stage: Stage, shops: list[LiveShop]):
        """The first request is still on the wire when the others come: they are told 202 and the same payment."""
        before = charges(stage)

        replies = sixteen(shops, "late_answer", "key-1")

        only = require_one_payment(shops[0], replies)
        assert charges(stage) - before == 1
        assert Counter(reply.status for reply in replies)[202] >= 1
        assert [reply.status for reply in replies if reply.status == 201], "the first request learns the outcome"
        final = shops[1].pay(1000, "late_answer", key="key-1")
        assert (final.status, final.data["id"], final.data["status"]) == (201, only, "authorized")

    def test_make_one_when_the_acquirer_never_answers(self, stage: Stage, shops: list[LiveShop]):
        before = charges(stage)

        replies = sixteen(shops, "accept_then_timeout", "key-1")

        only = require_one_payment(shops[0], replies)
        assert {reply.status for reply in replies} <= {202, 409}
        assert charges(stage) - before == 1
        assert IdempotencyKey.objects.get().status is None
        shops[0].resolve(only)
        known = [shop.pay(1000, "accept_then_timeout", key="key-1") for shop in (*shops, *shops)]
        assert [reply.status for reply in known] == [201] * 4
        assert {reply.content for reply in known} == {known[0].content}
        assert charges(stage) - before == 1
        assert Attempt.objects.filter(operation="authorize").count() == 1


#: What one authorized payment leaves behind, whoever asked for it how often.
COUNTED = {
    "idempotency_idempotencykey": 1,
    "payments_payment": 1,
    "payments_attempt": 1,
    "payments_capture": 1,
    "payments_runtimestep": 6,
    "ledger_journal": 1,
    "routing_routingdecision": 1,
}
