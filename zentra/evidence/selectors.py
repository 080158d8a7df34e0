from __future__ import annotations

from uuid import UUID

from zentra.core.ids import public_id
from zentra.evidence.models import EvidenceRecord

MAX_RECORDS = 500


def evidence_of_payment(workspace_id: UUID, payment_id: UUID) -> list[dict[str, object]]:
    """The records of one payment, oldest first, at most MAX_RECORDS, each with its hash in hex."""
    records = EvidenceRecord.objects.filter(workspace_id=workspace_id, payment_id=payment_id).order_by("id")
    return [
        {
            **record.content,
            "id": public_id("evd", record.id),
            "content_hash": bytes(record.content_hash).hex(),
        }
        for record in records[:MAX_RECORDS]
    ]
