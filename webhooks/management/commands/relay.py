"""`manage.py relay`: makes sure that what is due gets sent, whatever happened to the hints."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, InterfaceError, connection

from webhooks import selectors
from webhooks.services import sending
from webhooks.services.publish import DELIVER_JOB
from zentra.core.clock import SYSTEM_CLOCK
from zentra.core.jobs import send_hint

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 0.5
MAX_PAUSE_SECONDS = 10.0
MAX_GAP_LOOKS = 32
#: Looks at the same waiting delivery before the relay sends by itself: the broker is away, or no worker listens.
LOOKS_BEFORE_SENDING = 10


class Command(BaseCommand):
    help = "Look twice a second for due webhook deliveries; hint a worker, or with --inline send them here."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--inline", action="store_true", help="Send from this process: needs neither broker nor worker."
        )
        parser.add_argument("--once", action="store_true", help="Look once, do what is due, and end.")

    def handle(self, *args: Any, inline: bool, once: bool, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        look = Look(inline=inline, stop=stop)
        if once:
            look.work()
            return
        log.info("relay_started", inline=inline)
        look.repeat()
        log.info("relay_stopped")


@dataclass(slots=True)
class Look:
    """One relay process. It holds nothing that matters: all timers are rows."""

    inline: bool
    stop: threading.Event
    _hinted_for: UUID | None = None
    _looks_at_it: int = 0
    _quiet_looks: int = 0
    _next_gap: int = 1

    def repeat(self) -> None:
        """Work until told to stop; a database that is away is waited for, ever longer up to MAX_PAUSE_SECONDS."""
        failures = 0
        while not self.stop.is_set():
            try:
                self.work()
                failures = 0
            except (DatabaseError, InterfaceError) as error:
                failures += 1
                log.warning("relay_database_unreachable", error=type(error).__name__, failures=failures)
                connection.close()
            self.stop.wait(min(LOOK_EVERY_SECONDS * 2 ** min(failures, 10), MAX_PAUSE_SECONDS))

    def work(self) -> None:
        if self.inline:
            sending.deliver_due(clock=SYSTEM_CLOCK, should_stop=self.stop.is_set)
            return
        due = selectors.due_delivery(SYSTEM_CLOCK.now())
        if due is None:
            self._hinted_for = None
        elif self._nobody_sends(due):
            log.warning("relay_sends_itself", looks=LOOKS_BEFORE_SENDING)
            sending.deliver_due(clock=SYSTEM_CLOCK, should_stop=self.stop.is_set)
        elif self._may_hint(due):
            send_hint(DELIVER_JOB)

    def _nobody_sends(self, due: UUID) -> bool:
        """Whether the same delivery has been waiting for so many looks that no worker can be at it."""
        self._looks_at_it = self._looks_at_it + 1 if due == self._hinted_for else 0
        return self._looks_at_it >= LOOKS_BEFORE_SENDING

    def _may_hint(self, due: UUID) -> bool:
        """Hints without progress become rare, or a stopped worker would find thousands of them."""
        if due != self._hinted_for:
            self._hinted_for, self._quiet_looks, self._next_gap = due, 0, 1
            return True
        self._quiet_looks += 1
        if self._quiet_looks < self._next_gap:
            return False
        self._quiet_looks, self._next_gap = 0, min(self._next_gap * 2, MAX_GAP_LOOKS)
        return True
