"""Celery's entry points: ids in, one service call, safe to run twice, tolerant of arguments from a newer publisher."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from settlement.services import runs


@shared_task(name="settlement.reconcile_batch")
def reconcile_batch(*, workspace_id: str, batch_id: str, **_unknown: object) -> None:
    runs.reconcile_file(workspace_id=UUID(workspace_id), batch_id=UUID(batch_id))


@shared_task(name="settlement.run_reconciliation")
def run_reconciliation(*, workspace_id: str, run_id: str, **_unknown: object) -> None:
    runs.run_reconciliation(workspace_id=UUID(workspace_id), run_id=UUID(run_id))


@shared_task(name="settlement.run_nightly")
def run_nightly(**_unknown: object) -> None:
    runs.run_nightly()
