from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from tests.conftest import CommittedDatabase
from tests.factories.tenancy import Tenant, make_tenant
from tests.factories.webhooks import change_endpoint, make_endpoint, publish_inside, publish_one
from webhooks.models import Delivery, Event
from webhooks.services import publish
from zentra.core.clock import SYSTEM_CLOCK
from zentra.core.db import NotInTransaction
from zentra.core.ids import public_id
from zentra.core.registries import EventFact, publish_fact
from zentra.evidence.types import RequestContext


def facts(tenant: Tenant, *object_ids: str) -> list[EventFact]:
    return [EventFact(tenant.workspace.id, "payment.created", "payment", name) for name in object_ids]


class TestPublishEvent:
    def test_the_envelope_is_as_documented(self, tenant: Tenant) -> None:
        with transaction.atomic():
            event = publish.publish_event(
                workspace_id=tenant.workspace.id,
                type="payment.created",
                object_type="payment",
                object_id="pay_1",
                data={"amount_minor": 125000, "note": "Köln"},
                clock=SYSTEM_CLOCK,
                request=RequestContext(request_id="req_1", idempotency_key="order-1"),
            )

        assert json.loads(bytes(event.body)) == {
            "id": event.public_id,
            "type": "payment.created",
            "api_version": "v1",
            "created_at": event.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "workspace_id": public_id("wsp", tenant.workspace.id),
            "environment": "sandbox",
            "sequence": 1,
            "object": {"type": "payment", "id": "pay_1"},
            "data": {"amount_minor": 125000, "note": "Köln"},
            "request": {"id": "req_1", "idempotency_key": "order-1"},
        }

    def test_the_row_read_back_is_the_one_returned_and_knows_the_hash_of_its_bytes(self, tenant: Tenant) -> None:
        event = publish_one(tenant)

        stored = Event.objects.get()
        assert bytes(stored.body) == bytes(event.body)
        assert bytes(stored.body_sha256) == hashlib.sha256(bytes(event.body)).digest()
        assert (stored.id, stored.sequence, stored.created_at) == (event.id, 1, event.created_at)
        assert stored.transaction_id > 0

    def test_it_takes_two_statements_however_many_endpoints_and_events(self, tenant: Tenant) -> None:
        for _ in range(3):
            make_endpoint(tenant)
        publish_one(tenant)

        with transaction.atomic(), CaptureQueriesContext(connection) as one:
            publish_inside(tenant.workspace.id)
        with transaction.atomic(), CaptureQueriesContext(connection) as many:
            publish.publish_events(facts=facts(tenant, *"abcdef"), clock=SYSTEM_CLOCK)

        assert (len(one), len(many)) == (2, 2)
        assert Delivery.objects.count() == 3 + 3 + 18

    def test_outside_a_transaction_it_is_refused_and_nothing_is_written(self, committed_tenant: Tenant) -> None:
        with pytest.raises(NotInTransaction):
            publish_inside(committed_tenant.workspace.id)

        assert not Event.objects.exists()

    def test_it_goes_away_with_its_transaction_and_takes_no_number(self, committed_tenant: Tenant) -> None:
        make_endpoint(committed_tenant)

        with transaction.atomic():
            publish_inside(committed_tenant.workspace.id)
            transaction.set_rollback(True)

        assert not Event.objects.exists()
        assert not Delivery.objects.exists()
        assert publish_one(committed_tenant).sequence == 1

    def test_an_event_over_the_limit_is_a_defect_and_writes_nothing(self, tenant: Tenant) -> None:
        with pytest.raises(publish.EventTooLarge):
            publish_one(tenant, text="x" * publish.MAX_BODY_BYTES)

        assert not Event.objects.exists()

    def test_more_events_than_the_limit_are_refused(self, tenant: Tenant) -> None:
        with pytest.raises(ValueError, match="at most"), transaction.atomic():
            publish.publish_events(facts=facts(tenant, *["a"] * 1001), clock=SYSTEM_CLOCK)

    def test_packages_below_publish_through_the_registry(self, tenant: Tenant) -> None:
        with transaction.atomic():
            publish_fact(facts(tenant, "pay_9")[0])

        assert Event.objects.get().object_id == "pay_9"


class TestSequence:
    def test_rises_by_one_per_object(self, tenant: Tenant) -> None:
        found = [publish_one(tenant, name).sequence for name in ("a", "b", "a", "a", "b")]

        assert found == [1, 1, 2, 3, 2]

    def test_many_events_of_one_object_in_one_call_keep_their_order(self, tenant: Tenant) -> None:
        publish_one(tenant, "a")
        with transaction.atomic():
            events = publish.publish_events(facts=facts(tenant, "a", "b", "a", "a"), clock=SYSTEM_CLOCK)

        assert [(event.object_id, event.sequence) for event in events] == [("a", 2), ("b", 1), ("a", 3), ("a", 4)]

    def test_two_workspaces_count_apart(self, tenant: Tenant) -> None:
        publish_one(tenant, "a")

        assert publish_one(make_tenant("Other"), "a").sequence == 1

    def test_publishers_at_the_same_moment_get_every_number_once(
        self, committed_tenant: Tenant, in_threads: Callable[..., list[Any]]
    ) -> None:
        def publish_some(_index: int) -> list[int]:
            return [publish_one(committed_tenant, "pay_1").sequence for _ in range(10)]

        results = in_threads(publish_some, list(range(8)))

        assert sorted(number for numbers in results for number in numbers) == list(range(1, 81))

    def test_publishers_that_share_objects_in_any_order_do_not_wait_in_a_circle(
        self, committed_tenant: Tenant, in_threads: Callable[..., list[Any]]
    ) -> None:
        def publish_both(index: int) -> None:
            names = ("a", "b") if index % 2 else ("b", "a")
            for _ in range(15):
                with transaction.atomic():
                    publish.publish_events(facts=facts(committed_tenant, *names), clock=SYSTEM_CLOCK)

        results = in_threads(publish_both, list(range(6)))

        assert results == [None] * 6
        assert Event.objects.count() == 6 * 15 * 2


class TestDeliveries:
    def test_one_for_every_enabled_endpoint_that_wants_the_type(self, tenant: Tenant) -> None:
        every = make_endpoint(tenant).endpoint
        wanting = make_endpoint(tenant, enabled_events=["refund.posted", "payment.created"]).endpoint
        make_endpoint(tenant, enabled_events=["refund.posted"])
        change_endpoint(tenant, make_endpoint(tenant).endpoint, enabled=False)
        make_endpoint(make_tenant("Other"))

        publish_one(tenant)

        deliveries = Delivery.objects.all()
        assert {delivery.endpoint_id for delivery in deliveries} == {every.id, wanting.id}
        assert {(d.state, d.trigger, d.attempts, d.workspace_id) for d in deliveries} == {
            ("pending", "auto", 0, tenant.workspace.id)
        }


class TestAppendOnly:
    @pytest.mark.parametrize("table", ["webhooks_event", "webhooks_deliveryattempt"])
    @pytest.mark.parametrize("role", ["zentra_app", "zentra_owner"])
    @pytest.mark.parametrize(
        "statement", ["UPDATE {} SET workspace_id = workspace_id", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
    )
    def test_the_database_refuses_to_change_what_was_told(
        self, committed: CommittedDatabase, committed_tenant: Tenant, table: str, role: str, statement: str
    ) -> None:
        from webhooks.services import sending

        make_endpoint(committed_tenant)
        publish_one(committed_tenant)
        sending.deliver_due(clock=SYSTEM_CLOCK)

        with committed.connect(role) as raw, pytest.raises(Exception) as refusal:  # noqa: PT011 - the driver's own
            raw.execute(statement.format(table))

        assert refusal.value.sqlstate in ("23001", "42501")  # restrict_violation, insufficient_privilege

    def test_a_sequence_cannot_be_given_twice(self, tenant: Tenant) -> None:
        event = publish_one(tenant)
        event.id = None

        with pytest.raises(DatabaseError), transaction.atomic():
            Event(
                **{
                    f.attname: getattr(event, f.attname)
                    for f in Event._meta.fields
                    if f.name not in ("id", "transaction_id")
                }
            ).save(force_insert=True)
