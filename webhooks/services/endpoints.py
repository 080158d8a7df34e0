"""Endpoints: where a merchant listens, and the secrets that sign what is sent there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from webhooks.models import Delivery, Endpoint
from webhooks.selectors import EndpointNotFound
from webhooks.services import publish
from webhooks.signing import new_secret, secret_text
from webhooks.states import DeliveryState, DeliveryTrigger, next_state
from webhooks.types import EndpointStatus
from zentra.core import http
from zentra.core.clock import SYSTEM_CLOCK, Clock
from zentra.core.crypto import CannotDecrypt, seal, unseal
from zentra.core.db import require_transaction
from zentra.core.errors import Conflict, Unprocessable
from zentra.core.ids import new_id
from zentra.evidence.services import record_evidence
from zentra.evidence.types import Fact, RequestContext
from zentra.tenancy.clocks import clock_for
from zentra.tenancy.models import Workspace
from zentra.tenancy.types import RUNTIME, Actor, Environment

MAX_ENDPOINTS = 50
MAX_EVENT_TYPES = 100
DEFAULT_OVERLAP_SECONDS = 24 * 3600
MAX_OVERLAP_SECONDS = 7 * 24 * 3600
GONE, BY_REQUEST = "gone_410", "by_request"
PUBLIC_PORTS = {"https": (443, 8443), "http": (80,)}
_RESOLVE_SECONDS = 2.0
# Standard Webhooks: segments of letters, digits and underscores, joined by dots.
_EVENT_TYPE = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)+")


class EndpointUrlRefused(Unprocessable):
    code = "webhook_url_refused"
    summary = "The URL cannot be used for webhooks."
    remedy = "Give an https URL on port 443 or 8443 whose host has public addresses only."


class EventTypesRefused(Unprocessable):
    code = "webhook_event_types_refused"
    summary = "The list of event types is not acceptable."
    remedy = "List event types such as `payment.created`, each once, or none at all for every type."


class TooManyEndpoints(Conflict):
    code = "webhook_endpoint_limit"
    summary = f"A workspace has at most {MAX_ENDPOINTS} webhook endpoints."
    remedy = "Delete an endpoint that is not used any more."


class RotationUnderWay(Conflict):
    code = "webhook_rotation_under_way"
    summary = "The previous secret is still valid; at most two are valid at a time."
    remedy = "Wait until `previous_secret_valid_until`, or rotate with `overlap_seconds` 0 to end it now."


@dataclass(frozen=True, slots=True)
class NewSecret:
    """An endpoint and the text of its new secret, which is shown this once."""

    endpoint: Endpoint
    secret: str = field(repr=False)


def create_endpoint(
    *,
    workspace_id: UUID,
    url: str,
    description: str = "",
    enabled_events: Sequence[str] = (),
    actor: Actor,
    clock: Clock,
    request: RequestContext | None = None,
) -> NewSecret:
    """Register an endpoint, enabled at once, with a secret of its own.

    :param enabled_events: event types to send; empty for every type
    :raises EndpointUrlRefused: the URL is not one that the platform calls from this workspace
    :raises EventTypesRefused: a malformed or repeated type
    :raises TooManyEndpoints: MAX_ENDPOINTS exist
    """
    require_acceptable_url(url=url, environment=_environment(workspace_id))
    event_types = _event_types(enabled_events)
    with transaction.atomic(durable=True):
        # Locked, so that two creations at once cannot both see room for one.
        Workspace.objects.select_for_update(no_key=True).get(id=workspace_id)
        if Endpoint.objects.filter(workspace_id=workspace_id, deleted_at=None).count() >= MAX_ENDPOINTS:
            raise TooManyEndpoints
        endpoint_id, secret = new_id(), new_secret()
        endpoint = Endpoint.objects.create(
            id=endpoint_id,
            workspace_id=workspace_id,
            url=url,
            description=description,
            enabled_events=event_types,
            secret=_sealed(secret, workspace_id, endpoint_id, "secret"),
            created_at=clock.now(),
        )
        _record(endpoint, "created", actor, clock, request, before="", after=endpoint.status)
    return NewSecret(endpoint, secret_text(secret))


def update_endpoint(
    *,
    workspace_id: UUID,
    endpoint_id: UUID,
    actor: Actor,
    clock: Clock,
    url: str | None = None,
    description: str | None = None,
    enabled_events: Sequence[str] | None = None,
    enabled: bool | None = None,
    request: RequestContext | None = None,
) -> Endpoint:
    """Change what is given; what is left out stays. Deliveries that wait go to the new URL.

    While an endpoint is disabled its pending deliveries wait, without using up attempts, and no new ones are made.

    :raises EndpointNotFound:
    :raises EndpointUrlRefused: or EventTypesRefused: nothing is changed
    """
    if url is not None:
        require_acceptable_url(url=url, environment=_environment(workspace_id))
    event_types = None if enabled_events is None else _event_types(enabled_events)
    with transaction.atomic(durable=True):
        endpoint = _locked(workspace_id, endpoint_id)
        before = endpoint.status
        endpoint.url = endpoint.url if url is None else url
        endpoint.description = endpoint.description if description is None else description
        endpoint.enabled_events = endpoint.enabled_events if event_types is None else event_types
        if enabled is not None and enabled != (before == EndpointStatus.ENABLED):
            _set_status(endpoint, enabled=enabled, reason=BY_REQUEST, clock=clock)
        endpoint.save()
        _record(endpoint, "updated", actor, clock, request, before=before, after=endpoint.status)
        if enabled:
            publish.hint_deliveries()
    return endpoint


@transaction.atomic(durable=True)
def rotate_secret(
    *,
    workspace_id: UUID,
    endpoint_id: UUID,
    actor: Actor,
    clock: Clock,
    overlap_seconds: int = DEFAULT_OVERLAP_SECONDS,
    request: RequestContext | None = None,
) -> NewSecret:
    """Give an endpoint a new secret. Until the overlap ends both sign, so that a receiver can change over
    calmly.

    The end of the overlap is a delivery timer and read by the machine's clock; ``clock`` dates the evidence.

    :param overlap_seconds: 0 to MAX_OVERLAP_SECONDS; 0 ends every earlier secret now
    :raises EndpointNotFound:
    :raises RotationUnderWay: an earlier rotation still overlaps, and this one asks for an overlap too
    """
    if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
        raise Unprocessable(
            f"overlap_seconds must be 0 to {MAX_OVERLAP_SECONDS}",
            field="overlap_seconds",
            details={"expected": f"integer, 0 to {MAX_OVERLAP_SECONDS}"},
        )
    endpoint, now = _locked(workspace_id, endpoint_id), SYSTEM_CLOCK.now()
    ends = endpoint.previous_secret_valid_until
    if overlap_seconds and ends is not None and ends > now:
        raise RotationUnderWay
    current, fresh = _opened(endpoint.secret, workspace_id, endpoint_id, "secret"), new_secret()
    if overlap_seconds and current is not None:
        endpoint.previous_secret = _sealed(current, workspace_id, endpoint_id, "previous_secret")
        endpoint.previous_secret_valid_until = now + timedelta(seconds=overlap_seconds)
    else:
        endpoint.previous_secret, endpoint.previous_secret_valid_until = None, None
    endpoint.secret = _sealed(fresh, workspace_id, endpoint_id, "secret")
    endpoint.save()
    _record(endpoint, "secret_rotated", actor, clock, request, before=endpoint.status, after=endpoint.status)
    return NewSecret(endpoint, secret_text(fresh))


@transaction.atomic(durable=True)
def delete_endpoint(
    *,
    workspace_id: UUID,
    endpoint_id: UUID,
    actor: Actor,
    clock: Clock,
    request: RequestContext | None = None,
) -> None:
    """Take an endpoint away for good: its secrets are erased, what waits for it is cancelled, its log stays.

    :raises EndpointNotFound:
    """
    endpoint = _locked(workspace_id, endpoint_id)
    before = endpoint.status
    endpoint.deleted_at = clock.now()
    endpoint.secret, endpoint.previous_secret, endpoint.previous_secret_valid_until = b"", None, None
    _set_status(endpoint, enabled=False, reason="deleted", clock=clock)
    endpoint.save()
    Delivery.objects.filter(workspace_id=workspace_id, endpoint_id=endpoint_id, state=DeliveryState.PENDING).update(
        state=next_state(DeliveryState.PENDING, DeliveryTrigger.ENDPOINT_DELETED),
        finished_at=SYSTEM_CLOCK.now(),
        next_at=None,
        lease_until=None,
        lease_token=None,
    )
    _record(endpoint, "deleted", actor, clock, request, before=before, after="deleted")


def disable_gone_endpoint(*, workspace_id: UUID, endpoint_id: UUID) -> None:
    """Switch off an endpoint that answered 410, and tell the workspace's other endpoints.

    :raises NotInTransaction: this commits with the result of the attempt
    """
    require_transaction()
    clock = clock_for(workspace_id)
    endpoint = (
        Endpoint.objects.select_for_update(no_key=True)
        .filter(workspace_id=workspace_id, id=endpoint_id, status=EndpointStatus.ENABLED)
        .first()
    )
    if endpoint is None:
        return
    _set_status(endpoint, enabled=False, reason=GONE, clock=clock)
    endpoint.save()
    _record(
        endpoint,
        "disabled",
        RUNTIME,
        clock,
        None,
        before=EndpointStatus.ENABLED,
        after=EndpointStatus.DISABLED,
    )
    publish.publish_event(
        workspace_id=workspace_id,
        type="webhook.endpoint.disabled",
        object_type="webhook_endpoint",
        object_id=endpoint.public_id,
        data={"endpoint_id": endpoint.public_id, "reason": GONE},
        clock=clock,
    )


@transaction.atomic(durable=True)
def erase_expired_secrets(*, now: datetime) -> None:
    """Erase previous secrets whose overlap is over; they have stopped signing at that moment anyway."""
    Endpoint.objects.filter(previous_secret_valid_until__lte=now).update(
        previous_secret=None, previous_secret_valid_until=None
    )


def live_secrets(
    *,
    workspace_id: UUID,
    endpoint_id: UUID,
    sealed: bytes,
    sealed_previous: bytes | None,
    previous_valid_until: datetime | None,
    now: datetime,
) -> tuple[bytes, ...]:
    """The keys that sign at a moment, newest first; a key that does not open is left out."""
    found = [_opened(sealed, workspace_id, endpoint_id, "secret")]
    if sealed_previous is not None and previous_valid_until is not None and previous_valid_until > now:
        found.append(_opened(sealed_previous, workspace_id, endpoint_id, "previous_secret"))
    return tuple(secret for secret in found if secret is not None)


def require_acceptable_url(*, url: str, environment: Environment) -> None:
    """Refuse a URL that deliveries would refuse, as far as that can be told now; every delivery checks again.

    A public host is called by https on port 443 or 8443; in a sandbox also by http on port 80. Inside the
    networks that the operator allows, http and any port are the operator's own affair. A name that does not
    resolve yet is accepted where the scheme does not depend on it.

    :raises EndpointUrlRefused:
    """
    networks = http.allowed_networks()
    try:
        target = http.parse_target(url)
        entries = http.resolve_checked(target, networks, timeout_seconds=_RESOLVE_SECONDS)
    except http.AddressRefused as refused:
        raise EndpointUrlRefused(refused.reason, field="url") from None
    except http.NotSent:
        entries = []
    inside = bool(entries) and all(
        http.in_networks(http.unwrapped_address(str(entry[4][0])), networks) for entry in entries
    )
    if inside:
        return
    if target.scheme == "http" and environment is not Environment.SANDBOX:
        raise EndpointUrlRefused("live webhooks need https", field="url")
    if target.port not in PUBLIC_PORTS[target.scheme]:
        ports = " or ".join(str(port) for port in PUBLIC_PORTS[target.scheme])
        raise EndpointUrlRefused(f"{target.scheme} needs port {ports}", field="url")


def _environment(workspace_id: UUID) -> Environment:
    return Environment(Workspace.objects.values_list("environment", flat=True).get(id=workspace_id))


def _event_types(given: Sequence[str]) -> list[str]:
    types = list(given)
    if len(types) > MAX_EVENT_TYPES or len(set(types)) != len(types):
        raise EventTypesRefused(field="enabled_events", details={"expected": f"up to {MAX_EVENT_TYPES}, each once"})
    for event_type in types:
        if len(event_type) > 64 or not _EVENT_TYPE.fullmatch(event_type):
            raise EventTypesRefused(field="enabled_events", details={"expected": "for example payment.created"})
    return types


def _locked(workspace_id: UUID, endpoint_id: UUID) -> Endpoint:
    """:raises EndpointNotFound:"""
    endpoint = (
        # FOR NO KEY UPDATE: publishers that insert deliveries of this endpoint need not wait.
        Endpoint.objects.select_for_update(no_key=True)
        .filter(workspace_id=workspace_id, id=endpoint_id, deleted_at=None)
        .first()
    )
    if endpoint is None:
        raise EndpointNotFound
    return endpoint


def _set_status(endpoint: Endpoint, *, enabled: bool, reason: str, clock: Clock) -> None:
    """Change the row in memory; the caller saves it."""
    endpoint.status = EndpointStatus.ENABLED if enabled else EndpointStatus.DISABLED
    endpoint.disabled_at = None if enabled else clock.now()
    endpoint.disabled_reason = "" if enabled else reason


def _context(workspace_id: UUID, endpoint_id: UUID, column: str) -> str:
    return f"webhooks_endpoint|{column}|{workspace_id}|{endpoint_id}"


def _sealed(secret: bytes, workspace_id: UUID, endpoint_id: UUID, column: str) -> bytes:
    return seal(secret, context=_context(workspace_id, endpoint_id, column))


def _opened(sealed: bytes | memoryview, workspace_id: UUID, endpoint_id: UUID, column: str) -> bytes | None:
    try:
        return unseal(bytes(sealed), context=_context(workspace_id, endpoint_id, column))
    except CannotDecrypt:
        return None


def _record(
    endpoint: Endpoint,
    action: str,
    actor: Actor,
    clock: Clock,
    request: RequestContext | None,
    *,
    before: str,
    after: str,
) -> None:
    """Evidence of what was done to an endpoint; never with a secret or the URL, which may hold a token."""
    fact = Fact(
        workspace_id=endpoint.workspace_id,
        actor=actor,
        action=f"webhook_endpoint.{action}",
        subject=endpoint.public_id,
        before=before,
        after=after,
        request=request or RequestContext(),
    )
    record_evidence(facts=[fact], clock=clock)
