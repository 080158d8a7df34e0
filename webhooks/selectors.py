"""Reads of webhooks. Every read takes the workspace first, but for the relay's question whether anything is due."""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet

from webhooks.models import Delivery, DeliveryAttempt, Endpoint, Event
from webhooks.states import DeliveryState
from zentra.core.clock import iso_utc
from zentra.core.db import fetch_all
from zentra.core.errors import InvalidFormat, NotFound

MAX_FEED = 100
MAX_EVENTS_OF_OBJECTS = 500
#: How many rows a figure of the console is counted from at most.
MAX_COUNTED = 10_000

#: How many deliveries to one endpoint may be under way at once.
ENDPOINT_CONCURRENCY = 5
FIRST_TURN = UUID(int=0)

# The sendable deliveries, as the beginning of a statement: `automatic` and `manual`, each at most %(limit)s.
# `turn` walks over the endpoints that have pending deliveries, one index probe each, and stops when the batch is full.
# Of each endpoint only the head of its queue is looked at, as long as its concurrency: leased rows stand there too
# and so use it up. LIMIT 1 keeps the planner from reading every endpoint into a hash. Replays are sent to disabled
# endpoints as well.
DUE = """
WITH RECURSIVE turn (endpoint_id) AS (
    (SELECT endpoint_id FROM webhooks_delivery
     WHERE state = 'pending' AND trigger = 'auto' AND endpoint_id > %(after)s ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (SELECT other.endpoint_id FROM webhooks_delivery AS other
            WHERE other.state = 'pending' AND other.trigger = 'auto' AND other.endpoint_id > turn.endpoint_id
            ORDER BY other.endpoint_id LIMIT 1)
    FROM turn WHERE turn.endpoint_id IS NOT NULL
), automatic AS (
    SELECT head.id
    FROM turn
    CROSS JOIN LATERAL (
        SELECT id FROM webhooks_endpoint
        WHERE id = turn.endpoint_id AND status = 'enabled' AND deleted_at IS NULL
        LIMIT 1
    ) AS endpoint
    CROSS JOIN LATERAL (
        SELECT id, lease_until FROM webhooks_delivery
        WHERE endpoint_id = endpoint.id AND state = 'pending' AND trigger = 'auto' AND next_at <= %(now)s
        ORDER BY next_at, id LIMIT %(concurrency)s
    ) AS head
    WHERE head.lease_until IS NULL OR head.lease_until <= %(now)s
    LIMIT %(limit)s
), manual AS (
    SELECT id FROM webhooks_delivery
    WHERE state = 'pending' AND trigger = 'manual' AND next_at <= %(now)s
      AND (lease_until IS NULL OR lease_until <= %(now)s)
    ORDER BY next_at, id LIMIT %(limit)s
)"""

_FIRST_DUE = f"{DUE} SELECT id FROM manual UNION ALL SELECT id FROM automatic LIMIT 1"  # noqa: S608 - constants

# A transaction that is still open may commit an earlier number later. Only rows of transactions older than every
# open one are shown, in the order (transaction, id), so a reader that remembers the last pair misses nothing.
_FEED = """
SELECT id, transaction_id::text AS transaction_id, body
FROM webhooks_event
WHERE workspace_id = %(workspace_id)s
  AND (transaction_id, id) > (%(transaction_id)s::xid8, %(id)s::uuid)
  AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY transaction_id, id
LIMIT %(limit)s
"""


class EndpointNotFound(NotFound):
    code = "webhook_endpoint_not_found"
    summary = "No such webhook endpoint exists in this workspace."


class DeliveryNotFound(NotFound):
    code = "webhook_delivery_not_found"
    summary = "No such webhook delivery exists in this workspace."


@dataclass(frozen=True, slots=True)
class Feed:
    """A piece of the event feed.

    :param cursor: give it back to read on; it stays good when nothing new has come
    """

    events: list[dict[str, Any]]
    cursor: str
    has_more: bool


def endpoints_of(workspace_id: UUID) -> QuerySet[Endpoint]:
    """The workspace's endpoints, newest first, without deleted ones."""
    return Endpoint.objects.filter(workspace_id=workspace_id, deleted_at=None).order_by("-created_at", "-id")


def endpoint_by_id(workspace_id: UUID, endpoint_id: UUID) -> Endpoint:
    """:raises EndpointNotFound: deleted ones too"""
    endpoint = endpoints_of(workspace_id).filter(id=endpoint_id).first()
    if endpoint is None:
        raise EndpointNotFound
    return endpoint


def deliveries_of(
    workspace_id: UUID,
    *,
    endpoint_id: UUID | None = None,
    event_id: UUID | None = None,
    state: DeliveryState | None = None,
) -> QuerySet[Delivery]:
    """The workspace's deliveries, newest first."""
    rows = Delivery.objects.filter(workspace_id=workspace_id).select_related("event").order_by("-id")
    if endpoint_id is not None:
        rows = rows.filter(endpoint_id=endpoint_id)
    if event_id is not None:
        rows = rows.filter(event_id=event_id)
    if state is not None:
        rows = rows.filter(state=state)
    return rows


def delivery_by_id(workspace_id: UUID, delivery_id: UUID) -> Delivery:
    """One delivery with its event, its endpoint and the log of its attempts. :raises DeliveryNotFound:"""
    delivery = (
        Delivery.objects.filter(workspace_id=workspace_id, id=delivery_id)
        .select_related("event", "endpoint")
        .prefetch_related(Prefetch("attempt_log", DeliveryAttempt.objects.order_by("number")))
        .first()
    )
    if delivery is None:
        raise DeliveryNotFound
    return delivery


def events_of_objects(workspace_id: UUID, object_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The events of some objects, oldest first, each with how its deliveries stand; for a payment's trace.

    :param object_ids: public ids ('pay_…', 're_…')
    :returns: at most MAX_EVENTS_OF_OBJECTS
    """
    events = (
        Event.objects.filter(workspace_id=workspace_id, object_id__in=list(object_ids))
        .defer("body")
        .order_by("created_at", "id")
        .prefetch_related(Prefetch("deliveries", Delivery.objects.order_by("id")))
    )
    return [
        {
            "id": event.public_id,
            "type": event.type,
            "object_id": event.object_id,
            "sequence": event.sequence,
            "created_at": iso_utc(event.created_at),
            "deliveries": [_summary(delivery) for delivery in event.deliveries.all()],
        }
        for event in events[:MAX_EVENTS_OF_OBJECTS]
    ]


def delivery_states_since(workspace_ids: Collection[UUID] | None, since: datetime) -> Counter[str]:
    """How many deliveries are in which state, of those made since a moment; of the newest MAX_COUNTED alone.

    :param workspace_ids: None for every workspace, as a superuser sees them
    """
    rows = Delivery.objects.order_by("-id").values_list("state", "created_at")
    rows = rows if workspace_ids is None else rows.filter(workspace_id__in=workspace_ids)
    return Counter(state for state, created_at in rows[:MAX_COUNTED] if created_at >= since)


def unfinished_deliveries(workspace_ids: Collection[UUID] | None) -> QuerySet[Delivery]:
    """Deliveries that wait for a try or were given up, newest first; None for every workspace."""
    rows = Delivery.objects.select_related("event", "endpoint", "workspace").filter(
        state__in=[DeliveryState.PENDING, DeliveryState.EXHAUSTED]
    )
    rows = rows if workspace_ids is None else rows.filter(workspace_id__in=workspace_ids)
    return rows.order_by("-id")


def event_feed(workspace_id: UUID, *, after: str = "", limit: int = MAX_FEED) -> Feed:
    """Events in an order that has no holes, from a cursor on; a plain poll instead of, or beside, webhooks.

    :raises InvalidFormat: the cursor is not one of ours
    """
    transaction_id, event_id = _read_cursor(after)
    limit = min(limit, MAX_FEED)
    rows = fetch_all(
        _FEED,
        {
            "workspace_id": workspace_id,
            "transaction_id": str(transaction_id),
            "id": event_id,
            "limit": limit + 1,
        },
    )
    shown = rows[:limit]
    cursor = _write_cursor(int(shown[-1]["transaction_id"]), shown[-1]["id"]) if shown else after
    events = [json.loads(bytes(row["body"])) for row in shown]
    return Feed(events=events, cursor=cursor, has_more=len(rows) > limit)


def due_delivery(now: datetime) -> UUID | None:
    """A delivery of any workspace that could be sent now, or None. The same one again means that nobody sends.

    :param now: by the machine's clock, as all delivery timers
    """
    rows = fetch_all(
        _FIRST_DUE,
        {"now": now, "after": FIRST_TURN, "concurrency": ENDPOINT_CONCURRENCY, "limit": 1},
    )
    return rows[0]["id"] if rows else None


def _summary(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.public_id,
        "state": delivery.state,
        "trigger": delivery.trigger,
        "attempts": delivery.attempts,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error or None,
        "finished_at": iso_utc(delivery.finished_at) if delivery.finished_at else None,
    }


def _write_cursor(transaction_id: int, event_id: UUID) -> str:
    return base64.urlsafe_b64encode(transaction_id.to_bytes(8, "big") + event_id.bytes).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[int, UUID]:
    """:raises InvalidFormat:"""
    if not text:
        return 0, UUID(int=0)
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raw = b""
    if len(raw) != 24:
        raise InvalidFormat(field="after", details={"expected": "a cursor from an earlier answer"})
    return int.from_bytes(raw[:8], "big"), UUID(bytes=raw[8:])
