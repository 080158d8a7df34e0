from __future__ import annotations

from django.db import models

from payments.states import (
    REFERENCE_FREE_STATES,
    Amounts,
    AttemptState,
    OperationState,
    PaymentState,
    axis_states,
    status_of,
)
from payments.types import CaptureMethod, CaptureMode, RuntimeStage
from zentra.core.ids import new_id, public_id


def _choices(kind: type) -> list[tuple[str, str]]:
    return [(item.value, item.value) for item in kind]  # type: ignore[attr-defined]


class Customer(models.Model):
    """A merchant's customer, known by the merchant's own reference. Appears on first use."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+")
    reference = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("workspace", "reference"), name="customer_reference_once"),)

    def __str__(self) -> str:
        return self.reference


class Payment(models.Model):
    """One payment from charge to settlement; `payments.services.transitions` alone writes its state and totals."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+")
    merchant = models.ForeignKey("tenancy.Merchant", on_delete=models.PROTECT, related_name="+")
    customer = models.ForeignKey(Customer, null=True, on_delete=models.PROTECT, related_name="+")
    claim_id = models.BigIntegerField(null=True, help_text="The idempotency claim that made it; a bare id.")
    reference = models.CharField(max_length=64)
    currency = models.CharField(max_length=3)
    capture_mode = models.CharField(max_length=32, choices=_choices(CaptureMode))
    capture_method = models.CharField(max_length=16, choices=_choices(CaptureMethod))
    payment_token_id = models.CharField(max_length=64)
    allow_partial = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict)
    state = models.CharField(max_length=16, choices=_choices(PaymentState))
    decline_code = models.CharField(max_length=64, default="", blank=True)
    next_action = models.JSONField(null=True)
    policy = models.JSONField(default=list, help_text="Verdicts of the policies at intake.")
    amount_minor = models.BigIntegerField()
    authorized_minor = models.BigIntegerField(default=0)
    released_minor = models.BigIntegerField(default=0)
    capturing_minor = models.BigIntegerField(default=0)
    captured_minor = models.BigIntegerField(default=0)
    refunding_minor = models.BigIntegerField(default=0)
    refunded_minor = models.BigIntegerField(default=0)
    disputed_minor = models.BigIntegerField(default=0)
    settled_minor = models.BigIntegerField(default=0)
    settled_at = models.DateTimeField(null=True)
    void_due_at = models.DateTimeField(null=True, help_text="When a worker should take up its void if no hint arrived.")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("workspace", "reference"),
                condition=~models.Q(state__in=[state.value for state in REFERENCE_FREE_STATES]),
                name="payment_reference_once",
            ),
            models.CheckConstraint(
                condition=models.Q(amount_minor__gte=1, amount_minor__lte=2**53 - 1), name="payment_amount_bounded"
            ),
            models.CheckConstraint(
                condition=models.Q(capturing_minor__gte=0, captured_minor__gte=0, released_minor__gte=0)
                & models.Q(
                    authorized_minor__gte=models.F("captured_minor")
                    + models.F("capturing_minor")
                    + models.F("released_minor")
                ),
                name="payment_captures_within_authorized",
            ),
            models.CheckConstraint(
                condition=models.Q(refunding_minor__gte=0, refunded_minor__gte=0)
                & models.Q(captured_minor__gte=models.F("refunded_minor") + models.F("refunding_minor")),
                name="payment_refunds_within_captured",
            ),
        )
        indexes = (
            models.Index(fields=("workspace", "-id"), name="payment_by_workspace"),
            models.Index(fields=("workspace", "reference"), name="payment_by_reference"),
            models.Index(fields=("workspace", "state"), name="payment_by_state"),
            models.Index(
                fields=("void_due_at",), condition=models.Q(void_due_at__isnull=False), name="payment_void_due"
            ),
        )

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return public_id("pay", self.id)

    @property
    def amounts(self) -> Amounts:
        return Amounts(
            amount=self.amount_minor,
            authorized=self.authorized_minor,
            released=self.released_minor,
            capturing=self.capturing_minor,
            captured=self.captured_minor,
            refunding=self.refunding_minor,
            refunded=self.refunded_minor,
            disputed=self.disputed_minor,
            settled=self.settled_minor,
        )

    @property
    def status(self) -> str:
        return status_of(PaymentState(self.state), self.amounts)

    def states(self, *, outcome_unknown: bool) -> dict[str, str]:
        """The state of each axis. ``outcome_unknown``: an attempt of its authorization is unresolved."""
        return axis_states(
            PaymentState(self.state),
            self.amounts,
            settled=self.settled_at is not None,
            outcome_unknown=outcome_unknown,
        )


class RuntimeStep(models.Model):
    """When a payment passed a stage of the runtime."""

    id = models.BigAutoField(primary_key=True)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="+")
    stage = models.CharField(max_length=16, choices=_choices(RuntimeStage))
    at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("payment", "stage"), name="runtime_stage_once"),)

    def __str__(self) -> str:
        return f"{self.payment_id} {self.stage}"


class Operation(models.Model):
    """What a capture and a refund have in common."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+")
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="%(class)ss")
    number = models.PositiveIntegerField(help_text="Counts the operations of this kind on the payment, from 1.")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=16, choices=_choices(OperationState))
    failure_code = models.CharField(max_length=64, default="", blank=True)
    tries = models.PositiveIntegerField(default=0, help_text="Tries that never left this machine.")
    due_at = models.DateTimeField(help_text="When a worker should take it up if no hint arrived.")
    settled_at = models.DateTimeField(null=True)
    settled_minor = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    succeeded_at = models.DateTimeField(null=True)

    #: The prefix of the public id.
    prefix = ""

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return public_id(self.prefix, self.id)


class Capture(Operation):
    """Money taken from an authorization. ``pending_minor`` is what of it the merchant has not been released yet."""

    prefix = "cap"

    final = models.BooleanField(default=True)
    pending_minor = models.BigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("payment", "number"), name="capture_number_once"),
            models.CheckConstraint(condition=models.Q(amount_minor__gte=1), name="capture_amount_positive"),
            models.CheckConstraint(condition=models.Q(pending_minor__gte=0), name="capture_pending_not_negative"),
        )
        indexes = (models.Index(fields=("due_at",), condition=models.Q(state="pending"), name="capture_due"),)


class Refund(Operation):
    """Money given back. The three ``from_`` amounts say what it was taken from, for an exact reversal."""

    prefix = "re"

    reference = models.CharField(max_length=64)
    reason = models.CharField(max_length=200, default="", blank=True)
    claim_id = models.BigIntegerField(null=True)
    from_pending_minor = models.BigIntegerField(default=0)
    from_available_minor = models.BigIntegerField(default=0)
    from_receivable_minor = models.BigIntegerField(default=0)
    pending_taken = models.JSONField(default=list, help_text="Which captures gave how much pending: [[id, minor]].")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("payment", "number"), name="refund_number_once"),
            models.UniqueConstraint(
                fields=("workspace", "reference"),
                condition=~models.Q(state="failed"),
                name="refund_reference_once",
            ),
            models.CheckConstraint(condition=models.Q(amount_minor__gte=1), name="refund_amount_positive"),
            models.CheckConstraint(
                condition=models.Q(
                    amount_minor=models.F("from_pending_minor")
                    + models.F("from_available_minor")
                    + models.F("from_receivable_minor")
                ),
                name="refund_sources_explain_amount",
            ),
        )
        indexes = (models.Index(fields=("due_at",), condition=models.Q(state="pending"), name="refund_due"),)


class Attempt(models.Model):
    """One try of one operation of a payment at one provider account; committed as sent before the wire is touched."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+")
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="attempts")
    operation = models.CharField(max_length=16)
    number = models.PositiveIntegerField(help_text="Counts the tries of this operation on the payment, from 1.")
    capture = models.ForeignKey(Capture, null=True, on_delete=models.PROTECT, related_name="+")
    refund = models.ForeignKey(Refund, null=True, on_delete=models.PROTECT, related_name="+")
    provider_account = models.ForeignKey("routing.ProviderAccount", on_delete=models.PROTECT, related_name="+")
    provider_key = models.CharField(max_length=64, help_text="Our idempotency key at the provider; stable for ever.")
    reference = models.CharField(max_length=64, help_text="Our reference at the provider.")
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=16, choices=_choices(AttemptState))
    transport = models.CharField(max_length=24, default="", blank=True)
    verdict = models.CharField(max_length=24, default="", blank=True)
    provider_reference = models.CharField(max_length=128, default="", blank=True)
    code = models.CharField(max_length=64, default="", blank=True)
    network_code = models.CharField(max_length=16, default="", blank=True)
    retry_advice = models.CharField(max_length=32, default="", blank=True)
    conflicts = models.JSONField(default=list)
    exchange = models.JSONField(default=dict, help_text="What may be kept of the exchange: no secret, no body.")
    sent_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)
    elapsed_ms = models.PositiveIntegerField(null=True)
    resolve_at = models.DateTimeField(help_text="When the resolver should ask next.")
    resolve_count = models.PositiveIntegerField(default=0)
    negatives = models.PositiveIntegerField(default=0, help_text="How often the provider said it knows nothing of it.")
    resolved_by = models.CharField(max_length=32, default="", blank=True)
    needs_operator = models.BooleanField(default=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("payment", "operation", "number"), name="attempt_number_once"),
            models.UniqueConstraint(fields=("workspace", "provider_key"), name="attempt_provider_key_once"),
            models.UniqueConstraint(fields=("workspace", "reference"), name="attempt_reference_once"),
        )
        indexes = (
            models.Index(
                fields=("resolve_at",),
                condition=models.Q(state__in=["sent", "unknown", "action_required"]),
                name="attempt_unresolved",
            ),
            models.Index(fields=("provider_account", "provider_reference"), name="attempt_by_provider_ref"),
        )

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return public_id("att", self.id)


class ProviderCallback(models.Model):
    """A provider's callback as it came, kept before any logic: the inbox. One row per provider event."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+")
    provider_account = models.ForeignKey("routing.ProviderAccount", on_delete=models.PROTECT, related_name="+")
    provider_event_id = models.CharField(max_length=128)
    type = models.CharField(max_length=64)
    body = models.BinaryField()
    received_at = models.DateTimeField()
    copies = models.PositiveIntegerField(default=1, help_text="How often the provider sent it.")
    applied_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=64, default="", blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("provider_account", "provider_event_id"), name="callback_once"),)

    def __str__(self) -> str:
        return f"{self.type} {self.provider_event_id}"
