from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import HEIGHT, WIDTH, Window
from tests.conftest import CommittedDatabase
from tests.factories.day import a_day_of_work
from tests.factories.shop import Shop
from tests.servers import web_server
from tests.simulator.process import Simulator
from zentra.tenancy.models import User

PASSWORD = "a phrase for the tests"
KEY = re.compile(r"[sp]k_sandbox_[0-9A-Za-z]{46}")


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
    "file-list": "/admin/settlement/settlementfile/",
    "line-list": "/admin/settlement/settlementline/",
    "run-list": "/admin/settlement/reconciliationrun/",
}
#: Lists whose first row is opened.
ROWS = {
    "attempt-page": "/admin/payments/attempt/",
    "journal-page": "/admin/ledger/journal/",
    "account-page": "/admin/ledger/account/",
    "provider-account-page": "/admin/routing/provideraccount/",
    "decision-page": "/admin/routing/routingdecision/",
    "endpoint-page": "/admin/webhooks/endpoint/",
    "event-page": "/admin/webhooks/event/",
    "delivery-page": "/admin/webhooks/delivery/",
    "evidence-page": "/admin/evidence/evidencerecord/",
    "workspace-page": "/admin/tenancy/workspace/",
    "api-key-page": "/admin/tenancy/apikey/",
    "user-page": "/admin/tenancy/user/",
}


@pytest.fixture
def shop(committed_database: CommittedDatabase, simulator: Simulator, django_db_blocker: Any) -> Iterator[Shop]:
    """A shop with a day's work behind it, and its operator."""
    with django_db_blocker.unblock():
        operator = User.objects.create_superuser("ada", first_name="Ada", last_name="Byron", password=PASSWORD)
        yield a_day_of_work(simulator, operator)


@pytest.fixture
def window(shop: Shop, committed_database: CommittedDatabase, chromium: Browser, screenshots: Any) -> Iterator[Window]:
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

        assert window.strangers() == []
        assert window.faults == []

    def test_shows_the_queue_of_drift_cases_and_each_case_with_its_money(self, window: Window, shop: Shop):
        window.log_in("ada", PASSWORD)
        window.open("/admin/settlement/driftcase/")
        window.shoot("case-list")
        text = window.text()
        for words in ("amount differs", "unknown reference", "control total"):
            assert words in text

        window.page.locator("#result_list tr", has_text="amount differs").locator("a").first.click()
        window.page.wait_for_url("**/driftcase/**/change/")
        window.shoot("case-page", whole=True)
        text = window.text()
        assert "1,250.00 EUR" in text
        assert "1,248.50 EUR" in text
        assert "1.50 EUR" in text

        window.page.get_by_role("button", name="Preview the closing").scroll_into_view_if_needed()
        window.page.fill("textarea[name=note]", "The provider kept a fee that its price list names.")
        window.page.get_by_role("button", name="Preview the closing").click()
        window.page.wait_for_load_state()
        window.shoot("case-close", whole=True)
        window.open("/admin/settlement/settlementbatch/")
        window.shoot("batch-list")
        window.page.locator("#result_list tr", has_text="control failed").locator("a").first.click()
        window.page.wait_for_url("**/settlementbatch/**/change/")
        window.shoot("batch-page", whole=True)
        assert window.strangers() == []
        assert window.faults == []

    def test_has_no_page_that_overflows_or_fails(self, window: Window, shop: Shop):
        window.log_in("ada", PASSWORD)
        for name, path in PAGES.items():
            window.open(path)
            window.shoot(name)
            assert not window.overflows(), path
        for name, path in ROWS.items():
            window.open(path)
            window.page.locator("#result_list tbody a").first.click()
            window.page.wait_for_url("**/change/")
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


class TestTheApiDocumentation:
    def test_shows_its_operations_without_leaving_this_machine(self, window: Window):
        window.open("/api/docs/")
        window.page.get_by_text("/api/v1/payments", exact=True).first.wait_for(timeout=30_000)
        window.shoot("api-docs")

        assert "Zentra payments API" in window.text()
        assert "/api/v1/payments/charges" in window.text().replace("\u200b", "")
        assert window.strangers() == []
        assert window.faults == []
