"""Celery's entry points: ids in, one service call, safe to run twice, tolerant of arguments from a newer publisher."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from payments.services import execution, sweeps
from zentra.core.clock import SYSTEM_CLOCK


@shared_task(name="payments.run_capture")
def run_capture(*, workspace_id: str, capture_id: str, **_unknown: object) -> None:
    execution.run_capture(workspace_id=UUID(workspace_id), capture_id=UUID(capture_id))


@shared_task(name="payments.run_refund")
def run_refund(*, workspace_id: str, refund_id: str, **_unknown: object) -> None:
    execution.run_refund(workspace_id=UUID(workspace_id), refund_id=UUID(refund_id))


@shared_task(name="payments.run_void")
def run_void(*, workspace_id: str, payment_id: str, **_unknown: object) -> None:
    execution.run_void(workspace_id=UUID(workspace_id), payment_id=UUID(payment_id))


@shared_task(name="payments.resolve_unknown")
def resolve_unknown(**_unknown: object) -> None:
    # Due times are compared with each workspace's own clock inside; the machine's time is where that starts from.
    sweeps.resolve_unknown(clock=SYSTEM_CLOCK)


@shared_task(name="payments.resume_unsent")
def resume_unsent(**_unknown: object) -> None:
    sweeps.resume_unsent(clock=SYSTEM_CLOCK)
