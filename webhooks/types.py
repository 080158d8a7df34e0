"""Values of webhooks that travel between its parts and to other packages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from zentra.core.registries import EventFact

__all__ = ["Claim", "EndpointStatus", "EventFact", "Outcome", "SendTrigger"]


class EndpointStatus(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"


class SendTrigger(StrEnum):
    """Why a delivery exists: an event happened, or a person asked for it again."""

    AUTO = "auto"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Claim:
    """One delivery under lease, with everything that sending it needs; no database is touched with it in
    hand.

    :param attempt: the number of the attempt about to be made, from 1
    :param secrets: signing keys, newest first; never logged (``repr`` leaves them out)
    """

    delivery_id: UUID
    workspace_id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    url: str
    body: bytes = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    attempt: int
    trigger: SendTrigger
    lease_token: UUID


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to.

    :param error: '' for a complete answer; else the kind of `zentra.core.http`'s failure
    :param response: the beginning of the answer's body, scrubbed and capped
    :param signed_at: Unix seconds that were signed, or None when the endpoint had no usable key
    """

    started_at: datetime
    duration_ms: int
    status: int | None
    error: str
    response: str = ""
    signed_at: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
