"""Whose a key is: a workspace's, for one operation, whichever API key and whichever place it came in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from payments.models import Payment
from tests.factories.shop import Shop, open_shop
from tests.factories.tenancy import OPERATOR
from tests.simulator.process import Simulator
from zentra.core.clock import SYSTEM_CLOCK
from zentra.tenancy.models import ApiKey
from zentra.tenancy.services import rotate_api_key


@pytest.fixture
def shop(db: None, simulator: Simulator) -> Shop:
    return open_shop(simulator)


class TestAKey:
    def test_of_one_workspace_does_not_meet_another_ones(self, shop: Shop, simulator: Simulator):
        first = shop.pay(1000, key="key-1")
        second = open_shop(simulator, name="Other").pay(2000, key="key-1")

        assert (first.status, second.status) == (201, 201)
        assert first.data["id"] != second.data["id"]

    def test_of_one_operation_does_not_meet_another_ones(self, shop: Shop):
        paid = shop.pay(1000, key="key-1", capture_method="manual")

        captured = shop.capture(paid.data["id"], 400, key="key-1")

        assert (paid.status, captured.status) == (201, 201)

    def test_is_the_same_in_the_body_and_in_the_header(self, shop: Shop):
        body = {"amount_minor": 1000, "currency": "EUR"}

        first = shop.call("POST", "payments", {**body, "idempotency_key": "key-1"})
        again = shop.call("POST", "payments", body, key="key-1")

        assert again.content == first.content
        assert Payment.objects.count() == 1

    def test_does_not_ask_in_which_order_the_fields_stand(self, shop: Shop):
        first = shop.call("POST", "payments", b'{"amount_minor": 1000, "currency": "EUR"}', key="key-1")
        again = shop.call("POST", "payments", b'{ "currency":"EUR",\n"amount_minor":1000}', key="key-1")

        assert again.content == first.content

    def test_survives_the_rotation_of_the_api_key(self, shop: Shop):
        first = shop.pay(1000, key="key-1")
        new = rotate_api_key(key_id=ApiKey.objects.get().id, actor=OPERATOR, clock=SYSTEM_CLOCK)
        shop.tenant = replace(shop.tenant, secret_key=new.text.text)

        assert shop.pay(1000, key="key-1").content == first.content
        assert Payment.objects.count() == 1

    @pytest.mark.parametrize(
        "more", [{"amount_minor": 1001}, {"currency": "USD"}, {"metadata": {"a": "b"}}, {"capture_method": "manual"}]
    )
    def test_stands_for_one_content(self, shop: Shop, more: dict):
        first = shop.pay(1000, key="key-1")
        body = {"amount_minor": 1000, "currency": "EUR", "payment_token_id": "tok_sandbox_approved", **more}

        reply = shop.call("POST", "payments", body, key="key-1")

        assert (reply.status, reply.code) == (422, "idempotency_key_reused")
        assert reply.error["details"] == {"resource_id": first.data["id"]}
        assert Payment.objects.count() == 1
