from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from payments.models import Attempt
from tests.browser.conftest import HEIGHT, WIDTH, Window
from tests.conftest import CommittedDatabase
from tests.factories.shop import Shop, open_shop
from tests.servers import web_server
from tests.simulator.process import Simulator
from webhooks.services import endpoints
from zentra.core.clock import SYSTEM_CLOCK
from zentra.tenancy.models import User
from zentra.tenancy.types import Actor

PASSWORD = "a phrase for the tests"
KEY = re.compile(r"[sp]k_sandbox_[0-9A-Za-z]{46}")


@pytest.fixture
def shop(committed_database: CommittedDatabase, simulator: Simulator, django_db_blocker: Any) -> Iterator[Shop]:
    """A shop with a day's work behind it, and its operator."""
    with django_db_blocker.unblock():
        User.objects.create_superuser("ada", first_name="Ada", last_name="Byron", password=PASSWORD)
        shop = open_shop(simulator, name="Acme Outdoor")
        endpoints.create_endpoint(
            workspace_id=shop.workspace_id,
            url="http://127.0.0.1:9/webhooks",
            description="shop backend",
            actor=Actor(kind="operator", id="ada"),
            clock=SYSTEM_CLOCK,
        )
        for number, amount in enumerate((4_990, 18_900, 125_000, 7_250), start=1):
            shop.captured(amount, reference=f"ORD-10{number:02d}", customer_id=f"customer-{number}")
        shop.refund("ORD-1002", 5_000, reason="requested_by_customer")
        shop.work()
        shop.pay(9_900, "declined_stolen_card", reference="ORD-1005")
        shop.pay(42_000, "fault_at_alpha", reference="ORD-1006", capture_method="manual")
        shop.pay(63_700, "accept_then_timeout", reference="ORD-1007")
        shop.pay(12_345, "accept_then_timeout", reference="ORD-1008")
        Attempt.objects.filter(payment__reference="ORD-1007").update(needs_operator=True)
        yield shop


@pytest.fixture
def window(
    shop: Shop, committed_database: CommittedDatabase, chromium: Browser, screenshots: Any
) -> Iterator[Window]:
    with web_server(committed_database.environment(), threads=8) as server:
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        yield Window(page, server, screenshots)


class TestTheConsole:
    def test_leads_from_the_login_over_the_overview_to_a_payment_s_story(self, window: Window, shop: Shop):
        window.open("/admin/")
        window.shoot("login")
        window.log_in("ada", PASSWORD)
        window.shoot("dashboard", whole=True)
        assert "Unknown outcomes" in window.text()
        assert "637.00 EUR" in window.text()

        window.open("/admin/payments/payment/")
        window.shoot("payment-list")
        window.page.get_by_role("link", name="ORD-1003", exact=True).click()
        window.page.wait_for_url("**/change/")
        window.shoot("payment-story", whole=True)
        assert "1,250.00 EUR" in window.text()
        assert "settlement_account" in window.text()
        assert not window.overflows()

        for name, path in PAGES.items():
            window.open(path)
            window.shoot(name, whole=True)
            assert not window.overflows(), path
        assert window.strangers() == []
        assert window.faults == []

    def test_shows_a_new_api_key_once(self, window: Window, shop: Shop):
        window.log_in("ada", PASSWORD)
        window.open("/admin/tenancy/apikey/add/")
        window.shoot("api-key-form", whole=True)
        window.page.select_option("select[name=workspace]", label="Acme Outdoor (sandbox)")
        window.page.fill("input[name=name]", "shop backend")
        window.page.select_option("select[name=kind]", "sk")
        window.page.get_by_role("button", name="Save", exact=True).click()
        window.page.wait_for_selector("input[readonly]")
        window.shoot("api-key-shown-once")
        text = window.page.input_value("input[readonly]")

        assert KEY.fullmatch(text)
        assert text not in window.page.url
        assert all(text not in str(cookie) for cookie in window.page.context.cookies())
        window.page.get_by_role("link", name="I have stored it").click()
        window.page.wait_for_url("**/apikey/")
        window.shoot("api-key-list")
        assert "shop backend" in window.text()
        assert text not in window.page.content()
        assert window.strangers() == []
        assert window.faults == []


PAGES = {
    "attempt-lane": "/admin/payments/attempt/",
    "journal-list": "/admin/ledger/journal/",
    "account-list": "/admin/ledger/account/",
    "provider-account-list": "/admin/routing/provideraccount/",
    "decision-list": "/admin/routing/routingdecision/",
    "endpoint-list": "/admin/webhooks/endpoint/",
    "event-list": "/admin/webhooks/event/",
    "delivery-list": "/admin/webhooks/delivery/",
    "evidence-list": "/admin/evidence/evidencerecord/",
    "idempotency-list": "/admin/idempotency/idempotencykey/",
    "workspace-list": "/admin/tenancy/workspace/",
    "merchant-list": "/admin/tenancy/merchant/",
    "user-list": "/admin/tenancy/user/",
}


class TestTheApiDocumentation:
    @pytest.mark.parametrize(("name", "path"), [("api-docs", "/api/docs/"), ("api-redoc", "/api/redoc/")])
    def test_shows_its_operations_without_leaving_this_machine(self, window: Window, name: str, path: str):
        window.open(path)
        window.page.wait_for_selector("text=/payments/charges", timeout=20_000)
        window.shoot(name)

        assert "Zentra payments API" in window.text()
        assert window.strangers() == []
        assert window.faults == []


