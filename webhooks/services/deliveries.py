"""What a person asks of deliveries: sending one again, and sending a test."""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction

from webhooks.models import Delivery, Endpoint
from webhooks.selectors import DeliveryNotFound, EndpointNotFound
from webhooks.services import publish
from webhooks.types import EventFact, SendTrigger
from zentra.core.clock import SYSTEM_CLOCK, Clock
from zentra.core.errors import Conflict
from zentra.core.ids import new_id, public_id
from zentra.evidence.services import record_evidence
from zentra.evidence.types import Fact, RequestContext
from zentra.tenancy.types import Actor

TEST_EVENT = "webhook.test"


class EndpointDeleted(Conflict):
    code = "webhook_endpoint_deleted"
    summary = "The endpoint of this delivery was deleted."
    remedy = "Register an endpoint; events after that are sent there."


class ReplayUnderWay(Conflict):
    code = "webhook_replay_under_way"
    summary = "The event is being sent to this endpoint again already."
    remedy = "Wait for that delivery to finish; it is listed with `trigger` manual."


@transaction.atomic(durable=True)
def replay_delivery(
    *,
    workspace_id: UUID,
    delivery_id: UUID,
    actor: Actor,
    clock: Clock,
    request: RequestContext | None = None,
) -> Delivery:
    """Send a delivery's event to its endpoint once more: the same bytes and event id, signed anew.

    The replay is a delivery of its own with ``trigger=manual`` and one attempt; it is sent even while the
    endpoint is disabled, and changes nothing about the delivery that it repeats.

    :param clock: the workspace's clock, for the evidence
    :raises DeliveryNotFound:
    :raises EndpointDeleted: there is nowhere to send it
    :raises ReplayUnderWay: one replay at a time; nothing is written
    """
    original = (
        Delivery.objects.select_related("endpoint", "event").filter(workspace_id=workspace_id, id=delivery_id).first()
    )
    if original is None:
        raise DeliveryNotFound
    if original.endpoint.deleted_at is not None:
        raise EndpointDeleted
    now = SYSTEM_CLOCK.now()
    try:
        with transaction.atomic():
            replay = Delivery.objects.create(
                id=new_id(),
                workspace_id=workspace_id,
                event=original.event,
                endpoint=original.endpoint,
                trigger=SendTrigger.MANUAL,
                created_at=now,
                next_at=now,
            )
    except IntegrityError:
        raise ReplayUnderWay from None
    _record(workspace_id, "replayed", original.public_id, actor, clock, request, replay)
    publish.hint_deliveries()
    return replay


@transaction.atomic(durable=True)
def send_test_event(
    *,
    workspace_id: UUID,
    endpoint_id: UUID,
    actor: Actor,
    clock: Clock,
    request: RequestContext | None = None,
) -> Delivery:
    """Send ``webhook.test`` to one endpoint, once, whatever event types it lists.

    :raises EndpointNotFound:
    """
    if not Endpoint.objects.filter(workspace_id=workspace_id, id=endpoint_id, deleted_at=None).exists():
        raise EndpointNotFound
    name = public_id("whe", endpoint_id)
    fact = EventFact(
        workspace_id=workspace_id,
        type=TEST_EVENT,
        object_type="webhook_endpoint",
        object_id=name,
        data={"endpoint_id": name, "message": "A test event: nothing happened."},
    )
    delivery = publish.publish_to_endpoint(fact=fact, endpoint_id=endpoint_id, clock=clock, request=request)
    _record(workspace_id, "tested", name, actor, clock, request, delivery)
    return delivery


def _record(
    workspace_id: UUID,
    action: str,
    subject: str,
    actor: Actor,
    clock: Clock,
    request: RequestContext | None,
    delivery: Delivery,
) -> None:
    fact = Fact(
        workspace_id=workspace_id,
        actor=actor,
        action=f"webhook_delivery.{action}",
        subject=subject,
        request=request or RequestContext(),
        data={"delivery_id": delivery.public_id, "event_id": public_id("evt", delivery.event_id)},
    )
    record_evidence(facts=[fact], clock=clock)
