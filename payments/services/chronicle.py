"""The chronicle of one transaction: what changed, for evidence and for the merchant, written together at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from payments.events import payment_data
from payments.models import Payment
from webhooks.services.publish import publish_events
from webhooks.types import EventFact
from zentra.core.ids import public_id
from zentra.evidence.services import record_evidence
from zentra.evidence.types import Fact, RequestContext
from zentra.tenancy.selectors import WorkspaceTerms
from zentra.tenancy.types import RUNTIME, Actor


@dataclass(slots=True)
class Chronicle:
    """Collects facts and events; ``write`` stores them in three statements, inside the transaction they are about."""

    terms: WorkspaceTerms
    actor: Actor = RUNTIME
    context: RequestContext = field(default_factory=RequestContext)
    facts: list[Fact] = field(default_factory=list)
    events: list[EventFact] = field(default_factory=list)

    def record(
        self,
        action: str,
        subject: str,
        *,
        payment_id: UUID | None,
        before: str = "",
        after: str = "",
        policy: Sequence[str] = (),
        journal_ids: Sequence[UUID] = (),
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Add one fact of evidence."""
        self.facts.append(
            Fact(
                workspace_id=self.terms.workspace_id,
                actor=self.actor,
                action=action,
                subject=subject,
                before=before,
                after=after,
                payment_id=payment_id,
                policy=policy,
                journal_ids=[public_id("jrn", journal_id) for journal_id in journal_ids],
                request=self.context,
                data=data or {},
            )
        )

    def announce(self, type: str, object_type: str, object_id: str, data: Mapping[str, Any]) -> None:
        """Add one event for the merchant."""
        self.events.append(
            EventFact(
                workspace_id=self.terms.workspace_id,
                type=type,
                object_type=object_type,
                object_id=object_id,
                data=data,
            )
        )

    def announce_payment(self, type: str, payment: Payment, *, outcome_unknown: bool = False) -> None:
        """Add one event about a payment as it is at this moment."""
        self.announce(type, "payment", payment.public_id, payment_data(payment, outcome_unknown=outcome_unknown))

    def write(self) -> None:
        """Store everything collected, once. :raises NotInTransaction:"""
        record_evidence(facts=self.facts, clock=self.terms.clock)
        publish_events(facts=self.events, clock=self.terms.clock, request=self.context)
        self.facts, self.events = [], []
