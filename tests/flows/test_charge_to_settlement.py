"""The journey of a charge, over real processes: web, worker, relay, acquirer, receiver."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import urllib3

from ledger.services import verify_books
from tests.conftest import CommittedDatabase
from tests.factories.shop import Shop, open_shop
from tests.servers import web_server
from tests.simulator.process import Simulator
from tests.workers import celery_worker, relay
from zentra.demo.clients import ApiClient
from zentra.demo.receiver import Receiver

WAIT_SECONDS = 40


class Stack:
    """The running platform and one merchant on it."""

    def __init__(self, shop: Shop, api: ApiClient, receiver: Receiver) -> None:
        self.shop = shop
        self.api = api
        self.receiver = receiver

    def pay(self, token: str = "approved", *, key: str = "", **more: Any) -> Any:
        body = {"amount_minor": 125_000, "currency": "EUR", "payment_token_id": f"tok_sandbox_{token}", **more}
        return self.api.post("payments", body, key=key)

    def until(self, payment_id: str, **expected: Any) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            payment = self.api.get(f"payments/{payment_id}").data
            if all(payment[name] == value for name, value in expected.items()):
                return payment
            assert time.monotonic() < deadline, payment
            time.sleep(0.1)


@pytest.fixture
def stack(committed_database: CommittedDatabase, simulator: Simulator) -> Iterator[Stack]:
    shop = open_shop(simulator, deadline_seconds=2)
    environment = committed_database.environment()
    receiver = Receiver()
    with ExitStack() as running:
        running.callback(receiver.close)
        web = running.enter_context(web_server(environment))
        running.enter_context(celery_worker(environment))
        running.enter_context(relay(environment))
        api = ApiClient(web.url, shop.tenant.secret_key)
        receiver.secret = api.post("webhooks/endpoints", {"url": receiver.url}).data["secret"]
        yield Stack(shop, api, receiver)


class TestChargeToSettlement:
    def test_a_charge_is_captured_refunded_settled_and_told_to_the_merchant(self, stack: Stack, simulator: Simulator):
        simulator.alpha.control("settlement")
        created = stack.pay(reference=f"ORD_{uuid.uuid4().hex[:8]}")
        assert (created.status, created.data["status"]) == (201, "authorized")
        payment = stack.until(created.data["id"], status="captured")
        refund = stack.api.post(
            "payments/refunds", {"charge_reference": payment["reference"], "amount_minor": 25_000}
        ).data
        stack.until(payment["id"], refunded_minor=25_000)

        (batch,) = simulator.alpha.control("settlement", {"currency": "EUR"})["batches"]
        content = simulator.alpha.get(f"/v1/settlement/batches/{batch['batch_id']}/file").body
        account = stack.api.get(f"payments/{payment['id']}/trace").data["attempts"][0]["provider_account_id"]
        imported = stack.api.upload("settlement/files", content, provider_account=account, name="batch.csv")
        again = stack.api.upload("settlement/files", content, provider_account=account, name="batch.csv")

        settled = stack.until(payment["id"], settled_minor=125_000)
        assert settled["states"]["settlement"] == "settled"
        assert (imported.status, again.status) == (201, 200)
        stack.receiver.wait_for(
            payment["id"],
            "payment.created",
            "payment.authorized",
            "payment.captured",
            "payment.settled",
            seconds=WAIT_SECONDS,
        )
        stack.receiver.wait_for(refund["id"], "refund.created", "refund.posted", "refund.settled", seconds=WAIT_SECONDS)
        assert stack.receiver.refused == 0
        assert [proof for proof in verify_books(workspace_id=stack.shop.workspace_id) if proof.violations] == []

    def test_a_client_that_gave_up_waiting_repeats_and_is_charged_once(self, stack: Stack, simulator: Simulator):
        key = uuid.uuid4().hex
        body = {"amount_minor": 48_000, "currency": "EUR", "payment_token_id": "tok_sandbox_accept_then_timeout"}
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            urllib3.request(
                "POST",
                f"{stack.api.base_url}/api/v1/payments",
                body=json.dumps(body).encode(),
                headers={**stack.shop.tenant.headers, "Idempotency-Key": key, "Content-Type": "application/json"},
                timeout=0.5,
                retries=False,
            )

        repeated = stack.api.post("payments", body, key=key)

        assert (repeated.status, repeated.data["status"]) == (202, "processing")
        time.sleep(2.5)
        stack.shop.resolve(repeated.data["id"])
        known = stack.api.post("payments", body, key=key)
        replayed = stack.api.post("payments", body, key=key)
        assert (known.status, known.data["id"]) == (201, repeated.data["id"])
        assert replayed.content == known.content
        (attempt, *_) = stack.api.get(f"payments/{known.data['id']}/trace").data["attempts"]
        assert len(simulator.alpha.by_reference(attempt["id"])) == 1
