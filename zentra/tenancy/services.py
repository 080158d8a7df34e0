"""Writing tenancy: workspaces with their default merchant, API keys, merchants, test clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import available_timezones

from django.db import transaction

from zentra.core.clock import Clock
from zentra.core.errors import Conflict, NotFound, Unprocessable
from zentra.tenancy.keys import KeyText, generate_key
from zentra.tenancy.models import ApiKey, Merchant, MerchantStatus, Organization, User, Workspace, WorkspaceClock
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


class DefaultMerchantNeeded(Unprocessable):
    code = "default_merchant_needed"
    summary = "The default merchant of a workspace cannot be suspended."
    remedy = "Payments that name no merchant go to it; revoke the workspace's API keys to stop them."


class TestClockRefused(Unprocessable):
    code = "test_clock_refused"
    summary = "Only a sandbox workspace has a test clock."
    remedy = "Use a sandbox workspace."

    __test__ = False


class TimeZoneUnknown(Unprocessable):
    code = "time_zone_unknown"
    summary = "The time zone is not a name of the IANA database."
    remedy = "Use a name such as UTC or Europe/Amsterdam."


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: the only moment at which its text exists."""

    key: ApiKey
    text: KeyText


@transaction.atomic
def create_organization(*, name: str) -> Organization:
    """The owner of workspaces."""
    return Organization.objects.create(name=name)


@transaction.atomic
def ensure_operator(*, username: str, password: str) -> User:
    """A person who may do everything in the admin, with this password from now on."""
    user, _ = User.objects.get_or_create(username=username, defaults={"is_staff": True, "is_superuser": True})
    user.set_password(password)
    user.save(update_fields=["password"])
    return user


@transaction.atomic
def set_request_rate(*, workspace: Workspace, requests_per_minute: int) -> None:
    """Change a workspace's sustained rate of requests."""
    workspace.requests_per_minute = requests_per_minute
    workspace.save(update_fields=["requests_per_minute"])


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
def update_workspace(
    *,
    workspace_id: UUID,
    name: str,
    time_zone: str,
    requests_per_minute: int,
    payment_limit_minor: int | None,
) -> Workspace:
    """Change what may change of a workspace; its organization and environment never do.

    :raises NotFound: no such workspace
    :raises TimeZoneUnknown: not the name of a time zone
    """
    require_time_zone(time_zone)
    workspace = Workspace.objects.select_for_update().filter(id=workspace_id).first()
    if workspace is None:
        raise NotFound
    workspace.name = name
    workspace.time_zone = time_zone
    workspace.requests_per_minute = requests_per_minute
    workspace.payment_limit_minor = payment_limit_minor
    workspace.save(update_fields=["name", "time_zone", "requests_per_minute", "payment_limit_minor"])
    return workspace


def require_time_zone(name: str) -> None:
    """:raises TimeZoneUnknown: not a name of the IANA time zone database"""
    if name not in available_timezones():
        raise TimeZoneUnknown(field="time_zone")


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
def update_merchant(*, merchant_id: UUID, name: str, status: MerchantStatus, payout_destination: str) -> Merchant:
    """Change a merchant; the default one of a workspace stays active, for payments that name none go to it.

    :raises NotFound: no such merchant
    :raises DefaultMerchantNeeded: the default merchant was to be suspended
    """
    merchant = Merchant.objects.select_for_update().filter(id=merchant_id).first()
    if merchant is None:
        raise NotFound
    if merchant.is_default and status != MerchantStatus.ACTIVE:
        raise DefaultMerchantNeeded(field="status")
    merchant.name, merchant.status, merchant.payout_destination = name, status, payout_destination
    merchant.save(update_fields=["name", "status", "payout_destination"])
    return merchant


@transaction.atomic
def set_test_clock(*, workspace: Workspace, offset: timedelta) -> WorkspaceClock:
    """Move a sandbox workspace's clock. :raises TestClockRefused: the workspace is live"""
    if workspace.environment != Environment.SANDBOX:
        raise TestClockRefused
    clock, _ = WorkspaceClock.objects.update_or_create(
        workspace=workspace, defaults={"offset_seconds": int(offset.total_seconds())}
    )
    return clock
