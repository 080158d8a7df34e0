from __future__ import annotations

from django.db import models

from zentra.core.ids import new_id, public_id
from zentra.tenancy.models import Workspace


class EvidenceRecord(models.Model):
    """Who did what to which object, under which policy, and what changed. Append-only, kept so by the database."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    payment_id = models.UUIDField(null=True, help_text="The payment whose story this belongs to; a bare id.")
    recorded_at = models.DateTimeField()
    content = models.JSONField(help_text="The canonical content that was hashed.")
    content_hash = models.BinaryField(max_length=32, help_text="SHA-256 of the RFC 8785 form of content.")

    class Meta:
        indexes = (
            models.Index(fields=("workspace", "payment_id", "id"), name="evidence_by_payment"),
            models.Index(fields=("workspace", "recorded_at"), name="evidence_by_time"),
        )

    def __str__(self) -> str:
        return public_id("evd", self.id)
