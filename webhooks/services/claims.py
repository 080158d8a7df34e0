"""Claiming due deliveries and recording what came of them: the queue, in SQL.

A claim is a lease with a token. It is fair: endpoints take turns, starting after the endpoint that was served
last, and none gets more than its concurrency. A result counts only from the holder of the lease
(compare-and-set on id and token); a lease that ran out makes its delivery due again. All times here are the
machine's, not a workspace's (docs/decisions/0022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from webhooks.rules import Judgement
from webhooks.selectors import DUE, ENDPOINT_CONCURRENCY, FIRST_TURN
from webhooks.services import endpoints
from webhooks.states import DeliveryState, next_state
from webhooks.types import Claim, Outcome, SendTrigger
from zentra.core.clock import Clock
from zentra.core.db import fetch_all
from zentra.core.ids import new_id

#: Longer than a claimed batch can take: two rounds of the sender's deadline, and room to record.
LEASE_SECONDS = 60
MAX_CLAIMS = 200

#: Claims follow one another (some milliseconds each): side by side they would pick the same rows, and all but one
#: would come away with less than is due. A claimer that hangs is ended by idle_in_transaction_session_timeout.
_ONE_CLAIMER = int.from_bytes(b"whclaims", "big")

# A candidate is looked at again under its row lock: a replay, a deletion or a late result may have been quicker.
_CLAIM = f"""{DUE}, locked AS (
    SELECT id FROM webhooks_delivery
    WHERE id IN (SELECT id FROM manual UNION ALL SELECT id FROM automatic LIMIT %(limit)s)
      AND state = 'pending' AND (lease_until IS NULL OR lease_until <= %(now)s)
    FOR UPDATE SKIP LOCKED
)
UPDATE webhooks_delivery AS delivery SET lease_until = %(lease_until)s, lease_token = %(token)s
FROM locked, webhooks_event AS event, webhooks_endpoint AS endpoint
WHERE delivery.id = locked.id AND event.id = delivery.event_id AND endpoint.id = delivery.endpoint_id
RETURNING delivery.id, delivery.workspace_id, delivery.attempts, delivery.trigger, delivery.endpoint_id,
          event.id AS event_id, event.type AS event_type, event.body, endpoint.url, endpoint.secret,
          endpoint.previous_secret, endpoint.previous_secret_valid_until
"""  # noqa: S608 - both parts are constants

_RECORD = """
WITH result AS (
    SELECT * FROM unnest(
        %(ids)s::uuid[], %(tokens)s::uuid[], %(states)s::text[], %(next_ats)s::timestamptz[],
        %(finished_ats)s::timestamptz[], %(numbers)s::int[], %(started_ats)s::timestamptz[],
        %(durations)s::int[], %(statuses)s::int[], %(errors)s::text[], %(responses)s::text[],
        %(signed_ats)s::bigint[]
    ) AS result (delivery_id, token, state, next_at, finished_at, number, started_at, duration_ms, status,
                 error, response, signed_at)
), settled AS (
    UPDATE webhooks_delivery AS delivery
    SET state = result.state, attempts = result.number, next_at = result.next_at,
        finished_at = result.finished_at, last_status = result.status, last_error = result.error,
        lease_until = NULL, lease_token = NULL
    FROM result
    WHERE delivery.id = result.delivery_id
      AND delivery.lease_token = result.token
      AND delivery.state = 'pending'
    RETURNING delivery.id, delivery.workspace_id
)
INSERT INTO webhooks_deliveryattempt (workspace_id, delivery_id, number, started_at, duration_ms, status_code,
                                      error, response, signed_at)
SELECT settled.workspace_id, settled.id, result.number, result.started_at, result.duration_ms, result.status,
       result.error, result.response, result.signed_at
FROM settled JOIN result ON result.delivery_id = settled.id
RETURNING delivery_id
"""

_RELEASE = """
UPDATE webhooks_delivery AS delivery SET lease_until = NULL, lease_token = NULL
FROM unnest(%(ids)s::uuid[], %(tokens)s::uuid[]) AS given (delivery_id, token)
WHERE delivery.id = given.delivery_id AND delivery.lease_token = given.token
"""


@dataclass(frozen=True, slots=True)
class Result:
    """An attempt that was made, and what it means."""

    claim: Claim
    outcome: Outcome
    judgement: Judgement


@transaction.atomic(durable=True)
def claim_due(
    *,
    clock: Clock,
    limit: int,
    after: UUID = FIRST_TURN,
    lease_seconds: float = LEASE_SECONDS,
    concurrency: int = ENDPOINT_CONCURRENCY,
) -> list[Claim]:
    """Lease at most ``limit`` due deliveries, of any workspace, endpoint by endpoint.

    :param after: endpoints with a greater id come first now; those before have had their turn
    :param lease_seconds: after this the deliveries are due again, whoever holds the claims
    :param concurrency: how many deliveries of one endpoint may be leased at once
    """
    fetch_all("SELECT pg_advisory_xact_lock(%s)", [_ONE_CLAIMER])
    now, token = clock.now(), new_id()
    rows = fetch_all(
        _CLAIM,
        {
            "now": now,
            "after": after,
            "limit": min(limit, MAX_CLAIMS),
            "concurrency": concurrency,
            "lease_until": now + timedelta(seconds=lease_seconds),
            "token": token,
        },
    )
    return [_claim(row, token, now) for row in rows]


@transaction.atomic(durable=True)
def record_results(*, results: Sequence[Result], clock: Clock) -> set[UUID]:
    """Write what the attempts came to, in one statement, where the lease still holds.

    An endpoint that answered 410 is disabled in the same transaction.

    :returns: ids of the deliveries whose result counted; the others had been taken over
    """
    if not results:
        return set()
    rows = fetch_all(_RECORD, _columns(results, clock.now()))
    counted = {row["delivery_id"] for row in rows}
    gone = {
        (result.claim.workspace_id, result.claim.endpoint_id)
        for result in results
        if result.judgement.endpoint_gone and result.claim.delivery_id in counted
    }
    # In order of id, so that two workers that disable the same endpoints never wait for each other in a
    # circle.
    for workspace_id, endpoint_id in sorted(gone):
        endpoints.disable_gone_endpoint(workspace_id=workspace_id, endpoint_id=endpoint_id)
    return counted


@transaction.atomic(durable=True)
def release_claims(*, claims: Sequence[Claim]) -> None:
    """Give back claims that were not sent, so that they need not wait for their lease to run out."""
    fetch_all(
        _RELEASE,
        {
            "ids": [claim.delivery_id for claim in claims],
            "tokens": [claim.lease_token for claim in claims],
        },
    )


def _claim(row: dict[str, Any], token: UUID, now: datetime) -> Claim:
    return Claim(
        delivery_id=row["id"],
        workspace_id=row["workspace_id"],
        endpoint_id=row["endpoint_id"],
        event_id=row["event_id"],
        event_type=row["event_type"],
        url=row["url"],
        body=bytes(row["body"]),
        secrets=endpoints.live_secrets(
            workspace_id=row["workspace_id"],
            endpoint_id=row["endpoint_id"],
            sealed=row["secret"],
            sealed_previous=row["previous_secret"],
            previous_valid_until=row["previous_secret_valid_until"],
            now=now,
        ),
        attempt=row["attempts"] + 1,
        trigger=SendTrigger(row["trigger"]),
        lease_token=token,
    )


def _columns(results: Sequence[Result], now: datetime) -> dict[str, list[Any]]:
    """The results as one array per column."""
    columns: dict[str, list[Any]] = {
        "ids": [result.claim.delivery_id for result in results],
        "tokens": [result.claim.lease_token for result in results],
        "numbers": [result.claim.attempt for result in results],
        "errors": [result.judgement.error for result in results],
        "started_ats": [result.outcome.started_at for result in results],
        "durations": [result.outcome.duration_ms for result in results],
        "statuses": [result.outcome.status for result in results],
        "responses": [result.outcome.response for result in results],
        "signed_ats": [result.outcome.signed_at for result in results],
        "states": [],
        "next_ats": [],
        "finished_ats": [],
    }
    for result in results:
        state = next_state(DeliveryState.PENDING, result.judgement.trigger)
        wait = result.judgement.retry_in_seconds
        columns["states"].append(state)
        columns["next_ats"].append(None if wait is None else now + timedelta(seconds=wait))
        columns["finished_ats"].append(None if state is DeliveryState.PENDING else now)
    return columns
