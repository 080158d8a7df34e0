"""The clock of a workspace: the machine's, or for a sandbox its test clock."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from zentra.core.clock import SYSTEM_CLOCK, Clock, ShiftedClock
from zentra.tenancy.models import WorkspaceClock
from zentra.tenancy.types import Caller


def clock_for(workspace_id: UUID) -> Clock:
    """The clock that every business rule of the workspace must read."""
    offset = WorkspaceClock.objects.filter(workspace_id=workspace_id).values_list("offset_seconds", flat=True).first()
    return ShiftedClock(timedelta(seconds=offset)) if offset else SYSTEM_CLOCK


def clock_of(caller: Caller) -> Clock:
    """The same for an authenticated caller, without a query."""
    offset = caller.clock_offset_seconds
    return ShiftedClock(timedelta(seconds=offset)) if offset else SYSTEM_CLOCK
