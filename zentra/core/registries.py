"""What must look upward without importing upward: three registries that upper apps fill in ``AppConfig.ready()``.

* trace sections: an app adds its part of a payment's trace;
* ledger proofs: an app adds a check to ``ledger verify``;
* the event sink: lower packages publish events without knowing who stores them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

TraceSection = Callable[..., Any]
LedgerProof = Callable[..., Iterable[str]]


@dataclass(frozen=True, slots=True)
class EventFact:
    """A fact about to be published. ``object_id`` is public text ('pay_…'); ``data`` is JSON-able."""

    workspace_id: UUID
    type: str
    object_type: str
    object_id: str
    data: Mapping[str, Any] = field(default_factory=dict)


EventSink = Callable[[EventFact], None]

_trace_sections: dict[str, TraceSection] = {}
_ledger_proofs: dict[str, LedgerProof] = {}
_event_sinks: list[EventSink] = []


def register_trace_section(name: str, section: TraceSection) -> None:
    """Add ``section(workspace_id=…, payment_id=…)`` to the trace under ``name``. :raises ValueError: name taken"""
    if _trace_sections.get(name, section) is not section:
        raise ValueError(f"trace section {name} is registered twice")
    _trace_sections[name] = section


def trace_sections(*, workspace_id: UUID, payment_id: UUID) -> dict[str, Any]:
    """Every registered section of one payment's trace, by name."""
    return {
        name: section(workspace_id=workspace_id, payment_id=payment_id)
        for name, section in sorted(_trace_sections.items())
    }


def register_ledger_proof(name: str, proof: LedgerProof) -> None:
    """Add ``proof(workspace_id=…)``, which yields one sentence per violation. :raises ValueError: name taken"""
    if _ledger_proofs.get(name, proof) is not proof:
        raise ValueError(f"ledger proof {name} is registered twice")
    _ledger_proofs[name] = proof


def ledger_proofs() -> dict[str, LedgerProof]:
    return dict(_ledger_proofs)


def set_event_sink(sink: EventSink) -> None:
    """Name who stores events. Exactly one sink exists."""
    _event_sinks[:] = [sink]


def publish_fact(fact: EventFact) -> None:
    """Publish from below the sink's owner, inside the business transaction. :raises LookupError: no sink is set"""
    if not _event_sinks:
        raise LookupError("no event sink is registered")
    _event_sinks[0](fact)
