"""What a lost hint or a lost answer left behind: pending operations are taken up, unknown outcomes are asked about.

The resolver's ladder (docs/decisions/0003): repeat under the same key where the provider declares that every outcome is
replayed and the payment is still wanted; else query by our own reference; then a person. An unknown outcome never
fails by itself: "not found" counts only after several times over a minimum age.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection, transaction

from payments.models import Attempt
from payments.services import attempts, execution
from payments.states import ASKED_ATTEMPTS, AttemptState, PaymentState
from routing.providers.registry import UnknownProvider
from routing.selectors import capabilities_of
from routing.types import ProviderResult, RetryAdvice, Transport, Verdict
from zentra.core.clock import Clock
from zentra.core.db import fetch_all
from zentra.tenancy.clocks import clock_for

log = structlog.get_logger(__name__)

MAX_PER_SWEEP: Final = 50
#: A claimed attempt is asked about by nobody else for so long.
RESOLVE_LEASE_SECONDS: Final = 60
#: "The provider knows nothing of it" is believed after so many negatives over so much time.
NEGATIVES_TO_BELIEVE: Final = 3
NEGATIVES_MINIMUM_AGE: Final = timedelta(minutes=10)

_CLAIM = """
UPDATE payments_attempt SET resolve_at = %(now)s
              + make_interval(secs => %(lease)s + coalesce(shift.offset_seconds, 0))
  FROM (SELECT due.id, due.workspace_id FROM payments_attempt due
          LEFT JOIN tenancy_workspaceclock c ON c.workspace_id = due.workspace_id
         WHERE due.state IN ('sent', 'unknown', 'action_required') AND NOT due.needs_operator
           AND due.resolve_at <= %(now)s + make_interval(secs => coalesce(c.offset_seconds, 0))
         ORDER BY due.resolve_at LIMIT %(limit)s FOR UPDATE OF due SKIP LOCKED) AS picked
  LEFT JOIN tenancy_workspaceclock shift ON shift.workspace_id = picked.workspace_id
 WHERE payments_attempt.id = picked.id
RETURNING payments_attempt.id, payments_attempt.workspace_id
"""

_DUE_OPERATIONS = """
SELECT kind, workspace_id, id FROM (
    SELECT 'capture' AS kind, workspace_id, id, due_at FROM payments_capture WHERE state = 'pending'
    UNION ALL
    SELECT 'refund', workspace_id, id, due_at FROM payments_refund WHERE state = 'pending'
    UNION ALL
    SELECT 'void', workspace_id, id, void_due_at FROM payments_payment WHERE void_due_at IS NOT NULL
) AS due
LEFT JOIN tenancy_workspaceclock c USING (workspace_id)
WHERE due_at + interval '3 seconds' <= %(now)s + make_interval(secs => coalesce(c.offset_seconds, 0))
ORDER BY due_at LIMIT %(limit)s
"""


def resume_unsent(*, clock: Clock) -> int:
    """Carry out pending operations whose hint was lost or whose last try never left. Returns how many were due."""
    rows = fetch_all(_DUE_OPERATIONS, {"now": clock.now(), "limit": MAX_PER_SWEEP})
    for row in rows:
        with _one_of_many(kind=row["kind"], id=str(row["id"])):
            _resume(row["kind"], row["workspace_id"], row["id"])
    return len(rows)


def _resume(kind: str, workspace_id: UUID, operation_id: UUID) -> None:
    if kind == "capture":
        execution.run_capture(workspace_id=workspace_id, capture_id=operation_id)
    elif kind == "refund":
        execution.run_refund(workspace_id=workspace_id, refund_id=operation_id)
    else:
        execution.run_void(workspace_id=workspace_id, payment_id=operation_id)


@contextmanager
def _one_of_many(**ids: str) -> Iterator[None]:
    """The failure of one is logged and keeps none of the others waiting; the next sweep tries it again."""
    try:
        yield
    except SoftTimeLimitExceeded:
        raise
    except Exception:
        log.exception("sweep_step_failed", **ids)


def resolve_unknown(*, clock: Clock) -> int:
    """Ask about every attempt whose outcome is due to be found out. Returns how many were asked about."""
    claimed = _claim(clock)
    for attempt_id, workspace_id in claimed:
        with _one_of_many(kind="attempt", id=str(attempt_id)):
            resolve_attempt(workspace_id=workspace_id, attempt_id=attempt_id)
    return len(claimed)


@transaction.atomic(durable=True)
def _claim(clock: Clock) -> Sequence[tuple[UUID, UUID]]:
    """Lease what is due, so that a second resolver does not ask at the same time."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"now": clock.now(), "lease": RESOLVE_LEASE_SECONDS, "limit": MAX_PER_SWEEP})
        return [(attempt_id, workspace_id) for attempt_id, workspace_id in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class _Question:
    via: str
    result: ProviderResult


def resolve_attempt(*, workspace_id: UUID, attempt_id: UUID) -> None:
    """Find out what became of one attempt and record it; an attempt that is decided is left alone."""
    attempt = Attempt.objects.select_related("payment", "provider_account", "capture", "refund").get(
        workspace_id=workspace_id, id=attempt_id
    )
    if attempt.state not in ASKED_ATTEMPTS:
        return
    now = clock_for(workspace_id).now()
    asked = _ask(attempt, now)
    result = _believed_absent(attempt, asked.result, now)
    log.info("outcome_asked", attempt_id=attempt.public_id, via=asked.via, verdict=result.verdict.value)
    execution.record_outcome(workspace_id=workspace_id, attempt_id=attempt_id, result=result, via=asked.via)


def _ask(attempt: Attempt, now: datetime) -> _Question:
    """Repeat under the same key when that is safe and the payment still wanted; else query by our own reference."""
    request = attempts.request_of(attempt)
    if _may_replay(attempt, now):
        return _Question("replay", attempts.ask(attempt, request=request.as_repeat()))
    return _Question("query", attempts.ask(attempt, request=request.as_query()))


def _may_replay(attempt: Attempt, now: datetime) -> bool:
    if attempt.payment.state in (PaymentState.VOIDED, PaymentState.EXPIRED):
        return False
    # A repeat gives the first answer again, which was that the customer has to act: only a query tells what came of it.
    if attempt.state == AttemptState.ACTION_REQUIRED:
        return False
    try:
        capabilities = capabilities_of(attempt.provider_account)
    except UnknownProvider:
        return False
    return capabilities.may_replay(age_seconds=(now - attempt.sent_at).total_seconds())


def _believed_absent(attempt: Attempt, result: ProviderResult, now: datetime) -> ProviderResult:
    """One "not found" proves nothing, for writes may lag; several over a minimum age are an answer."""
    old_enough = now - attempt.sent_at >= NEGATIVES_MINIMUM_AGE
    if not (result.is_not_found and old_enough and attempt.negatives + 1 >= NEGATIVES_TO_BELIEVE):
        return result
    return replace(
        result,
        transport=Transport.ANSWERED,
        verdict=Verdict.PROVIDER_FAULT,
        nothing_authorized=True,
        retry_advice=RetryAdvice.SAME_PROVIDER_LATER,
    )


def retry_by_operator(*, workspace_id: UUID, attempt_id: UUID) -> None:
    """Ask again at once about an attempt that a person owns."""
    resolve_attempt(workspace_id=workspace_id, attempt_id=attempt_id)
