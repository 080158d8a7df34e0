from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from tests.core.test_http import LOOPBACK_SPELLINGS, MALFORMED_URLS, REFUSED_ADDRESSES, resolves_to
from tests.factories.tenancy import OPERATOR, Tenant, make_tenant
from tests.factories.webhooks import change_endpoint, key_of, make_endpoint, publish_one
from webhooks import selectors
from webhooks.models import Delivery, Endpoint
from webhooks.services import deliveries, endpoints
from webhooks.types import EndpointStatus
from zentra.core.clock import SYSTEM_CLOCK
from zentra.evidence.models import EvidenceRecord
from zentra.tenancy.types import Environment

SANDBOX, LIVE = Environment.SANDBOX, Environment.LIVE


def rotate(tenant: Tenant, endpoint: Endpoint, **options: Any) -> endpoints.NewSecret:
    return endpoints.rotate_secret(
        workspace_id=tenant.workspace.id, endpoint_id=endpoint.id, actor=OPERATOR, clock=SYSTEM_CLOCK, **options
    )


def replay(tenant: Tenant, delivery: Delivery) -> Delivery:
    return deliveries.replay_delivery(
        workspace_id=tenant.workspace.id, delivery_id=delivery.id, actor=OPERATOR, clock=SYSTEM_CLOCK
    )


def send_test(tenant: Tenant, endpoint: Endpoint) -> Delivery:
    return deliveries.send_test_event(
        workspace_id=tenant.workspace.id, endpoint_id=endpoint.id, actor=OPERATOR, clock=SYSTEM_CLOCK
    )


def delete(tenant: Tenant, endpoint: Endpoint) -> None:
    endpoints.delete_endpoint(
        workspace_id=tenant.workspace.id, endpoint_id=endpoint.id, actor=OPERATOR, clock=SYSTEM_CLOCK
    )


class TestUrls:
    @pytest.fixture(autouse=True)
    def _no_private_networks(self, settings: Any) -> None:
        settings.OUTGOING_ALLOWED_NETWORKS = []

    @pytest.mark.parametrize(
        ("url", "environment"),
        [
            ("https://hooks.example/a?b=c", LIVE),
            ("https://hooks.example:8443/", LIVE),
            ("https://8.8.8.8/", LIVE),
            ("http://hooks.example/", SANDBOX),
        ],
    )
    def test_public_hosts_are_accepted(
        self, url: str, environment: Environment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolves_to(monkeypatch, ["8.8.8.8", "2606:4700:4700::1111"])

        endpoints.require_acceptable_url(url=url, environment=environment)

    @pytest.mark.parametrize(
        ("url", "environment"),
        [
            ("http://hooks.example/", LIVE),
            ("http://hooks.example:8080/", SANDBOX),
            ("https://hooks.example:80/", SANDBOX),
            ("https://hooks.example:22/", LIVE),
            ("https://hooks.example:6379/", SANDBOX),
        ],
    )
    def test_other_schemes_and_ports_are_refused(
        self, url: str, environment: Environment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolves_to(monkeypatch, ["8.8.8.8"])

        with pytest.raises(endpoints.EndpointUrlRefused):
            endpoints.require_acceptable_url(url=url, environment=environment)

    @pytest.mark.parametrize("url", [*MALFORMED_URLS, *(f"https://{host}/" for host in LOOPBACK_SPELLINGS)])
    def test_hostile_urls_are_refused(self, url: str) -> None:
        with pytest.raises(endpoints.EndpointUrlRefused):
            endpoints.require_acceptable_url(url=url, environment=SANDBOX)

    @pytest.mark.parametrize("address", REFUSED_ADDRESSES)
    def test_names_with_a_special_address_are_refused(self, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
        resolves_to(monkeypatch, ["8.8.8.8", address])

        with pytest.raises(endpoints.EndpointUrlRefused):
            endpoints.require_acceptable_url(url="https://hooks.example/", environment=SANDBOX)

    def test_inside_the_operators_networks_http_and_any_port_are_the_operators_affair(self, settings: Any) -> None:
        settings.OUTGOING_ALLOWED_NETWORKS = ["10.0.0.0/8"]

        endpoints.require_acceptable_url(url="http://10.1.2.3:8080/", environment=LIVE)
        with pytest.raises(endpoints.EndpointUrlRefused):
            endpoints.require_acceptable_url(url="http://127.0.0.1:8080/", environment=LIVE)


class TestCreateEndpoint:
    def test_gives_the_secret_once_and_stores_it_sealed(self, tenant: Tenant) -> None:
        new = make_endpoint(tenant, description="orders", enabled_events=["payment.created"])

        stored = Endpoint.objects.get()
        assert key_of(new) not in bytes(stored.secret)
        assert new.secret not in repr(new)
        assert (stored.status, stored.description, stored.enabled_events) == (
            EndpointStatus.ENABLED,
            "orders",
            ["payment.created"],
        )

    def test_the_history_holds_no_secret(self, tenant: Tenant) -> None:
        make_endpoint(tenant)

        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM webhooks_historicalendpoint")
            columns = {column.name for column in cursor.description}
        assert "url" in columns
        assert not {"secret", "previous_secret"} & columns

    def test_leaves_evidence_without_url_and_secret(self, tenant: Tenant) -> None:
        new = make_endpoint(tenant, "http://127.0.0.1:9/?token=abc")

        content = EvidenceRecord.objects.get().content
        assert content["action"] == "webhook_endpoint.created"
        assert content["subject"] == new.endpoint.public_id
        assert "token=abc" not in str(content)

    def test_a_refused_url_writes_nothing(self, tenant: Tenant) -> None:
        with pytest.raises(endpoints.EndpointUrlRefused):
            make_endpoint(tenant, "http://169.254.169.254/latest")

        assert not Endpoint.objects.exists()

    @pytest.mark.parametrize("types", [["a.b", "a.b"], ["payment"], ["a b.c"], [""], ["a." + "b" * 80], ["a.b"] * 101])
    def test_malformed_event_types_are_refused(self, tenant: Tenant, types: list[str]) -> None:
        with pytest.raises(endpoints.EventTypesRefused):
            make_endpoint(tenant, enabled_events=types)

        assert not Endpoint.objects.exists()

    def test_a_workspace_has_a_bounded_number(self, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 2)
        first = make_endpoint(tenant).endpoint
        make_endpoint(tenant)

        with pytest.raises(endpoints.TooManyEndpoints):
            make_endpoint(tenant)

        delete(tenant, first)
        make_endpoint(tenant)
        assert selectors.endpoints_of(tenant.workspace.id).count() == 2


class TestRotateSecret:
    def test_at_most_two_secrets_are_valid(self, tenant: Tenant) -> None:
        endpoint = make_endpoint(tenant).endpoint
        rotate(tenant, endpoint)
        before = bytes(Endpoint.objects.get().secret)

        with pytest.raises(endpoints.RotationUnderWay):
            rotate(tenant, endpoint)

        assert bytes(Endpoint.objects.get().secret) == before

    def test_without_overlap_every_earlier_secret_ends_now(self, tenant: Tenant) -> None:
        endpoint = make_endpoint(tenant).endpoint
        rotate(tenant, endpoint)

        rotate(tenant, endpoint, overlap_seconds=0)

        assert Endpoint.objects.get().previous_secret is None

    @pytest.mark.parametrize("seconds", [-1, 7 * 86400 + 1])
    def test_the_overlap_is_bounded(self, tenant: Tenant, seconds: int) -> None:
        endpoint = make_endpoint(tenant).endpoint

        with pytest.raises(endpoints.Unprocessable):
            rotate(tenant, endpoint, overlap_seconds=seconds)

        assert Endpoint.objects.get().previous_secret is None


class TestDeleteEndpoint:
    def test_erases_the_secret_cancels_what_waits_and_keeps_the_log(self, tenant: Tenant) -> None:
        endpoint = make_endpoint(tenant).endpoint
        publish_one(tenant)

        delete(tenant, endpoint)

        stored = Endpoint.objects.get()
        assert bytes(stored.secret) == b""
        assert stored.deleted_at is not None
        assert Delivery.objects.get().state == "cancelled"
        assert not selectors.endpoints_of(tenant.workspace.id).exists()

    def test_afterwards_it_gets_nothing_and_cannot_be_changed_tested_or_replayed_to(self, tenant: Tenant) -> None:
        endpoint = make_endpoint(tenant).endpoint
        publish_one(tenant)
        delete(tenant, endpoint)
        publish_one(tenant)

        with pytest.raises(selectors.EndpointNotFound):
            change_endpoint(tenant, endpoint, enabled=True)
        with pytest.raises(selectors.EndpointNotFound):
            send_test(tenant, endpoint)
        with pytest.raises(deliveries.EndpointDeleted):
            replay(tenant, Delivery.objects.get())
        assert Delivery.objects.count() == 1


class TestReplay:
    def test_is_a_delivery_of_its_own_and_changes_nothing_about_the_first(self, tenant: Tenant) -> None:
        make_endpoint(tenant)
        publish_one(tenant)
        original = Delivery.objects.get()

        again = replay(tenant, original)

        assert (again.event_id, again.endpoint_id) == (original.event_id, original.endpoint_id)
        assert (again.trigger, again.state, again.attempts) == ("manual", "pending", 0)
        unchanged = Delivery.objects.get(id=original.id)
        assert (unchanged.state, unchanged.next_at) == (original.state, original.next_at)

    def test_one_at_a_time(self, tenant: Tenant) -> None:
        make_endpoint(tenant)
        publish_one(tenant)
        original = Delivery.objects.get()
        replay(tenant, original)

        with pytest.raises(deliveries.ReplayUnderWay):
            replay(tenant, original)

        assert Delivery.objects.count() == 2

    def test_a_test_event_goes_to_its_endpoint_alone_even_while_disabled(self, tenant: Tenant) -> None:
        endpoint = make_endpoint(tenant, enabled_events=["a.b"]).endpoint
        make_endpoint(tenant)
        change_endpoint(tenant, endpoint, enabled=False)

        delivery = send_test(tenant, endpoint)

        assert Delivery.objects.get().id == delivery.id
        assert delivery.event.type == "webhook.test"
        assert selectors.due_delivery(SYSTEM_CLOCK.now()) == delivery.id


class TestOtherWorkspaces:
    def test_reach_nothing(self, tenant: Tenant) -> None:
        endpoint = make_endpoint(tenant).endpoint
        publish_one(tenant)
        delivery = Delivery.objects.get()
        stranger = make_tenant("Stranger")

        for attempt in (
            lambda: change_endpoint(stranger, endpoint, enabled=False),
            lambda: rotate(stranger, endpoint),
            lambda: send_test(stranger, endpoint),
            lambda: delete(stranger, endpoint),
            lambda: replay(stranger, delivery),
            lambda: selectors.endpoint_by_id(stranger.workspace.id, endpoint.id),
            lambda: selectors.delivery_by_id(stranger.workspace.id, delivery.id),
        ):
            with pytest.raises((selectors.EndpointNotFound, selectors.DeliveryNotFound)):
                attempt()
        assert not selectors.deliveries_of(stranger.workspace.id).exists()
        assert selectors.events_of_objects(stranger.workspace.id, ["pay_1"]) == []
        assert Endpoint.objects.get().status == "enabled"
        assert Delivery.objects.count() == 1


class TestEventsOfObjects:
    def test_tell_each_event_with_how_its_deliveries_stand(self, tenant: Tenant) -> None:
        make_endpoint(tenant)
        publish_one(tenant, "pay_1")
        publish_one(tenant, "re_1", "refund.posted")
        publish_one(tenant, "pay_2")

        found = selectors.events_of_objects(tenant.workspace.id, ["pay_1", "re_1"])

        assert [(event["type"], event["object_id"], event["sequence"]) for event in found] == [
            ("payment.created", "pay_1", 1),
            ("refund.posted", "re_1", 1),
        ]
        [delivery] = found[0]["deliveries"]
        assert (delivery["state"], delivery["attempts"], delivery["trigger"]) == ("pending", 0, "auto")
