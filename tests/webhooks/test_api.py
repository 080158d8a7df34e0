from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from tests.factories.tenancy import OPERATOR, Tenant, make_tenant
from tests.factories.webhooks import make_endpoint, publish_one
from tests.webhooks.receiver import Receiver
from webhooks.models import Delivery, Endpoint
from webhooks.services import sending
from zentra.core.clock import SYSTEM_CLOCK
from zentra.tenancy import services as tenancy
from zentra.tenancy.types import KeyKind, Scope

ROOT = "/api/v1"


class Api:
    def __init__(self, tenant: Tenant, key: str | None = None) -> None:
        self._client = Client()
        self._headers = {"Authorization": f"Bearer {key}"} if key else tenant.headers

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        return self._client.generic(
            method,
            f"{ROOT}{path}",
            data=b"" if body is None else json.dumps(body),
            content_type="application/json",
            headers=self._headers,
        )


@pytest.fixture
def api(tenant: Tenant) -> Api:
    return Api(tenant)


def create(api: Api, **body: Any) -> dict[str, Any]:
    response = api("POST", "/webhooks/endpoints", {"url": "http://127.0.0.1:9/", **body})
    assert response.status_code == 201, response.content
    data: dict[str, Any] = response.json()["data"]
    return data


class TestEndpoints:
    def test_the_secret_is_shown_at_creation_and_never_again(self, api: Api) -> None:
        created = create(api, description="orders", enabled_events=["payment.created"])

        assert created["secret"].startswith("whsec_")
        shown = [
            api("GET", f"/webhooks/endpoints/{created['id']}").json()["data"],
            api("GET", "/webhooks/endpoints").json()["data"][0],
            api("PATCH", f"/webhooks/endpoints/{created['id']}", {"description": "x"}).json()["data"],
        ]
        assert [body["id"] for body in shown] == [created["id"]] * 3
        assert all("secret" not in body for body in shown)
        assert shown[0]["enabled_events"] == ["payment.created"]

    def test_change_only_what_is_given(self, api: Api) -> None:
        created = create(api, description="orders", enabled_events=["payment.created"])

        changed = api("PATCH", f"/webhooks/endpoints/{created['id']}", {"status": "disabled"}).json()["data"]

        assert (changed["status"], changed["disabled_reason"]) == ("disabled", "by_request")
        assert (changed["description"], changed["enabled_events"]) == ("orders", ["payment.created"])
        again = api("PATCH", f"/webhooks/endpoints/{created['id']}", {"status": "enabled"}).json()["data"]
        assert (again["status"], again["disabled_at"]) == ("enabled", None)

    def test_rotating_shows_the_new_secret(self, api: Api) -> None:
        created = create(api)

        response = api("POST", f"/webhooks/endpoints/{created['id']}/rotate-secret", {"overlap_seconds": 60})

        assert response.status_code == 200
        rotated = response.json()["data"]
        assert rotated["secret"] not in ("", created["secret"])
        assert rotated["previous_secret_valid_until"] is not None

    def test_rotating_needs_no_body(self, api: Api) -> None:
        created = create(api)

        assert api("POST", f"/webhooks/endpoints/{created['id']}/rotate-secret").status_code == 200

    def test_deleted_ones_are_gone(self, api: Api) -> None:
        created = create(api)

        response = api("DELETE", f"/webhooks/endpoints/{created['id']}")

        assert (response.status_code, response.content) == (204, b"")
        assert api("GET", f"/webhooks/endpoints/{created['id']}").status_code == 404
        assert api("GET", "/webhooks/endpoints").json()["data"] == []

    @pytest.mark.parametrize(
        ("body", "code", "field"),
        [
            ({}, "missing_required_field", "url"),
            ({"url": 5}, "invalid_format", "url"),
            ({"url": "http://169.254.169.254/"}, "webhook_url_refused", "url"),
            ({"url": "http://127.0.0.1:9/", "enabled_events": ["x"]}, "webhook_event_types_refused", "enabled_events"),
            ({"url": "http://127.0.0.1:9/", "secret": "mine"}, None, "secret"),
        ],
    )
    def test_a_wrong_body_gets_a_typed_error_and_writes_nothing(
        self, api: Api, body: dict[str, Any], code: str | None, field: str
    ) -> None:
        response = api("POST", "/webhooks/endpoints", body)

        error = response.json()["error"]
        assert (response.status_code, error["field"]) == (422, field)
        assert code is None or error["code"] == code
        assert not Endpoint.objects.exists()


class TestDeliveries:
    def test_a_test_event_is_queued_and_listed(self, api: Api, tenant: Tenant) -> None:
        created = create(api)

        response = api("POST", f"/webhooks/endpoints/{created['id']}/test", {})

        assert response.status_code == 202
        queued = response.json()["data"]
        assert (queued["event_type"], queued["state"], queued["trigger"]) == ("webhook.test", "pending", "manual")
        listed = api("GET", f"/webhooks/deliveries?endpoint_id={created['id']}&state=pending").json()
        assert [row["id"] for row in listed["data"]] == [queued["id"]]
        assert listed["pagination"]["total"] == 1
        assert api("GET", "/webhooks/deliveries?state=delivered").json()["data"] == []

    def test_a_delivery_shows_its_attempts(self, committed_tenant: Tenant, receiver: Receiver) -> None:
        api = Api(committed_tenant)
        make_endpoint(committed_tenant, receiver.url)
        publish_one(committed_tenant)
        sending.deliver_due(clock=SYSTEM_CLOCK)

        [listed] = api("GET", "/webhooks/deliveries").json()["data"]
        shown = api("GET", f"/webhooks/deliveries/{listed['id']}").json()["data"]

        assert (shown["state"], shown["attempts"], shown["last_status"]) == ("delivered", 1, 200)
        [attempt] = shown["attempt_log"]
        assert (attempt["number"], attempt["status_code"], attempt["response"]) == (1, 200, "ok")

    def test_a_replay_sends_the_same_bytes_again(self, committed_tenant: Tenant, receiver: Receiver) -> None:
        api = Api(committed_tenant)
        make_endpoint(committed_tenant, receiver.url)
        publish_one(committed_tenant)
        sending.deliver_due(clock=SYSTEM_CLOCK)
        original = Delivery.objects.get()

        response = api("POST", f"/webhooks/deliveries/{original.public_id}/replay")
        sending.deliver_due(clock=SYSTEM_CLOCK)

        assert response.status_code == 202
        first, second = receiver.got
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert second.headers["x-delivery-id"] == response.json()["data"]["id"] != original.public_id

    @pytest.mark.parametrize("query", ["endpoint_id=pay_1", "event_id=x", "state=lost"])
    def test_a_filter_that_means_nothing_is_refused(self, api: Api, query: str) -> None:
        assert api("GET", f"/webhooks/deliveries?{query}").status_code == 422


class TestEvents:
    def test_the_feed_shows_events_as_delivered(self, committed_tenant: Tenant) -> None:
        from tests.webhooks.test_feed import read_until

        event = publish_one(committed_tenant, amount_minor=125000)
        read_until(committed_tenant, 1)

        body = Api(committed_tenant)("GET", "/events?limit=1").json()

        assert body["data"] == [json.loads(bytes(event.body))]
        assert body["pagination"]["has_more"] is False
        after = body["pagination"]["next_after"]
        assert Api(committed_tenant)("GET", f"/events?after={after}").json()["data"] == []

    def test_a_foreign_cursor_is_refused(self, api: Api) -> None:
        assert api("GET", "/events?after=nonsense").json()["error"]["field"] == "after"


class TestAccess:
    def routes(self, endpoint_id: str, delivery_id: str) -> list[tuple[str, str]]:
        return [
            ("GET", f"/webhooks/endpoints/{endpoint_id}"),
            ("PATCH", f"/webhooks/endpoints/{endpoint_id}"),
            ("DELETE", f"/webhooks/endpoints/{endpoint_id}"),
            ("POST", f"/webhooks/endpoints/{endpoint_id}/rotate-secret"),
            ("POST", f"/webhooks/endpoints/{endpoint_id}/test"),
            ("GET", f"/webhooks/deliveries/{delivery_id}"),
            ("POST", f"/webhooks/deliveries/{delivery_id}/replay"),
        ]

    def test_ids_of_another_workspace_name_nothing(self, tenant: Tenant) -> None:
        endpoint = make_endpoint(tenant).endpoint
        publish_one(tenant)
        delivery = Delivery.objects.get()
        stranger = Api(make_tenant("Stranger"))

        answers = [
            stranger(method, path, {} if method != "GET" else None).status_code
            for method, path in self.routes(endpoint.public_id, delivery.public_id)
        ]

        assert answers == [404] * 7
        assert stranger("GET", "/webhooks/endpoints").json()["data"] == []
        assert stranger("GET", "/webhooks/deliveries").json()["data"] == []
        assert (Endpoint.objects.get().status, Delivery.objects.count()) == ("enabled", 1)

    @pytest.mark.parametrize("text", ["x", "whe_", "pay_01h455vb4pex5vsknk084sn02q"])
    def test_text_that_is_no_id_names_nothing(self, api: Api, text: str) -> None:
        assert [api(method, path, {}).status_code for method, path in self.routes(text, text)] == [404] * 7

    def test_a_key_without_the_scope_is_refused(self, tenant: Tenant) -> None:
        key = tenancy.create_api_key(
            workspace=tenant.workspace,
            name="reader",
            kind=KeyKind.SECRET,
            actor=OPERATOR,
            scopes=[Scope.WEBHOOKS_READ],
        )
        reader = Api(tenant, key.text.text)

        assert reader("GET", "/webhooks/endpoints").status_code == 200
        assert reader("POST", "/webhooks/endpoints", {"url": "http://127.0.0.1:9/"}).status_code == 403
        assert not Endpoint.objects.exists()
