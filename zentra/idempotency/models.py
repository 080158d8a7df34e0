from __future__ import annotations

from django.db import models

from zentra.tenancy.models import Workspace


class IdempotencyKey(models.Model):
    """A claimed key: its request's fingerprint, the resource that came of it, and the final answer's bytes."""

    id = models.BigAutoField(primary_key=True)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    operation = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    request_id = models.CharField(max_length=64)
    resource_id = models.UUIDField(null=True, help_text="None for a refusal: nothing came of it but the answer.")
    status = models.PositiveSmallIntegerField(null=True)
    body = models.BinaryField(null=True)
    created_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("workspace", "operation", "key"), name="idempotency_key_once"),
            models.CheckConstraint(
                condition=models.Q(status__isnull=True, body__isnull=True, completed_at__isnull=True)
                | models.Q(status__isnull=False, body__isnull=False, completed_at__isnull=False),
                name="idempotency_answer_whole",
            ),
            models.CheckConstraint(
                condition=models.Q(resource_id__isnull=False) | models.Q(body__isnull=False),
                name="idempotency_stands_for_something",
            ),
        )

    def __str__(self) -> str:
        return f"{self.operation} {self.key}"
