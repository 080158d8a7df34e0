"""The admin's pages of webhooks, asked for as a browser would."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from tests.conftest import CommittedDatabase
from tests.factories.tenancy import Tenant
from tests.factories.webhooks import make_endpoint, publish_one
from webhooks.models import Delivery, Endpoint
from webhooks.services import sending
from webhooks.signing import parse_secret
from zentra.core.clock import SYSTEM_CLOCK
from zentra.tenancy.models import User


@pytest.fixture
def admin(committed: CommittedDatabase) -> Client:
    # Committed: the services open durable transactions, as they do behind a real server.
    client = Client()
    client.force_login(User.objects.create_superuser("ada", password="not used"))
    return client


def act(admin: Client, model: str, action: str, row: Any) -> str:
    response = admin.post(
        f"/admin/webhooks/{model}/", {"action": action, "_selected_action": [str(row.pk)]}, follow=True
    )
    assert response.status_code == 200
    return response.content.decode()


def shown_secret(page: str) -> bytes:
    found = re.findall(r"whsec_[A-Za-z0-9+/=]+", page.replace("&#x3D;", "=").replace("&#x2B;", "+"))
    assert len(found) == 1
    return parse_secret(found[0])


class TestEndpointPages:
    def test_creating_goes_through_the_service_and_shows_the_secret_once(
        self, admin: Client, committed_tenant: Tenant
    ) -> None:
        form = {
            "workspace": str(committed_tenant.workspace.id),
            "url": "http://127.0.0.1:9/",
            "description": "orders",
            "enabled_events": "payment.created, refund.posted",
        }

        page = admin.post("/admin/webhooks/endpoint/add/", form, follow=True).content.decode()

        endpoint = Endpoint.objects.get()
        assert len(shown_secret(page)) == 32
        assert endpoint.enabled_events == ["payment.created", "refund.posted"]
        again = admin.get(f"/admin/webhooks/endpoint/{endpoint.pk}/change/").content.decode()
        assert "whsec_" not in again

    def test_a_refused_url_is_said_beside_its_field(self, admin: Client, committed_tenant: Tenant) -> None:
        form = {"workspace": str(committed_tenant.workspace.id), "url": "http://10.0.0.1/", "description": ""}

        page = admin.post("/admin/webhooks/endpoint/add/", form).content.decode()

        assert "outside the public internet" in page
        assert not Endpoint.objects.exists()

    def test_a_change_is_saved(self, admin: Client, committed_tenant: Tenant) -> None:
        endpoint = make_endpoint(committed_tenant).endpoint

        admin.post(
            f"/admin/webhooks/endpoint/{endpoint.pk}/change/",
            {"url": "http://127.0.0.1:10/", "description": "new", "enabled_events": ""},
        )

        changed = Endpoint.objects.get()
        assert (changed.url, changed.description, changed.enabled_events) == ("http://127.0.0.1:10/", "new", [])
        assert bytes(changed.secret) == bytes(endpoint.secret)

    def test_the_actions_switch_rotate_test_and_delete(self, admin: Client, committed_tenant: Tenant) -> None:
        endpoint = make_endpoint(committed_tenant).endpoint

        act(admin, "endpoint", "disable", endpoint)
        assert Endpoint.objects.get().status == "disabled"
        act(admin, "endpoint", "enable", endpoint)
        assert Endpoint.objects.get().status == "enabled"
        assert len(shown_secret(act(admin, "endpoint", "rotate_secret", endpoint))) == 32
        act(admin, "endpoint", "send_test", endpoint)
        assert Delivery.objects.get().event.type == "webhook.test"
        act(admin, "endpoint", "delete_endpoint", endpoint)
        assert Endpoint.objects.get().deleted_at is not None
        assert "No such webhook endpoint" in act(admin, "endpoint", "enable", endpoint)


class TestLogPages:
    def test_show_event_delivery_and_attempts_and_send_again(self, admin: Client, committed_tenant: Tenant) -> None:
        make_endpoint(committed_tenant)
        event = publish_one(committed_tenant)
        sending.deliver_due(clock=SYSTEM_CLOCK)
        delivery = Delivery.objects.get()

        assert event.public_id in admin.get("/admin/webhooks/event/").content.decode()
        event_page = admin.get(f"/admin/webhooks/event/{event.pk}/change/").content.decode()
        assert bytes(event.body_sha256).hex() in event_page
        assert delivery.public_id in admin.get("/admin/webhooks/delivery/").content.decode()
        page = admin.get(f"/admin/webhooks/delivery/{delivery.pk}/change/").content.decode()
        assert "connect_refused" in page
        act(admin, "delivery", "replay", delivery)
        assert Delivery.objects.filter(trigger="manual").count() == 1

    def test_nothing_there_can_be_added_changed_or_deleted(self, admin: Client, committed_tenant: Tenant) -> None:
        make_endpoint(committed_tenant)
        event = publish_one(committed_tenant)

        answers = [
            admin.post("/admin/webhooks/event/add/").status_code,
            admin.post(f"/admin/webhooks/event/{event.pk}/change/", {"type": "x"}).status_code,
            admin.post(f"/admin/webhooks/event/{event.pk}/delete/", {"post": "yes"}).status_code,
            admin.post("/admin/webhooks/delivery/add/").status_code,
            admin.post(f"/admin/webhooks/endpoint/{Endpoint.objects.get().pk}/delete/", {"post": "yes"}).status_code,
        ]

        assert answers == [403] * 5
