from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Func, Q
from simple_history.models import HistoricalRecords

from webhooks.states import DeliveryState
from webhooks.types import EndpointStatus, SendTrigger
from zentra.core.ids import new_id, public_id

MAX_RESPONSE_BYTES_KEPT = 16 * 1024


class TransactionIdField(models.Field):
    """PostgreSQL's xid8: the 64-bit number of the transaction that wrote a row, as an int."""

    def db_type(self, connection: Any) -> str:
        return "xid8"

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> int | None:
        return None if value is None else int(value)

    def get_prep_value(self, value: Any) -> Any:
        # The driver sends an int as a number, and PostgreSQL has no cast from a number to xid8.
        return str(value) if isinstance(value, int) else value


class Event(models.Model):
    """A fact told to the merchant: the outbox. Append-only; ``body`` is what every attempt sends, byte for
    byte.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+", db_index=False)
    type = models.CharField(max_length=64)
    object_type = models.CharField(max_length=32)
    object_id = models.CharField(max_length=64, help_text="Public id of what the event is about ('pay_…').")
    sequence = models.BigIntegerField(help_text="Rises by one with every event of the object.")
    api_version = models.CharField(max_length=16)
    body = models.BinaryField()
    body_sha256 = models.BinaryField(max_length=32)
    created_at = models.DateTimeField(help_text="By the workspace's clock.")
    transaction_id = TransactionIdField(
        db_default=Func(function="pg_current_xact_id"),
        editable=False,
        help_text="Lets a reader wait for transactions that are still open, so that a poll misses nothing.",
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("workspace", "object_id", "sequence"), name="webhook_event_sequence_once"),
            models.CheckConstraint(condition=Q(sequence__gte=1), name="webhook_event_sequence_from_one"),
        )
        indexes = (models.Index(fields=("workspace", "transaction_id", "id"), name="webhook_event_feed"),)

    def __str__(self) -> str:
        return f"{self.type} {self.public_id}"

    @property
    def public_id(self) -> str:
        return public_id("evt", self.id)


class ObjectSequence(models.Model):
    """The last event number of an object. Its row lock puts the publishers of one object in commit order."""

    pk = models.CompositePrimaryKey("workspace_id", "object_id")
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+", db_index=False)
    object_id = models.CharField(max_length=64)
    last = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.object_id} {self.last}"


class Endpoint(models.Model):
    """Where a merchant listens. Secrets are stored sealed; a deleted endpoint keeps its log and loses its
    secrets.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+", db_index=False)
    url = models.CharField(max_length=2048)
    description = models.CharField(max_length=200, blank=True)
    enabled_events: ArrayField = ArrayField(
        models.CharField(max_length=64), default=list, blank=True, help_text="Event types; empty means all."
    )
    status = models.CharField(
        max_length=8,
        choices=[(item.value, item.value) for item in EndpointStatus],
        default=EndpointStatus.ENABLED,
    )
    secret = models.BinaryField(editable=False)
    previous_secret = models.BinaryField(null=True, editable=False)
    previous_secret_valid_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(editable=False)
    disabled_at = models.DateTimeField(null=True, editable=False)
    disabled_reason = models.CharField(max_length=64, blank=True, editable=False)
    deleted_at = models.DateTimeField(null=True, editable=False)
    history = HistoricalRecords(excluded_fields=["secret", "previous_secret"])

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(status=EndpointStatus.ENABLED, disabled_at=None)
                | Q(status=EndpointStatus.DISABLED, disabled_at__isnull=False),
                name="webhook_endpoint_disabled_has_time",
            ),
            models.CheckConstraint(
                condition=Q(previous_secret=None, previous_secret_valid_until=None)
                | Q(previous_secret__isnull=False, previous_secret_valid_until__isnull=False),
                name="webhook_endpoint_previous_secret_ends",
            ),
            models.CheckConstraint(
                condition=Q(deleted_at=None) | Q(status=EndpointStatus.DISABLED),
                name="webhook_endpoint_deleted_is_disabled",
            ),
        )
        indexes = (
            models.Index(
                fields=("workspace", "created_at"), condition=Q(deleted_at=None), name="webhook_endpoint_list"
            ),
        )

    def __str__(self) -> str:
        return f"{self.url} ({self.public_id})"

    @property
    def public_id(self) -> str:
        return public_id("whe", self.id)


class Delivery(models.Model):
    """The sending of one event to one endpoint. ``next_at`` is its only timer, by the machine's clock."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+", db_index=False)
    event = models.ForeignKey(Event, on_delete=models.PROTECT, related_name="deliveries")
    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="deliveries", db_index=False)
    state = models.CharField(
        max_length=10,
        choices=[(item.value, item.value) for item in DeliveryState],
        default=DeliveryState.PENDING,
    )
    trigger = models.CharField(
        max_length=6, choices=[(item.value, item.value) for item in SendTrigger], default=SendTrigger.AUTO
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    next_at = models.DateTimeField(null=True, help_text="When the next attempt is due; none once it is finished.")
    lease_until = models.DateTimeField(null=True)
    lease_token = models.UUIDField(null=True)
    finished_at = models.DateTimeField(null=True)
    last_status = models.PositiveSmallIntegerField(null=True)
    last_error = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = (
            models.UniqueConstraint(
                fields=("event", "endpoint"), condition=Q(trigger=SendTrigger.AUTO), name="webhook_delivery_once"
            ),
            models.UniqueConstraint(
                fields=("event", "endpoint"),
                condition=Q(trigger=SendTrigger.MANUAL, state=DeliveryState.PENDING),
                name="webhook_delivery_one_replay_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(state=DeliveryState.PENDING, finished_at=None, next_at__isnull=False)
                | (
                    Q(state__in=[state for state in DeliveryState if state is not DeliveryState.PENDING])
                    & Q(finished_at__isnull=False, next_at=None, lease_token=None)
                ),
                name="webhook_delivery_pending_or_finished",
            ),
            models.CheckConstraint(
                condition=Q(lease_token=None, lease_until=None)
                | Q(lease_token__isnull=False, lease_until__isnull=False),
                name="webhook_delivery_lease_whole",
            ),
        )
        indexes = (
            models.Index(
                fields=("endpoint", "next_at", "id"),
                condition=Q(state=DeliveryState.PENDING, trigger=SendTrigger.AUTO),
                name="webhook_delivery_due",
            ),
            models.Index(
                fields=("next_at", "id"),
                condition=Q(state=DeliveryState.PENDING, trigger=SendTrigger.MANUAL),
                name="webhook_delivery_due_manual",
            ),
            models.Index(fields=("workspace", "-id"), name="webhook_delivery_list"),
            models.Index(fields=("endpoint", "-id"), name="webhook_delivery_of_endpoint"),
        )

    def __str__(self) -> str:
        return f"{self.public_id} {self.state}"

    @property
    def public_id(self) -> str:
        return public_id("whd", self.id)


class DeliveryAttempt(models.Model):
    """One try, as it was. Append-only; the answer is scrubbed and capped at MAX_RESPONSE_BYTES_KEPT."""

    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+", db_index=False)
    delivery = models.ForeignKey(Delivery, on_delete=models.PROTECT, related_name="attempt_log", db_index=False)
    number = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    status_code = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=64, blank=True)
    response = models.TextField(blank=True)
    signed_at = models.BigIntegerField(null=True, help_text="Unix seconds in the signature of this attempt.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("delivery", "number"), name="webhook_attempt_number_once"),)

    def __str__(self) -> str:
        return f"attempt {self.number}"
