"""Opening drift cases: building blocks of reconciling and of the nightly run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from simple_history.utils import bulk_create_with_history

from payments.services.chronicle import Chronicle
from settlement.events import batch_data, case_data
from settlement.models import DriftCase, SettlementBatch, SettlementLine
from settlement.rules import severity_of
from settlement.states import BatchState, BatchTrigger, CaseState, CaseTrigger, next_batch_state, next_case_state
from settlement.types import Candidate, DriftClass, Resolution
from zentra.core.clock import business_date
from zentra.core.db import require_transaction
from zentra.core.ids import new_id


def case_of_line(
    line: SettlementLine,
    *,
    batch: SettlementBatch,
    drift_class: DriftClass,
    item: Candidate | None,
    suspense_minor: int,
    chronicle: Chronicle,
) -> DriftCase:
    """A case about one line, not stored yet: its id is needed for the journal."""
    terms = chronicle.terms
    age = business_date(terms.clock.now(), terms.time_zone) - line.booked_on
    return _case(
        batch=batch,
        provider_account_id=batch.provider_account_id,
        line=line,
        drift_class=drift_class,
        item=item,
        currency=line.currency,
        expected_minor=item.expected_minor if item and drift_class is DriftClass.AMOUNT_DIFFERS else None,
        actual_minor=line.gross_minor,
        suspense_minor=suspense_minor,
        age=age,
        chronicle=chronicle,
    )


def case_of_batch(
    batch: SettlementBatch,
    *,
    drift_class: DriftClass,
    expected_minor: int | None,
    actual_minor: int | None,
    chronicle: Chronicle,
) -> DriftCase:
    """The open case of a class about a batch as a whole, under its row lock; a new one, stored, if there is none."""
    require_transaction()
    open_cases = DriftCase.objects.select_for_update().filter(
        batch=batch, drift_class=drift_class, line__isnull=True, item_id__isnull=True
    )
    found = open_cases.exclude(state=CaseState.CLOSED).first()
    if found is not None:
        return found
    case = _case(
        batch=batch,
        provider_account_id=batch.provider_account_id,
        line=None,
        drift_class=drift_class,
        item=None,
        currency=batch.currency,
        expected_minor=expected_minor,
        actual_minor=actual_minor,
        suspense_minor=0,
        age=timedelta(),
        chronicle=chronicle,
    )
    store_cases([case], chronicle=chronicle)
    return case


def case_of_missing(
    item: Candidate, *, provider_account_id: UUID, workspace_id: UUID, chronicle: Chronicle
) -> DriftCase:
    """A case about a capture that no line has come for, not stored yet. It holds no money: 1100 stays open."""
    return _case(
        workspace_id=workspace_id,
        provider_account_id=provider_account_id,
        line=None,
        drift_class=DriftClass.MISSING_LINE,
        item=item,
        currency=item.currency,
        expected_minor=item.expected_minor,
        actual_minor=None,
        suspense_minor=0,
        age=chronicle.terms.clock.now() - item.succeeded_at,
        chronicle=chronicle,
    )


def _case(*, item: Candidate | None, age: timedelta, chronicle: Chronicle, **fields: Any) -> DriftCase:
    now = chronicle.terms.clock.now()
    difference = (fields["expected_minor"] or 0) - (fields["actual_minor"] or 0)
    severity, allowance = severity_of(difference, fields["currency"], age)
    batch = fields.get("batch")
    fields.setdefault("workspace_id", batch.workspace_id if batch else None)
    return DriftCase(
        id=new_id(),
        item_kind=item.kind if item else "",
        item_id=item.item_id if item else None,
        payment_id=item.payment_id if item else None,
        severity=severity,
        due_at=now + allowance,
        state=CaseState.OPEN,
        opened_at=now,
        **fields,
    )


def store_cases(cases: Sequence[DriftCase], *, chronicle: Chronicle) -> None:
    """Store new cases with their history, record and announce them."""
    require_transaction()
    if not cases:
        return
    bulk_create_with_history(list(cases), DriftCase, batch_size=500, default_user=None)
    for case in cases:
        chronicle.record(
            "drift_case.opened",
            case.public_id,
            payment_id=case.payment_id,
            after=case.state,
            journal_ids=[case.journal_id] if case.journal_id else [],
            data={
                "class": str(case.drift_class),
                "expected_minor": case.expected_minor,
                "actual_minor": case.actual_minor,
                "suspense_minor": case.suspense_minor,
                "currency": case.currency,
            },
        )
        chronicle.announce("reconciliation.exception.opened", "drift_case", case.public_id, case_data(case))


def explain_case(case: DriftCase, *, resolution: Resolution, chronicle: Chronicle) -> None:
    """Close a locked case without a person: a later line or file explained it, and it holds no money any more."""
    before = case.state
    case.state = next_case_state(CaseState(case.state), CaseTrigger.EXPLAINED)
    case.resolution, case.closed_at = resolution, chronicle.terms.clock.now()
    case.save()
    announce_closed(case, before=before, chronicle=chronicle)


def announce_closed(case: DriftCase, *, before: str, chronicle: Chronicle) -> None:
    """Record and announce that a case is closed."""
    chronicle.record(
        "drift_case.closed",
        case.public_id,
        payment_id=case.payment_id,
        before=before,
        after=case.state,
        journal_ids=[case.closing_journal_id] if case.closing_journal_id else [],
        data={"resolution": str(case.resolution), "owner": str(case.owner_id) if case.owner_id else None},
    )
    chronicle.announce("reconciliation.closeout.completed", "drift_case", case.public_id, case_data(case))


def finish_batch_if_explained(batch: SettlementBatch, *, chronicle: Chronicle) -> None:
    """Move a locked batch whose last open case was closed to matched. Any other batch stays as it is."""
    if batch.state != BatchState.PARTIALLY_MATCHED:
        return
    if DriftCase.objects.filter(batch=batch).exclude(state=CaseState.CLOSED).exists():
        return
    move_batch(batch, trigger=BatchTrigger.CASES_CLOSED, chronicle=chronicle)


def move_batch(batch: SettlementBatch, *, trigger: BatchTrigger, chronicle: Chronicle) -> None:
    """Move a locked batch along its table, store and record it.

    :raises IllegalTransition: the table has no such edge; nothing changes
    """
    before = batch.state
    batch.state = next_batch_state(BatchState(batch.state), trigger)
    if batch.state == BatchState.MATCHED:
        batch.matched_at = chronicle.terms.clock.now()
    batch.save()
    chronicle.record(
        f"settlement_batch.{trigger}", batch.public_id, payment_id=None, before=before, after=str(batch.state)
    )
    if batch.state in (BatchState.MATCHED, BatchState.PARTIALLY_MATCHED):
        chronicle.announce(f"settlement.batch.{batch.state}", "settlement_batch", batch.public_id, batch_data(batch))
