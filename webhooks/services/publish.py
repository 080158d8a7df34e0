"""The door out to merchants: an event is written in the transaction of the fact that it tells.

Two statements whatever the number of events: one allots sequences and finds the endpoints, one writes the
events and their deliveries. The row of the object's sequence stays locked until the caller's commit, so the
sequence of an object is its commit order, and has no gaps, because a rollback takes the number back.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import connection

from webhooks.models import Delivery, Event
from webhooks.rules import wants
from webhooks.types import EventFact, SendTrigger
from zentra.core.clock import SYSTEM_CLOCK, Clock, iso_utc
from zentra.core.db import fetch_all, require_transaction
from zentra.core.ids import new_id, public_id
from zentra.core.jobs import enqueue_on_commit
from zentra.evidence.types import RequestContext
from zentra.tenancy.clocks import clock_for
from zentra.tenancy.models import Workspace

API_VERSION = "v1"
MAX_FACTS = 1000
#: Receivers and proxies commonly refuse more; an event carries ids, and the object is fetched by them.
MAX_BODY_BYTES = 64 * 1024
DELIVER_JOB = "webhooks.deliver_due"

# `wanted` has one row per object, in order of id: two publishers that share objects lock them in
# the same order.
_ALLOT = """
WITH wanted AS (
    SELECT * FROM unnest(%(workspaces)s::uuid[], %(objects)s::text[], %(counts)s::bigint[])
        AS wanted (workspace_id, object_id, count)
), allotted AS (
    INSERT INTO webhooks_objectsequence AS known (workspace_id, object_id, last)
    SELECT workspace_id, object_id, count FROM wanted ORDER BY workspace_id, object_id
    ON CONFLICT (workspace_id, object_id) DO UPDATE SET last = known.last + excluded.last
    RETURNING workspace_id, object_id, last
)
SELECT 'object' AS kind, workspace_id, object_id AS name, last, NULL::varchar[] AS enabled_events FROM allotted
UNION ALL
SELECT 'endpoint', workspace_id, id::text, 0, enabled_events FROM webhooks_endpoint
WHERE workspace_id = ANY (%(workspaces)s::uuid[]) AND status = 'enabled' AND deleted_at IS NULL
"""

_WRITE = """
WITH written AS (
    INSERT INTO webhooks_event (id, workspace_id, type, object_type, object_id, sequence, body, body_sha256,
                                created_at, api_version)
    SELECT *, %(api_version)s
    FROM unnest(%(ids)s::uuid[], %(workspaces)s::uuid[], %(types)s::text[], %(object_types)s::text[],
                %(objects)s::text[], %(sequences)s::bigint[], %(bodies)s::bytea[], %(hashes)s::bytea[],
                %(times)s::timestamptz[])
)
INSERT INTO webhooks_delivery (id, workspace_id, event_id, endpoint_id, created_at, next_at, trigger, state,
                               attempts, last_error)
SELECT id, workspace_id, event_id, endpoint_id, due_at, due_at, trigger, 'pending', 0, ''
FROM unnest(%(delivery_ids)s::uuid[], %(delivery_workspaces)s::uuid[], %(delivery_events)s::uuid[],
            %(delivery_endpoints)s::uuid[], %(delivery_times)s::timestamptz[], %(delivery_triggers)s::text[])
    AS sending (id, workspace_id, event_id, endpoint_id, due_at, trigger)
"""


class EventTooLarge(ValueError):
    """An event's body is over MAX_BODY_BYTES: a defect of the code that made it."""


@dataclass(frozen=True, slots=True)
class _Listener:
    endpoint_id: UUID
    enabled_events: tuple[str, ...]


def publish_event(
    *,
    workspace_id: UUID,
    type: str,
    object_type: str,
    object_id: str,
    data: Mapping[str, Any],
    clock: Clock,
    request: RequestContext | None = None,
) -> Event:
    """Write one event and its deliveries in the caller's transaction, and hint a worker after its commit.

    :param object_id: public id of what the event is about
    :param data: JSON-able; ids, codes and minor units, no personal data
    :param clock: the workspace's clock
    :raises NotInTransaction: an event commits with its fact, or not at all
    :raises EventTooLarge: a defect of the caller
    """
    fact = EventFact(workspace_id=workspace_id, type=type, object_type=object_type, object_id=object_id, data=data)
    return publish_events(facts=[fact], clock=clock, request=request)[0]


def publish_events(*, facts: Sequence[EventFact], clock: Clock, request: RequestContext | None = None) -> list[Event]:
    """Write many events at once, in the order given; see ``publish_event``.

    :raises ValueError: more than MAX_FACTS at once
    """
    require_transaction()
    if len(facts) > MAX_FACTS:
        raise ValueError(f"at most {MAX_FACTS} events at once")
    if not facts:
        return []
    sequences, listeners = _allot(facts)
    events = _events(facts, sequences, clock.now(), request or RequestContext())
    sendings = [
        _sending(event, listener.endpoint_id, SendTrigger.AUTO)
        for event in events
        for listener in listeners[event.workspace_id]
        if wants(listener.enabled_events, event.type)
    ]
    _write(events, sendings)
    if sendings:
        hint_deliveries()
    return events


def publish_to_endpoint(
    *, fact: EventFact, endpoint_id: UUID, clock: Clock, request: RequestContext | None = None
) -> Delivery:
    """Write an event that one endpoint gets once, whatever it lists and even while it is disabled.

    :raises NotInTransaction: as ``publish_event``
    """
    require_transaction()
    sequences, _ = _allot([fact])
    events = _events([fact], sequences, clock.now(), request or RequestContext())
    delivery = _sending(events[0], endpoint_id, SendTrigger.MANUAL)
    _write(events, [delivery])
    hint_deliveries()
    return delivery


def hint_deliveries() -> None:
    """Tell a worker, after this transaction's commit, that deliveries are due. :raises NotInTransaction:"""
    enqueue_on_commit(DELIVER_JOB)


def publish_registered_fact(fact: EventFact) -> None:
    """The event sink of `zentra.core.registries`: publishing for packages below this one."""
    publish_events(facts=[fact], clock=clock_for(fact.workspace_id))


def _key(fact: EventFact) -> tuple[UUID, str]:
    return fact.workspace_id, fact.object_id


def _allot(
    facts: Sequence[EventFact],
) -> tuple[dict[tuple[UUID, str], Iterator[int]], dict[UUID, list[_Listener]]]:
    """The next numbers of every object, and who listens in every workspace."""
    counts: dict[tuple[UUID, str], int] = defaultdict(int)
    for fact in facts:
        counts[_key(fact)] += 1
    rows = fetch_all(
        _ALLOT,
        {
            "workspaces": [workspace_id for workspace_id, _ in counts],
            "objects": [object_id for _, object_id in counts],
            "counts": list(counts.values()),
        },
    )
    sequences: dict[tuple[UUID, str], Iterator[int]] = {}
    listeners: dict[UUID, list[_Listener]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "object":
            key = row["workspace_id"], row["name"]
            sequences[key] = iter(range(row["last"] - counts[key] + 1, row["last"] + 1))
        else:
            listener = _Listener(UUID(row["name"]), tuple(row["enabled_events"]))
            listeners[row["workspace_id"]].append(listener)
    return sequences, listeners


def _events(
    facts: Sequence[EventFact],
    sequences: Mapping[tuple[UUID, str], Iterator[int]],
    created_at: datetime,
    request: RequestContext,
) -> list[Event]:
    return [_event(fact, next(sequences[_key(fact)]), created_at, request) for fact in facts]


def _event(fact: EventFact, sequence: int, created_at: datetime, request: RequestContext) -> Event:
    """The row, with the bytes that every attempt will send. :raises EventTooLarge:"""
    event_id = new_id()
    envelope = {
        "id": public_id("evt", event_id),
        "type": fact.type,
        "api_version": API_VERSION,
        "created_at": iso_utc(created_at),
        "workspace_id": public_id("wsp", fact.workspace_id),
        "environment": _environment_of(fact.workspace_id),
        "sequence": sequence,
        "object": {"type": fact.object_type, "id": fact.object_id},
        "data": dict(fact.data),
        "request": {"id": request.request_id or None, "idempotency_key": request.idempotency_key or None},
    }
    body = json.dumps(envelope, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    if len(body) > MAX_BODY_BYTES:
        raise EventTooLarge(f"{fact.type} has {len(body)} bytes, more than {MAX_BODY_BYTES}")
    return Event(
        id=event_id,
        workspace_id=fact.workspace_id,
        type=fact.type,
        object_type=fact.object_type,
        object_id=fact.object_id,
        sequence=sequence,
        api_version=API_VERSION,
        body=body,
        body_sha256=hashlib.sha256(body).digest(),
        created_at=created_at,
    )


@lru_cache(maxsize=4096)
def _environment_of(workspace_id: UUID) -> str:
    """A workspace never changes its environment, so one look-up per process is enough."""
    return Workspace.objects.values_list("environment", flat=True).get(id=workspace_id)


def _sending(event: Event, endpoint_id: UUID, trigger: SendTrigger) -> Delivery:
    """A delivery that is due at once, by the machine's clock (docs/decisions/0022)."""
    now = SYSTEM_CLOCK.now()
    return Delivery(
        workspace_id=event.workspace_id,
        event=event,
        endpoint_id=endpoint_id,
        trigger=trigger,
        created_at=now,
        next_at=now,
    )


def _write(events: Sequence[Event], sendings: Sequence[Delivery]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            _WRITE,
            {
                "api_version": API_VERSION,
                "ids": [event.id for event in events],
                "workspaces": [event.workspace_id for event in events],
                "types": [event.type for event in events],
                "object_types": [event.object_type for event in events],
                "objects": [event.object_id for event in events],
                "sequences": [event.sequence for event in events],
                "bodies": [event.body for event in events],
                "hashes": [event.body_sha256 for event in events],
                "times": [event.created_at for event in events],
                "delivery_ids": [sending.id for sending in sendings],
                "delivery_workspaces": [sending.workspace_id for sending in sendings],
                "delivery_events": [sending.event_id for sending in sendings],
                "delivery_endpoints": [sending.endpoint_id for sending in sendings],
                "delivery_times": [sending.created_at for sending in sendings],
                "delivery_triggers": [sending.trigger for sending in sendings],
            },
        )
