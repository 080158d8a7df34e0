"""Reconciliation runs: per file, per night, on request. A run is a row first and work second, so that one that died is
taken up again by whoever comes next, and no run exists twice."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from datetime import time as day_time
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.db import transaction

from payments.services.chronicle import Chronicle
from settlement import selectors
from settlement.events import run_data
from settlement.models import ReconciliationRun
from settlement.selectors import RunNotFound
from settlement.services.cases import case_of_missing, store_cases
from settlement.services.drift import close_arrived_case
from settlement.services.reconcile import reconcile_batch
from settlement.states import BatchState
from settlement.types import RULESET_VERSION, RunScope
from zentra.core.ids import new_id
from zentra.core.jobs import claim_slot, enqueue_on_commit
from zentra.evidence.types import RequestContext
from zentra.idempotency.services import claim_key, finish_claim
from zentra.idempotency.types import Answer, Answerer, RequestKey
from zentra.tenancy.selectors import terms_of, workspace_ids
from zentra.tenancy.types import RUNTIME, Actor

log = structlog.get_logger(__name__)

#: A started run that has not ended after this long is taken to have died, and is worked on again.
STALE_AFTER: Final = timedelta(minutes=15)
#: Runs of one workspace that one sweep takes up.
MAX_RUNS_A_SWEEP: Final = 50
#: Passes over missing lines in one run, of at most MAX_MISSING cases each; the next night takes the rest.
MAX_MISSING_PASSES: Final = 200


@transaction.atomic(durable=True)
def request_run(
    *, workspace_id: UUID, key: RequestKey, actor: Actor, context: RequestContext, answer: Answerer
) -> Answer:
    """Record a run over everything that is open, and hint a worker. A repeat with the same key answers with the first.

    :raises KeyReused: the key came with another request before
    """
    terms = terms_of(workspace_id)
    run_id = new_id()
    claim = claim_key(workspace_id=workspace_id, key=key, resource_id=run_id, clock=terms.clock)
    if not claim.fresh:
        first = ReconciliationRun.objects.get(workspace_id=workspace_id, id=claim.resource_id or run_id)
        return claim.answer or answer(first)
    chronicle = Chronicle(terms=terms, actor=actor, context=context)
    run = _open_run(RunScope.REQUEST, str(run_id), chronicle, run_id=run_id)
    chronicle.write()
    enqueue_on_commit("settlement.run_reconciliation", workspace_id=str(workspace_id), run_id=str(run.id))
    return finish_claim(claim_id=claim.id, answer=answer(run), clock=terms.clock)


def _open_run(
    scope: RunScope, scope_key: str, chronicle: Chronicle, *, run_id: UUID | None = None
) -> ReconciliationRun:
    """The run of a scope and rule version: a new one, recorded and announced, or the one that exists."""
    run, made = ReconciliationRun.objects.get_or_create(
        workspace_id=chronicle.terms.workspace_id,
        scope=scope,
        scope_key=scope_key,
        ruleset=RULESET_VERSION,
        defaults={
            "id": run_id or new_id(),
            "requested_by": str(chronicle.actor),
            "created_at": chronicle.terms.clock.now(),
        },
    )
    if made:
        chronicle.record("reconciliation_run.created", run.public_id, payment_id=None, after=run.state)
        chronicle.announce("reconciliation.run.created", "reconciliation_run", run.public_id, run_data(run))
    return run


@transaction.atomic(durable=True)
def open_console_run(*, workspace_id: UUID, actor: Actor) -> ReconciliationRun:
    """A run for a person at the console; each call makes a new one."""
    chronicle = Chronicle(terms=terms_of(workspace_id), actor=actor)
    run_id = new_id()
    run = _open_run(RunScope.CONSOLE, str(run_id), chronicle, run_id=run_id)
    chronicle.write()
    return run


def run_reconciliation(*, workspace_id: UUID, run_id: UUID) -> ReconciliationRun:
    """Do the work of a run: reconcile what is unfinished, close what has arrived, open cases for what is missing.

    Every step is safe to repeat, so a run that died half way is simply run again. A finished run is left alone.

    :raises RunNotFound: this workspace has no such run
    """
    run = _start(workspace_id, run_id)
    if run.finished_at is not None:
        return run
    counts: Counter[str] = Counter()
    for batch_id in selectors.unfinished_batches(workspace_id):
        report = reconcile_batch(workspace_id=workspace_id, batch_id=batch_id)
        counts["batches"] += 1
        counts["control_failed"] += report.state == BatchState.CONTROL_FAILED
        counts.update(lines=report.lines, matched=report.matched, drifted=report.drifted)
    counts["arrived"] = close_arrived(workspace_id=workspace_id)
    counts["missing"] = raise_missing(workspace_id=workspace_id)
    return _finish(workspace_id, run_id, counts)


@transaction.atomic(durable=True)
def _start(workspace_id: UUID, run_id: UUID) -> ReconciliationRun:
    run = _lock_run(workspace_id, run_id)
    if run.finished_at is None:
        run.started_at = terms_of(workspace_id).clock.now()
        run.save(update_fields=["started_at"])
    return run


@transaction.atomic(durable=True)
def _finish(workspace_id: UUID, run_id: UUID, counts: Counter[str]) -> ReconciliationRun:
    run = _lock_run(workspace_id, run_id)
    if run.finished_at is not None:
        return run
    chronicle = Chronicle(terms=terms_of(workspace_id))
    run.finished_at = chronicle.terms.clock.now()
    run.counts = {**counts, "open_cases": selectors.open_case_count(workspace_id)}
    run.save(update_fields=["finished_at", "counts"])
    chronicle.record("reconciliation_run.completed", run.public_id, payment_id=None, after=run.state, data=run.counts)
    chronicle.announce("reconciliation.run.completed", "reconciliation_run", run.public_id, run_data(run))
    chronicle.write()
    log.info("reconciliation_run_completed", run_id=run.public_id, scope=run.scope, **run.counts)
    return run


def _lock_run(workspace_id: UUID, run_id: UUID) -> ReconciliationRun:
    run = ReconciliationRun.objects.select_for_update().filter(workspace_id=workspace_id, id=run_id).first()
    if run is None:
        raise RunNotFound
    return run


def close_arrived(*, workspace_id: UUID) -> int:
    """Close missing-line cases whose line has come; how many."""
    return sum(
        close_arrived_case(workspace_id=workspace_id, case_id=case_id)
        for case_id in selectors.arrived_cases(workspace_id)
    )


def raise_missing(*, workspace_id: UUID) -> int:
    """Open a case for every capture that has waited too long for its line; how many were opened."""
    opened = 0
    for _ in range(MAX_MISSING_PASSES):
        found = _raise_missing_pass(workspace_id=workspace_id)
        opened += found
        if found < selectors.MAX_MISSING:
            break
    return opened


@transaction.atomic(durable=True)
def _raise_missing_pass(*, workspace_id: UUID) -> int:
    chronicle = Chronicle(terms=terms_of(workspace_id))
    before = chronicle.terms.clock.now() - timedelta(days=missing_line_days())
    # Two runs at once would both see the same captures: the second waits here, and then sees the first one's cases.
    selectors.serialize_missing(workspace_id)
    items = selectors.missing_items(workspace_id, before=before)
    cases = [
        case_of_missing(item, provider_account_id=account, workspace_id=workspace_id, chronicle=chronicle)
        for item, account in items
    ]
    store_cases(cases, chronicle=chronicle)
    chronicle.write()
    return len(items)


def missing_line_days() -> int:
    """Days after which a capture without a settlement line becomes a case (setting SETTLEMENT_MISSING_LINE_DAYS)."""
    return int(getattr(settings, "SETTLEMENT_MISSING_LINE_DAYS", 5))


def run_nightly() -> int:
    """One beat of the schedule: begin the night's run of every workspace whose day has turned, and take up what a lost
    hint or a dead worker left behind. Returns how many runs were worked on."""
    worked = 0
    for workspace_id in workspace_ids():
        try:
            begin_night(workspace_id=workspace_id)
            for run_id in selectors.due_runs(workspace_id, stale_after=STALE_AFTER)[:MAX_RUNS_A_SWEEP]:
                run_reconciliation(workspace_id=workspace_id, run_id=run_id)
                worked += 1
            for batch_id in selectors.unfinished_batches(workspace_id):
                reconcile_batch(workspace_id=workspace_id, batch_id=batch_id)
        except Exception:
            # One workspace's trouble must not keep the others from their night; the next beat tries again.
            log.exception("reconciliation_sweep_failed", workspace_id=str(workspace_id))
    return worked


@transaction.atomic(durable=True)
def begin_night(*, workspace_id: UUID) -> ReconciliationRun | None:
    """Record the night's run of a workspace, once per day of its time zone; None when it was begun before.

    The claimed slot and the run's row commit together: no second process can begin it, and none can lose it.
    """
    terms = terms_of(workspace_id)
    zone = ZoneInfo(terms.time_zone)
    slot = datetime.combine(terms.today, day_time(), tzinfo=zone).astimezone(UTC)
    if not claim_slot(f"settlement.nightly:{workspace_id}", slot):
        return None
    chronicle = Chronicle(terms=terms, actor=RUNTIME)
    run = _open_run(RunScope.NIGHTLY, terms.today.isoformat(), chronicle)
    chronicle.write()
    return run


def reconcile_file(*, workspace_id: UUID, batch_id: UUID) -> None:
    """The work that an imported file asks for. Recorded as a run of the file, and safe to repeat."""
    report = reconcile_batch(workspace_id=workspace_id, batch_id=batch_id)
    close_arrived(workspace_id=workspace_id)
    _record_file_run(
        workspace_id=workspace_id,
        batch_id=batch_id,
        counts=Counter(lines=report.lines, matched=report.matched, drifted=report.drifted),
    )


@transaction.atomic(durable=True)
def _record_file_run(*, workspace_id: UUID, batch_id: UUID, counts: Counter[str]) -> None:
    """One run per batch of a file and rule version; a repeat adds what it did to the counts."""
    chronicle = Chronicle(terms=terms_of(workspace_id))
    run = _open_run(RunScope.FILE, str(batch_id), chronicle)
    run = _lock_run(workspace_id, run.id)
    total: Counter[str] = Counter({name: int(number) for name, number in run.counts.items()})
    run.started_at = run.started_at or chronicle.terms.clock.now()
    run.finished_at = chronicle.terms.clock.now()
    total.update(counts)
    run.counts = dict(total)
    run.save(update_fields=["started_at", "finished_at", "counts"])
    chronicle.write()
