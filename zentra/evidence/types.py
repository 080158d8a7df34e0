"""What a caller hands over to be recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from zentra.tenancy.types import Actor


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The request that caused an action, as far as there was one. The key is kept as given by the client."""

    request_id: str = ""
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened.

    :param action: dotted past fact ('payment.created', 'attempt.answered', 'drift_case.closed')
    :param subject: public id of what it happened to
    :param before: the subject's state before ('' when it did not exist); ``after`` likewise
    :param policy: verdict names in force ('limit_check.passed')
    :param data: further ids, codes and minor-unit integers; never names, numbers of cards or accounts, or floats
    """

    workspace_id: UUID
    actor: Actor
    action: str
    subject: str
    before: str = ""
    after: str = ""
    payment_id: UUID | None = None
    policy: Sequence[str] = ()
    journal_ids: Sequence[str] = ()
    request: RequestContext = field(default_factory=RequestContext)
    data: Mapping[str, Any] = field(default_factory=dict)
