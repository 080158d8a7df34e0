from __future__ import annotations

from celery import shared_task

from webhooks.services import sending
from zentra.core.clock import SYSTEM_CLOCK


@shared_task(name="webhooks.deliver_due", acks_late=True)
def deliver_due(**_unknown: object) -> None:
    """Send what is due. It carries no work, so a lost or doubled message changes nothing."""
    sending.deliver_due(clock=SYSTEM_CLOCK)
