"""Jobs: the one door to the queue, and slots that make a double run impossible.

A Celery message is a hint that may be lost; PostgreSQL holds the work and its timers, and sweeps find what a lost
hint left behind. So a dead broker never fails a request.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog
from celery import current_app
from django.db import connection
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from zentra.core.db import on_commit, require_transaction

log = structlog.get_logger(__name__)


class UnknownJob(LookupError):
    """No task is registered under this name: a defect of the caller, found at the call."""


def enqueue_on_commit(name: str, **ids: Any) -> None:
    """Hint a worker about work that this transaction commits.

    :param name: the registered task name ('payments.run_capture'); ids must be JSON-able
    :raises UnknownJob: no such task
    :raises NotInTransaction: there is nothing to commit
    """
    require_transaction()
    if name not in current_app.tasks:
        raise UnknownJob(name)
    on_commit(lambda: send_hint(name, **ids))


def send_hint(name: str, **ids: Any) -> bool:
    """Send a hint now; False when the broker cannot be had (the sweep will find the work)."""
    try:
        current_app.tasks[name].apply_async(kwargs=ids, retry=False, ignore_result=True)
    except (BrokerError, RedisError, OSError) as error:
        log.warning("job_hint_lost", job=name, error=type(error).__name__)
        return False
    return True


def claim_slot(name: str, slot: datetime) -> bool:
    """Take the one run of a scheduled job for a slot of time; False when another process has it.

    The row commits with the caller's transaction, so a run that fails leaves the slot free for the next try.
    """
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core_scheduledrun (name, slot) VALUES (%s, %s) ON CONFLICT DO NOTHING", [name, slot]
        )
        return bool(cursor.rowcount == 1)
