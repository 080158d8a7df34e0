"""Bodies of the webhook routes."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from webhooks.services.endpoints import DEFAULT_OVERLAP_SECONDS, MAX_EVENT_TYPES, MAX_OVERLAP_SECONDS
from webhooks.states import DeliveryState
from webhooks.types import EndpointStatus
from zentra.api.serializers import StrictCharField, StrictSerializer
from zentra.core.clock import iso_utc
from zentra.core.ids import public_id


@extend_schema_field(OpenApiTypes.DATETIME)
class TimeField(serializers.Field):
    """A time as the contract shows times."""

    def to_representation(self, value: Any) -> str:
        return iso_utc(value)


class StrictIntegerField(serializers.IntegerField):
    """A JSON integer; text and floats are not converted."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("expected an integer", code="invalid")
        return super().to_internal_value(data)


class EndpointCreation(StrictSerializer):
    """An endpoint to register."""

    url = StrictCharField(max_length=2048)
    description = StrictCharField(max_length=200, required=False, allow_blank=True, default="")
    enabled_events = serializers.ListField(
        child=StrictCharField(max_length=64),
        max_length=MAX_EVENT_TYPES,
        required=False,
        default=list,
        help_text="Event types to send; empty or absent means every type.",
    )


class EndpointChange(StrictSerializer):
    """What to change; what is absent stays."""

    url = StrictCharField(max_length=2048, required=False)
    description = StrictCharField(max_length=200, required=False, allow_blank=True)
    enabled_events = serializers.ListField(
        child=StrictCharField(max_length=64), max_length=MAX_EVENT_TYPES, required=False
    )
    status = serializers.ChoiceField(choices=[item.value for item in EndpointStatus], required=False)


class SecretRotation(StrictSerializer):
    """How long the old secret goes on signing beside the new one."""

    overlap_seconds = StrictIntegerField(
        min_value=0, max_value=MAX_OVERLAP_SECONDS, required=False, default=DEFAULT_OVERLAP_SECONDS
    )


class NoBody(StrictSerializer):
    """The route takes an empty body or an empty object."""


class WebhookEndpointBody(serializers.Serializer):
    """An endpoint. Its secret is shown when it is made or rotated, and never again."""

    id = serializers.CharField(source="public_id")
    url = serializers.CharField()
    description = serializers.CharField()
    enabled_events = serializers.ListField(child=serializers.CharField())
    status = serializers.ChoiceField(choices=[item.value for item in EndpointStatus])
    disabled_at = TimeField(allow_null=True)
    disabled_reason = serializers.CharField()
    previous_secret_valid_until = TimeField(allow_null=True)
    created_at = TimeField()


class WebhookEndpointSecretBody(WebhookEndpointBody):
    """An endpoint with its new secret, shown this once."""

    secret = serializers.SerializerMethodField()

    def get_secret(self, _endpoint: Any) -> str:
        return str(self.context["secret"])


class WebhookDeliveryBody(serializers.Serializer):
    """The sending of one event to one endpoint."""

    id = serializers.CharField(source="public_id")
    event_id = serializers.SerializerMethodField()
    event_type = serializers.CharField(source="event.type")
    endpoint_id = serializers.SerializerMethodField()
    state = serializers.ChoiceField(choices=[item.value for item in DeliveryState])
    trigger = serializers.CharField()
    attempts = serializers.IntegerField()
    last_status = serializers.IntegerField(allow_null=True)
    last_error = serializers.CharField()
    created_at = TimeField()
    next_at = TimeField(allow_null=True)
    finished_at = TimeField(allow_null=True)

    def get_event_id(self, delivery: Any) -> str:
        return public_id("evt", delivery.event_id)

    def get_endpoint_id(self, delivery: Any) -> str:
        return public_id("whe", delivery.endpoint_id)


class WebhookAttemptBody(serializers.Serializer):
    """One attempt, as it was. The answer's body is scrubbed and cut."""

    number = serializers.IntegerField()
    started_at = TimeField()
    duration_ms = serializers.IntegerField()
    status_code = serializers.IntegerField(allow_null=True)
    error = serializers.CharField()
    response = serializers.CharField()
    signature_timestamp = serializers.IntegerField(source="signed_at", allow_null=True)


class WebhookDeliveryDetailBody(WebhookDeliveryBody):
    """A delivery with the log of its attempts."""

    attempt_log = WebhookAttemptBody(source="attempt_log.all", many=True)


class EventObjectBody(serializers.Serializer):
    type = serializers.CharField()
    id = serializers.CharField()


class EventRequestBody(serializers.Serializer):
    id = serializers.CharField(allow_null=True)
    idempotency_key = serializers.CharField(allow_null=True)


class EventBody(serializers.Serializer):
    """An event, exactly as it is delivered."""

    id = serializers.CharField()
    type = serializers.CharField()
    api_version = serializers.CharField()
    created_at = serializers.CharField()
    workspace_id = serializers.CharField()
    environment = serializers.CharField()
    sequence = serializers.IntegerField()
    object = EventObjectBody()
    data = serializers.DictField()  # type: ignore[assignment]
    request = EventRequestBody()


class DeliveriesQuery(serializers.Serializer):
    """Filters of the delivery list."""

    endpoint_id = serializers.CharField(required=False)
    event_id = serializers.CharField(required=False)
    state = serializers.ChoiceField(choices=[item.value for item in DeliveryState], required=False)


class EventsQuery(serializers.Serializer):
    """Where to read on in the event feed."""

    after = serializers.CharField(required=False, default="", allow_blank=True, max_length=64)
    limit = serializers.IntegerField(required=False, default=20, min_value=1, max_value=100)
