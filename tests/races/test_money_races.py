"""Requests, workers, the resolver and the provider's callbacks at the same moment: real threads, commits and locks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ledger.services import verify_books
from payments.models import Attempt, Capture, Payment, Refund
from payments.services import sweeps
from tests.conftest import CommittedDatabase
from tests.factories.shop import Reply, Shop, open_shop
from tests.payments.test_callbacks import approval, send
from tests.simulator.process import Simulator
from webhooks.models import Event
from zentra.core.ids import parse_public_id

InThreads = Callable[[Callable[[Any], Any], list[Any]], list[Any]]
THREADS = 6


@pytest.fixture
def shop(committed_database: CommittedDatabase, simulator: Simulator) -> Shop:
    return open_shop(simulator)


def own(shop: Shop) -> Shop:
    """The same merchant with a client of its own, as every thread needs."""
    return Shop(shop.tenant)


def statuses(replies: list[Reply]) -> Counter[int]:
    return Counter(reply.status for reply in replies)


def assert_books_hold(shop: Shop) -> None:
    proofs = verify_books(workspace_id=shop.workspace_id)
    assert {proof.name: proof.violations for proof in proofs if not proof.holds} == {}


def announced(shop: Shop, type: str) -> int:
    return Event.objects.filter(workspace_id=shop.workspace_id, type=type).count()


class TestOneKey:
    def test_at_once_gives_one_refusal(self, shop: Shop, in_threads: InThreads):
        payment = shop.pay(10_000, capture_method="manual").data

        replies = in_threads(lambda _: own(shop).capture(payment["id"], 10_001, key="c1"), list(range(THREADS)))

        assert statuses(replies) == {409: THREADS}
        assert len({reply.content for reply in replies}) == 1
        assert shop.capture(payment["id"], 10_001, key="c1").content == replies[0].content


class TestRefunds:
    def test_of_two_payments_never_share_a_reference(self, shop: Shop, in_threads: InThreads):
        orders = [f"ORD_{number}" for number in range(THREADS)]
        for order in orders:
            shop.captured(10_000, reference=order)

        replies = in_threads(lambda order: own(shop).refund(order, 1_000, reference="RF_1"), orders)

        assert statuses(replies) == {201: 1, 409: THREADS - 1}
        assert {reply.code for reply in replies if reply.status == 409} == {"refund_reference_in_use"}
        assert Refund.objects.filter(workspace_id=shop.workspace_id).count() == 1


class TestUnknownOutcome:
    def test_that_callback_resolver_and_client_learn_at_once_is_booked_and_told_once(
        self, shop: Shop, simulator: Simulator, in_threads: InThreads
    ):
        payment = shop.pay(10_000, "accept_then_timeout", key="k1").data
        attempt = Attempt.objects.get(workspace_id=shop.workspace_id)
        acts: list[Callable[[], Any]] = [
            lambda: send(own(shop), approval(attempt)),
            lambda: sweeps.resolve_attempt(workspace_id=shop.workspace_id, attempt_id=attempt.id),
            lambda: own(shop).pay(10_000, "accept_then_timeout", key="k1"),
        ] * 3

        results = in_threads(lambda act: act(), acts)

        assert [result for result in results if isinstance(result, Exception)] == []
        assert Payment.objects.get(id=parse_public_id("pay", payment["id"])).state == "authorized"
        assert announced(shop, "payment.authorized") == 1
        assert Capture.objects.filter(workspace_id=shop.workspace_id).count() == 1
        assert len(simulator.alpha.by_reference(attempt.reference)) == 1
        answers = {own(shop).pay(10_000, "accept_then_timeout", key="k1").content for _ in range(3)}
        assert len(answers) == 1
        assert_books_hold(shop)
