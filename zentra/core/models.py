from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class ScheduledRun(models.Model):
    """One run of one scheduled job: the unique (name, slot) makes a double run impossible."""

    name = models.CharField(max_length=64)
    slot = models.DateTimeField()
    claimed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(fields=("name", "slot"), name="scheduled_run_once"),)

    def __str__(self) -> str:
        return f"{self.name} {self.slot:%Y-%m-%dT%H:%MZ}"
