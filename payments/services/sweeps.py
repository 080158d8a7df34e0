"""What a lost hint or a lost answer left behind: pending operations are taken up, unknown outcomes are asked about.

The resolver's ladder (design §3): repeat under the same key where the provider declares that every outcome is
replayed and the payment is still wanted; else query by our own reference; then a person. An unknown outcome never
fails by itself: "not found" counts only after several times over a minimum age.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from django.db import connection, transaction

from payments.models import Attempt
from payments.services import attempts, execution
from payments.states import UNRESOLVED_ATTEMPTS, PaymentState
from routing.providers.calls import call_provider
from routing.selectors import capabilities_of, endpoint_for
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
         WHERE due.state IN ('sent', 'unknown') AND NOT due.needs_operator
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
    SELECT 'void', p.workspace_id, p.id, p.updated_at + interval '5 seconds' FROM payments_payment p
     WHERE p.state = 'voiding' AND NOT EXISTS (
           SELECT 1 FROM payments_attempt a WHERE a.payment_id = p.id AND a.operation = 'void'
              AND a.state IN ('sent', 'unknown', 'conflicted'))
) AS due
LEFT JOIN tenancy_workspaceclock c USING (workspace_id)
WHERE due_at + interval '3 seconds' <= %(now)s + make_interval(secs => coalesce(c.offset_seconds, 0))
ORDER BY due_at LIMIT %(limit)s
"""


def resume_unsent(*, clock: Clock) -> int:
    """Carry out pending operations whose hint was lost or whose last try never left. Returns how many were due."""
    rows = fetch_all(_DUE_OPERATIONS, {"now": clock.now(), "limit": MAX_PER_SWEEP})
    for row in rows:
        if row["kind"] == "capture":
            execution.run_capture(workspace_id=row["workspace_id"], capture_id=row["id"])
        elif row["kind"] == "refund":
            execution.run_refund(workspace_id=row["workspace_id"], refund_id=row["id"])
        else:
            execution.run_void(workspace_id=row["workspace_id"], payment_id=row["id"])
    return len(rows)


def resolve_unknown(*, clock: Clock) -> int:
    """Ask about every attempt whose outcome is due to be found out. Returns how many were asked about."""
    claimed = _claim(clock)
    for attempt_id, workspace_id in claimed:
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
    if attempt.state not in UNRESOLVED_ATTEMPTS:
        return
    now = clock_for(workspace_id).now()
    asked = _ask(attempt, now)
    result = _believed_absent(attempt, asked.result, now)
    log.info("outcome_asked", attempt_id=attempt.public_id, via=asked.via, verdict=result.verdict.value)
    execution.record_outcome(workspace_id=workspace_id, attempt_id=attempt_id, result=result, via=asked.via)


def _ask(attempt: Attempt, now: datetime) -> _Question:
    """Repeat under the same key when that is safe and the payment still wanted; else query by our own reference."""
    capabilities = capabilities_of(attempt.provider_account)
    request = attempts.request_of(attempt)
    endpoint = endpoint_for(attempt.workspace_id, attempt.provider_account_id)
    age = (now - attempt.sent_at).total_seconds()
    wanted = attempt.payment.state not in (PaymentState.VOIDED, PaymentState.EXPIRED)
    if wanted and capabilities.may_replay(age_seconds=age):
        return _Question("replay", call_provider(endpoint=endpoint, request=request.as_repeat()))
    return _Question("query", call_provider(endpoint=endpoint, request=request.as_query()))


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
