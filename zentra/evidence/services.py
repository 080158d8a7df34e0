"""Writing evidence: always inside the transaction of what it records."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import rfc8785

from zentra.core.clock import Clock, iso_utc
from zentra.core.db import require_transaction
from zentra.core.ids import new_id, public_id
from zentra.evidence.models import EvidenceRecord
from zentra.evidence.types import Fact

MAX_FACTS = 1000


def record_evidence(*, facts: Sequence[Fact], clock: Clock) -> list[EvidenceRecord]:
    """Append one hashed record per fact, in one statement.

    :raises NotInTransaction: evidence must commit with what it records, or not at all
    :raises ValueError: more than MAX_FACTS at once, or content that RFC 8785 cannot express (floats out of range)
    """
    require_transaction()
    if len(facts) > MAX_FACTS:
        raise ValueError(f"at most {MAX_FACTS} facts at once")
    records = [_record(fact, clock) for fact in facts]
    return EvidenceRecord.objects.bulk_create(records)


def _record(fact: Fact, clock: Clock) -> EvidenceRecord:
    record_id, moment = new_id(), clock.now()
    content = canonical_content(fact, record_id=record_id, timestamp=iso_utc(moment))
    return EvidenceRecord(
        id=record_id,
        workspace_id=fact.workspace_id,
        payment_id=fact.payment_id,
        recorded_at=moment,
        content=content,
        content_hash=content_hash(content),
    )


def canonical_content(fact: Fact, *, record_id: UUID, timestamp: str) -> dict[str, Any]:
    """The hashed content of a record, with the field names that the product's evidence packet uses."""
    return {
        "id": public_id("evd", record_id),
        "actor": str(fact.actor),
        "scope": public_id("wsp", fact.workspace_id),
        "timestamp": timestamp,
        "action": fact.action,
        "subject": fact.subject,
        "payment_id": public_id("pay", fact.payment_id) if fact.payment_id else None,
        "before": fact.before,
        "after": fact.after,
        "policy": list(fact.policy),
        "ledger": list(fact.journal_ids),
        "request_id": fact.request.request_id,
        "idempotency_key": fact.request.idempotency_key,
        "data": dict(fact.data),
    }


def content_hash(content: dict[str, Any]) -> bytes:
    """SHA-256 over the JSON Canonicalization Scheme form (RFC 8785) of a record's content."""
    return hashlib.sha256(rfc8785.dumps(content)).digest()
