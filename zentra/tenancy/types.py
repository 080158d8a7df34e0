"""Values of tenancy that cross into other packages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Environment(StrEnum):
    SANDBOX = "sandbox"
    LIVE = "live"


class KeyKind(StrEnum):
    """Secret keys act for the merchant's backend; public keys may only tokenize."""

    SECRET = "sk"  # noqa: S105 - the prefix, not a secret
    PUBLIC = "pk"


class Scope(StrEnum):
    """What a key may do. ``write`` implies ``read`` of the same resource."""

    PAYMENTS_READ = "payments:read"
    PAYMENTS_WRITE = "payments:write"
    REFUNDS_WRITE = "refunds:write"
    TOKENS_WRITE = "tokens:write"
    LEDGER_READ = "ledger:read"
    ROUTING_READ = "routing:read"
    SETTLEMENT_READ = "settlement:read"
    SETTLEMENT_WRITE = "settlement:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    MERCHANTS_READ = "merchants:read"
    MERCHANTS_WRITE = "merchants:write"


PUBLIC_SCOPES = (Scope.TOKENS_WRITE,)
SECRET_SCOPES = tuple(Scope)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. ``kind`` is api_key, operator, worker, provider or system; ``id`` is public text."""

    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


#: The platform itself, named as the product's evidence names it.
RUNTIME = Actor(kind="system", id="svc_runtime")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated API key and the workspace that it opens."""

    workspace_id: UUID
    environment: Environment
    time_zone: str
    requests_per_minute: int
    clock_offset_seconds: int
    key_id: UUID
    kind: KeyKind
    scopes: frozenset[str]
    actor: Actor

    def may(self, scope: Scope) -> bool:
        """Whether the key carries the scope, or the write scope that implies it."""
        resource, _, action = scope.value.partition(":")
        return scope.value in self.scopes or (action == "read" and f"{resource}:write" in self.scopes)
