"""The one clock. Business rules never call now(): they are given a Clock (design: one injected clock).

A sandbox workspace may carry a test clock (a row that every process reads); `zentra.tenancy.clocks` builds the
Clock of a workspace. All times are aware and in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo


class Clock(Protocol):
    def now(self) -> datetime:
        """The present moment, aware, UTC."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ShiftedClock:
    """The machine's clock moved by a fixed offset: what a sandbox test clock is."""

    offset: timedelta

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset


@dataclass(slots=True)
class FixedClock:
    """A clock that stands still until it is moved. For tests and for replaying a decision."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def advance(self, delta: timedelta) -> None:
        self.moment += delta


SYSTEM_CLOCK = SystemClock()


def business_date(moment: datetime, time_zone: str) -> date:
    """The accounting day of a moment in a workspace's time zone (an IANA name)."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


def iso_utc(moment: datetime) -> str:
    """ISO 8601 with milliseconds and 'Z', as the contract shows times."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
