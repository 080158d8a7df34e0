"""Writing tenancy: workspaces with their default merchant, API keys, merchants, test clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from zentra.core.clock import Clock
from zentra.core.errors import Conflict, NotFound, Unprocessable
from zentra.tenancy.keys import KeyText, generate_key
from zentra.tenancy.models import ApiKey, Merchant, Organization, Workspace, WorkspaceClock
from zentra.tenancy.types import PUBLIC_SCOPES, SECRET_SCOPES, Actor, Environment, KeyKind, Scope

MAX_ROTATION_GRACE = timedelta(days=7)


class ScopeNotAllowed(Unprocessable):
    code = "scope_not_allowed"
    summary = "This kind of key cannot carry the scope."
    remedy = "Public keys may only tokenize."


class KeyAlreadyRevoked(Conflict):
    code = "key_already_revoked"
    summary = "The key was revoked before."
    remedy = "Create a new key."


class TestClockRefused(Unprocessable):
    code = "test_clock_refused"
    summary = "Only a sandbox workspace has a test clock."
    remedy = "Use a sandbox workspace."

    __test__ = False


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: the only moment at which its text exists."""

    key: ApiKey
    text: KeyText


@transaction.atomic
def create_workspace(
    *, organization: Organization, name: str, environment: Environment, time_zone: str = "UTC"
) -> Workspace:
    """A workspace and its default merchant of the same name."""
    workspace = Workspace.objects.create(
        organization=organization, name=name, environment=environment, time_zone=time_zone
    )
    Merchant.objects.create(workspace=workspace, name=name, is_default=True)
    return workspace


@transaction.atomic
def create_api_key(
    *,
    workspace: Workspace,
    name: str,
    kind: KeyKind,
    actor: Actor,
    scopes: Sequence[Scope] | None = None,
    rotated_from: ApiKey | None = None,
) -> NewKey:
    """A new key; every scope of its kind unless fewer are asked for.

    :raises ScopeNotAllowed: a public key was to get more than tokenization
    """
    possible = SECRET_SCOPES if kind is KeyKind.SECRET else PUBLIC_SCOPES
    wanted = tuple(scopes) if scopes is not None else possible
    if set(wanted) - set(possible):
        raise ScopeNotAllowed(field="scopes")
    text = generate_key(kind, Environment(workspace.environment))
    key = ApiKey.objects.create(
        workspace=workspace,
        name=name,
        kind=kind,
        public=text.public,
        digest=text.digest(),
        last4=text.text[-4:],
        scopes=[scope.value for scope in wanted],
        created_by=str(actor),
        rotated_from=rotated_from,
    )
    return NewKey(key=key, text=text)


@transaction.atomic
def rotate_api_key(*, key_id: UUID, actor: Actor, clock: Clock, grace: timedelta = timedelta(hours=24)) -> NewKey:
    """A successor with the same scopes; the old key ends after the grace (0 to 7 days).

    :raises KeyAlreadyRevoked: the key is dead already
    """
    key = ApiKey.objects.select_for_update(of=("self",)).select_related("workspace").get(id=key_id)
    if key.revoked_at:
        raise KeyAlreadyRevoked
    ends_at = clock.now() + min(max(grace, timedelta()), MAX_ROTATION_GRACE)
    key.expires_at = min(key.expires_at, ends_at) if key.expires_at else ends_at
    key.save(update_fields=["expires_at"])
    return create_api_key(
        workspace=key.workspace,
        name=key.name,
        kind=KeyKind(key.kind),
        actor=actor,
        scopes=[Scope(value) for value in key.scopes],
        rotated_from=key,
    )


@transaction.atomic
def revoke_api_key(*, key_id: UUID, clock: Clock) -> datetime:
    """End a key at once. Returns when. :raises KeyAlreadyRevoked:"""
    key = ApiKey.objects.select_for_update().get(id=key_id)
    if key.revoked_at:
        raise KeyAlreadyRevoked
    key.revoked_at = clock.now()
    key.save(update_fields=["revoked_at"])
    return key.revoked_at


@transaction.atomic
def create_merchant(*, workspace_id: UUID, name: str, payout_destination: str = "") -> Merchant:
    """A merchant of a workspace. :raises NotFound: no such workspace"""
    if not Workspace.objects.filter(id=workspace_id).exists():
        raise NotFound
    return Merchant.objects.create(workspace_id=workspace_id, name=name, payout_destination=payout_destination)


@transaction.atomic
def set_test_clock(*, workspace: Workspace, offset: timedelta) -> WorkspaceClock:
    """Move a sandbox workspace's clock. :raises TestClockRefused: the workspace is live"""
    if workspace.environment != Environment.SANDBOX:
        raise TestClockRefused
    clock, _ = WorkspaceClock.objects.update_or_create(
        workspace=workspace, defaults={"offset_seconds": int(offset.total_seconds())}
    )
    return clock
