"""The acquirer's own clock: the system's time, moved by an offset that the control API sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# Ten years either way is more than any test of settlement dates needs.
MAX_OFFSET_SECONDS = 10 * 366 * 24 * 3600


class SimulatorClock:
    """Business time of one acquirer, always UTC. Timers and signatures use the system's time instead."""

    def __init__(self, *, offset_seconds: int = 0) -> None:
        self.offset_seconds = offset_seconds

    def now(self) -> datetime:
        """Return the acquirer's present time."""
        return datetime.now(UTC) + timedelta(seconds=self.offset_seconds)


def iso(moment: datetime) -> str:
    """Return the moment as text, UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
