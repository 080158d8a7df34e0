"""Who is calling: an API key's text becomes a Caller, in one query."""

from __future__ import annotations

from django.conf import settings

from zentra.core.clock import Clock
from zentra.core.errors import Unauthorized
from zentra.core.ids import public_id
from zentra.tenancy.keys import parse_key
from zentra.tenancy.models import ApiKey
from zentra.tenancy.types import Actor, Caller, Environment, KeyKind


class InvalidApiKey(Unauthorized):
    code = "invalid_api_key"
    summary = "The API key is malformed or unknown."
    remedy = "Copy the key again from where it was shown; a lost key must be rotated."


class ExpiredApiKey(Unauthorized):
    code = "expired_api_key"
    summary = "The API key was revoked or has expired."
    remedy = "Use a current key of the workspace."


class WrongEnvironment(Unauthorized):
    code = "wrong_environment"
    summary = "The key belongs to another environment than this deployment serves."
    remedy = "Use a sandbox key on a sandbox deployment, a live key on a live one."


def authenticate_key(text: str, *, clock: Clock) -> Caller:
    """The caller behind a key.

    :raises InvalidApiKey: not a key's form, or no such key
    :raises ExpiredApiKey: revoked, or past its expiry
    :raises WrongEnvironment: a live key where live is not served
    """
    parsed = parse_key(text)
    if parsed is None:
        raise InvalidApiKey
    if parsed.environment is Environment.LIVE and not settings.ZENTRA_ALLOW_LIVE:
        raise WrongEnvironment
    key = (
        ApiKey.objects.select_related("workspace", "workspace__workspaceclock")
        .filter(public=parsed.public, kind=parsed.kind, workspace__environment=parsed.environment)
        .first()
    )
    if key is None or not parsed.matches(bytes(key.digest)):
        raise InvalidApiKey
    now = clock.now()
    if (key.revoked_at and key.revoked_at <= now) or (key.expires_at and key.expires_at <= now):
        raise ExpiredApiKey
    test_clock = getattr(key.workspace, "workspaceclock", None)
    return Caller(
        workspace_id=key.workspace_id,
        environment=Environment(key.workspace.environment),
        time_zone=key.workspace.time_zone,
        requests_per_minute=key.workspace.requests_per_minute,
        clock_offset_seconds=test_clock.offset_seconds if test_clock else 0,
        key_id=key.id,
        kind=KeyKind(key.kind),
        scopes=frozenset(key.scopes),
        actor=Actor(kind="api_key", id=public_id("key", key.id)),
    )
