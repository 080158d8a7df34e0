"""What events say about batches, cases and runs: ids, amounts in minor units, states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zentra.core.clock import iso_utc
from zentra.core.ids import public_id

if TYPE_CHECKING:
    from uuid import UUID

    from settlement.models import DriftCase, ReconciliationRun, SettlementBatch


def batch_data(batch: SettlementBatch) -> dict[str, Any]:
    """A batch as events and answers show it."""
    return {
        "id": batch.public_id,
        "provider_batch_id": batch.provider_batch_id,
        "provider_account_id": public_id("pac", batch.provider_account_id),
        "file_id": public_id("fil", batch.file_id),
        "status": batch.state,
        "currency": batch.currency,
        "declared": {
            "count": batch.declared_count,
            "gross_minor": batch.declared_gross_minor,
            "fee_minor": batch.declared_fee_minor,
            "net_minor": batch.declared_net_minor,
        },
        "computed": {
            "count": batch.line_count,
            "gross_minor": batch.gross_minor,
            "fee_minor": batch.fee_minor,
            "net_minor": batch.net_minor,
        },
        "matched_count": batch.matched_count,
        "drifted_count": batch.drifted_count,
        "value_on": batch.value_on.isoformat() if batch.value_on else None,
        "received_at": iso_utc(batch.received_at),
        "matched_at": iso_utc(batch.matched_at) if batch.matched_at else None,
    }


def case_data(case: DriftCase) -> dict[str, Any]:
    """A case as traces, events and answers show it."""
    return {
        "id": case.public_id,
        "class": case.drift_class,
        "status": case.state,
        "severity": case.severity,
        "batch_id": case.batch.public_id if case.batch else None,
        "provider_account_id": public_id("pac", case.provider_account_id),
        "payment_id": public_id("pay", case.payment_id) if case.payment_id else None,
        "item_id": item_public_id(case.item_kind, case.item_id),
        "currency": case.currency,
        "expected_minor": case.expected_minor,
        "actual_minor": case.actual_minor,
        "difference_minor": case.difference_minor,
        "suspense_minor": case.suspense_minor,
        "owner": str(case.owner_id) if case.owner_id else None,
        "resolution": case.resolution or None,
        "journal_id": public_id("jrn", case.journal_id) if case.journal_id else None,
        "closing_journal_id": public_id("jrn", case.closing_journal_id) if case.closing_journal_id else None,
        "opened_at": iso_utc(case.opened_at),
        "due_at": iso_utc(case.due_at),
        "closed_at": iso_utc(case.closed_at) if case.closed_at else None,
    }


def item_public_id(kind: str, item_id: UUID | None) -> str | None:
    """The public id of a capture or refund that is known by its bare id."""
    if item_id is None:
        return None
    return public_id("cap" if kind == "capture" else "re", item_id)


def run_data(run: ReconciliationRun) -> dict[str, Any]:
    """A reconciliation run as events and answers show it."""
    return {
        "id": run.public_id,
        "scope": run.scope,
        "scope_key": run.scope_key,
        "ruleset": run.ruleset,
        "status": run.state,
        "counts": run.counts,
        "created_at": iso_utc(run.created_at),
        "started_at": iso_utc(run.started_at) if run.started_at else None,
        "finished_at": iso_utc(run.finished_at) if run.finished_at else None,
    }
