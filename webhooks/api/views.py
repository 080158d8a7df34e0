"""Webhook endpoints, deliveries and the event feed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from webhooks import selectors
from webhooks.api.serializers import (
    DeliveriesQuery,
    EndpointChange,
    EndpointCreation,
    EventBody,
    EventsQuery,
    NoBody,
    SecretRotation,
    WebhookDeliveryBody,
    WebhookDeliveryDetailBody,
    WebhookEndpointBody,
    WebhookEndpointSecretBody,
)
from webhooks.services import deliveries, endpoints
from webhooks.services.endpoints import NewSecret
from webhooks.states import DeliveryState
from webhooks.types import EndpointStatus
from zentra.api import envelope
from zentra.api.schema import enveloped
from zentra.api.views import WorkspaceView
from zentra.core.errors import InvalidFormat
from zentra.core.ids import InvalidId, parse_or_not_found, parse_public_id
from zentra.tenancy.types import Scope

PAGE = [OpenApiParameter("page", int), OpenApiParameter("limit", int)]


class WebhookView(WorkspaceView):
    scopes: ClassVar = {
        "GET": Scope.WEBHOOKS_READ,
        "POST": Scope.WEBHOOKS_WRITE,
        "PATCH": Scope.WEBHOOKS_WRITE,
        "DELETE": Scope.WEBHOOKS_WRITE,
    }

    def reply_secret(self, new: NewSecret, *, status: int) -> Response:
        body = WebhookEndpointSecretBody(new.endpoint, context={"secret": new.secret})
        return self.reply(body.data, status=status)


class Endpoints(WebhookView):
    scopes: ClassVar = {"GET": Scope.WEBHOOKS_READ, "POST": Scope.WEBHOOKS_WRITE}

    @extend_schema(
        operation_id="list_webhook_endpoints",
        parameters=PAGE,
        responses={200: enveloped(WebhookEndpointBody, many=True)},
    )
    def get(self, request: Request) -> Response:
        """The workspace's endpoints, newest first."""
        rows = selectors.endpoints_of(self.workspace_id)
        return self.reply_page(rows, lambda endpoint: WebhookEndpointBody(endpoint).data)

    @extend_schema(
        operation_id="create_webhook_endpoint",
        request=EndpointCreation,
        responses={201: enveloped(WebhookEndpointSecretBody)},
    )
    def post(self, request: Request) -> Response:
        """Register an endpoint. The answer holds its signing secret, which is not shown again."""
        new = endpoints.create_endpoint(
            workspace_id=self.workspace_id,
            **self.parsed(EndpointCreation),
            actor=self.actor,
            clock=self.clock,
            request=self.context(),
        )
        return self.reply_secret(new, status=201)


class EndpointDetail(WebhookView):
    scopes: ClassVar = {
        "GET": Scope.WEBHOOKS_READ,
        "PATCH": Scope.WEBHOOKS_WRITE,
        "DELETE": Scope.WEBHOOKS_WRITE,
    }

    @extend_schema(operation_id="get_webhook_endpoint", responses={200: enveloped(WebhookEndpointBody)})
    def get(self, request: Request, endpoint_id: str) -> Response:
        """One endpoint."""
        endpoint = selectors.endpoint_by_id(self.workspace_id, parse_or_not_found("whe", endpoint_id))
        return self.reply(WebhookEndpointBody(endpoint).data)

    @extend_schema(
        operation_id="update_webhook_endpoint",
        request=EndpointChange,
        responses={200: enveloped(WebhookEndpointBody)},
    )
    def patch(self, request: Request, endpoint_id: str) -> Response:
        """Change an endpoint, or switch it off and on. While it is off, what waits for it goes on waiting."""
        change = self.parsed(EndpointChange)
        status = change.pop("status", None)
        endpoint = endpoints.update_endpoint(
            workspace_id=self.workspace_id,
            endpoint_id=parse_or_not_found("whe", endpoint_id),
            **change,
            enabled=None if status is None else status == EndpointStatus.ENABLED,
            actor=self.actor,
            clock=self.clock,
            request=self.context(),
        )
        return self.reply(WebhookEndpointBody(endpoint).data)

    @extend_schema(operation_id="delete_webhook_endpoint", responses={204: None})
    def delete(self, request: Request, endpoint_id: str) -> Response:
        """Delete an endpoint. Its secret is erased, what waits for it is cancelled, its delivery log stays."""
        endpoints.delete_endpoint(
            workspace_id=self.workspace_id,
            endpoint_id=parse_or_not_found("whe", endpoint_id),
            actor=self.actor,
            clock=self.clock,
            request=self.context(),
        )
        return Response(status=204)


class EndpointSecret(WebhookView):
    scopes: ClassVar = {"POST": Scope.WEBHOOKS_WRITE}

    @extend_schema(
        operation_id="rotate_webhook_secret",
        request=SecretRotation,
        responses={200: enveloped(WebhookEndpointSecretBody)},
    )
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Make a new secret. Until the overlap ends every delivery is signed with both."""
        new = endpoints.rotate_secret(
            workspace_id=self.workspace_id,
            endpoint_id=parse_or_not_found("whe", endpoint_id),
            **self.parsed(SecretRotation),
            actor=self.actor,
            clock=self.clock,
            request=self.context(),
        )
        return self.reply_secret(new, status=200)


class EndpointTest(WebhookView):
    scopes: ClassVar = {"POST": Scope.WEBHOOKS_WRITE}

    @extend_schema(
        operation_id="test_webhook_endpoint", request=NoBody, responses={202: enveloped(WebhookDeliveryBody)}
    )
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Send `webhook.test` to the endpoint, once, even while it is disabled."""
        self.parsed(NoBody)
        delivery = deliveries.send_test_event(
            workspace_id=self.workspace_id,
            endpoint_id=parse_or_not_found("whe", endpoint_id),
            actor=self.actor,
            clock=self.clock,
            request=self.context(),
        )
        return self.reply(WebhookDeliveryBody(delivery).data, status=202)


class Deliveries(WebhookView):
    scopes: ClassVar = {"GET": Scope.WEBHOOKS_READ}

    @extend_schema(
        operation_id="list_webhook_deliveries",
        parameters=[*PAGE, DeliveriesQuery],
        responses={200: enveloped(WebhookDeliveryBody, many=True)},
    )
    def get(self, request: Request) -> Response:
        """The workspace's deliveries, newest first; of one endpoint, one event or one state if asked."""
        query = DeliveriesQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        rows = selectors.deliveries_of(
            self.workspace_id,
            endpoint_id=_id_filter("whe", "endpoint_id", asked),
            event_id=_id_filter("evt", "event_id", asked),
            state=DeliveryState(asked["state"]) if "state" in asked else None,
        )
        return self.reply_page(rows, lambda delivery: WebhookDeliveryBody(delivery).data)


class DeliveryDetail(WebhookView):
    scopes: ClassVar = {"GET": Scope.WEBHOOKS_READ}

    @extend_schema(operation_id="get_webhook_delivery", responses={200: enveloped(WebhookDeliveryDetailBody)})
    def get(self, request: Request, delivery_id: str) -> Response:
        """One delivery with every attempt: time, status, error and the beginning of the answer."""
        delivery = selectors.delivery_by_id(self.workspace_id, parse_or_not_found("whd", delivery_id))
        return self.reply(WebhookDeliveryDetailBody(delivery).data)


class DeliveryReplay(WebhookView):
    scopes: ClassVar = {"POST": Scope.WEBHOOKS_WRITE}

    @extend_schema(
        operation_id="replay_webhook_delivery", request=NoBody, responses={202: enveloped(WebhookDeliveryBody)}
    )
    def post(self, request: Request, delivery_id: str) -> Response:
        """Send the delivery's event once more, with the same bytes, as a delivery of its own."""
        self.parsed(NoBody)
        replay = deliveries.replay_delivery(
            workspace_id=self.workspace_id,
            delivery_id=parse_or_not_found("whd", delivery_id),
            actor=self.actor,
            clock=self.clock,
            request=self.context(),
        )
        return self.reply(WebhookDeliveryBody(replay).data, status=202)


class Events(WebhookView):
    scopes: ClassVar = {"GET": Scope.WEBHOOKS_READ}

    @extend_schema(
        operation_id="list_events",
        parameters=[
            OpenApiParameter("after", str, description="The cursor of an earlier answer; absent: from the start."),
            OpenApiParameter("limit", int),
        ],
        responses={200: enveloped(EventBody, many=True)},
    )
    def get(self, request: Request) -> Response:
        """The workspace's events in commit order without holes. Ask again with `pagination.next_after`."""
        query = EventsQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        after, limit = query.validated_data["after"], query.validated_data["limit"]
        feed = selectors.event_feed(self.workspace_id, after=after, limit=limit)
        pagination = {"limit": limit, "has_more": feed.has_more, "next_after": feed.cursor or None}
        return Response(envelope.success(feed.events, request_id=self.request_id, pagination=pagination))


def _id_filter(prefix: str, name: str, asked: Mapping[str, str]) -> UUID | None:
    """:raises InvalidFormat: the text can be no id of the kind"""
    if name not in asked:
        return None
    try:
        return parse_public_id(prefix, asked[name])
    except InvalidId as error:
        raise InvalidFormat(str(error), field=name, details={"expected": f"{prefix}_…"}) from None
