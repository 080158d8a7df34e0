"""Claiming a key and keeping its answer."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction

from zentra.core.clock import Clock
from zentra.core.db import is_lock_timeout, lock_timeout, require_transaction
from zentra.core.errors import Conflict, Unprocessable
from zentra.core.ids import public_id
from zentra.idempotency.models import IdempotencyKey
from zentra.idempotency.types import Answer, Claim, RequestKey

#: A claim waits so long for a first request that has not committed yet; its transaction takes milliseconds.
CLAIM_WAIT_MILLISECONDS = 1500


class KeyReused(Unprocessable):
    code = "idempotency_key_reused"
    summary = "The idempotency key came with another request before."
    remedy = "Use a new key for a new operation; the first one's resource is in `details.resource_id`."


class KeyInProgress(Conflict):
    code = "idempotency_request_in_progress"
    summary = "The first request with this key has not been recorded yet."
    remedy = "Repeat with the same key after the seconds in `Retry-After`."

    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}


_CLAIM = """
INSERT INTO idempotency_idempotencykey
       (workspace_id, operation, key, fingerprint, request_id, resource_id, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (workspace_id, operation, key) DO NOTHING
RETURNING id
"""


def claim_key(*, workspace_id: UUID, key: RequestKey, resource_id: UUID, clock: Clock) -> Claim:
    """Take a key for a resource about to be made, or learn what came of it before.

    The row is part of the caller's transaction: it exists exactly when the resource does. A concurrent second
    request waits on the unique index until the first commits, a matter of milliseconds.

    :raises KeyReused: the key came with another content; nothing is written
    :raises KeyInProgress: the first request did not commit in time; nothing is written
    """
    require_transaction()
    row: list[Any] = [workspace_id, key.operation, key.key, key.fingerprint, key.request_id, resource_id, clock.now()]
    try:
        with lock_timeout(CLAIM_WAIT_MILLISECONDS), connection.cursor() as cursor:
            cursor.execute(_CLAIM, row)
            made = cursor.fetchone()
    except OperationalError as error:
        if is_lock_timeout(error):
            raise KeyInProgress(field="idempotency_key") from None
        raise
    if made:
        return Claim(id=made[0], fresh=True, resource_id=resource_id)
    return _existing(workspace_id, key)


def _existing(workspace_id: UUID, key: RequestKey) -> Claim:
    row = IdempotencyKey.objects.get(workspace_id=workspace_id, operation=key.operation, key=key.key)
    if bytes(row.fingerprint) != key.fingerprint:
        details = {"resource_id": public_id(key.resource, row.resource_id)} if row.resource_id else {}
        raise KeyReused(field="idempotency_key", details=details)
    answer = None
    if row.status is not None and row.body is not None:
        answer = Answer(status=row.status, body=bytes(row.body), request_id=row.request_id, replayed=True)
    return Claim(id=row.id, fresh=False, resource_id=row.resource_id, answer=answer)


def finish_claim(*, claim_id: int, answer: Answer, clock: Clock) -> Answer:
    """Keep the final answer of a key, once; a later answer never replaces the first. Returns the one that is kept.

    An answer that is not final (202, 5xx) is not kept and comes back as it is.
    """
    require_transaction()
    if not answer.final:
        return answer
    updated = IdempotencyKey.objects.filter(id=claim_id, status__isnull=True).update(
        status=answer.status, body=answer.body, request_id=answer.request_id, completed_at=clock.now()
    )
    if updated:
        return answer
    row = IdempotencyKey.objects.get(id=claim_id)
    return Answer(status=row.status or 0, body=bytes(row.body or b""), request_id=row.request_id, replayed=True)


@transaction.atomic(durable=True)
def keep_refusal(*, workspace_id: UUID, key: RequestKey, answer: Answer, clock: Clock) -> Answer:
    """Keep the refusal of an operation that was undone, so that a repeat is given the same one.

    If another request with the key came to an answer in between, that one stands and is given here too.
    """
    now = clock.now()
    row = IdempotencyKey(
        workspace_id=workspace_id,
        operation=key.operation,
        key=key.key,
        fingerprint=key.fingerprint,
        request_id=key.request_id,
        status=answer.status,
        body=answer.body,
        created_at=now,
        completed_at=now,
    )
    IdempotencyKey.objects.bulk_create([row], ignore_conflicts=True)
    kept = _existing(workspace_id, key).answer
    return answer if kept is None or kept.request_id == key.request_id else kept
