from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction

from tests.factories.tenancy import OPERATOR, Tenant
from webhooks.models import Endpoint, Event
from webhooks.services import endpoints, publish
from webhooks.services.endpoints import NewSecret
from webhooks.signing import parse_secret
from zentra.core.clock import SYSTEM_CLOCK


def make_endpoint(tenant: Tenant, url: str = "http://127.0.0.1:9/", **fields: Any) -> NewSecret:
    """An enabled endpoint and its secret."""
    return endpoints.create_endpoint(
        workspace_id=tenant.workspace.id, url=url, actor=OPERATOR, clock=SYSTEM_CLOCK, **fields
    )


def change_endpoint(tenant: Tenant, endpoint: Endpoint, **changes: Any) -> Endpoint:
    return endpoints.update_endpoint(
        workspace_id=tenant.workspace.id,
        endpoint_id=endpoint.id,
        actor=OPERATOR,
        clock=SYSTEM_CLOCK,
        **changes,
    )


def publish_one(tenant: Tenant, object_id: str = "pay_1", type: str = "payment.created", **data: Any) -> Event:
    """One event in a transaction of its own."""
    with transaction.atomic():
        return publish_inside(tenant.workspace.id, object_id, type, **data)


def publish_inside(workspace_id: UUID, object_id: str = "pay_1", type: str = "payment.created", **data: Any) -> Event:
    return publish.publish_event(
        workspace_id=workspace_id,
        type=type,
        object_type="payment",
        object_id=object_id,
        data=data,
        clock=SYSTEM_CLOCK,
    )


def key_of(new: NewSecret) -> bytes:
    return parse_secret(new.secret)
