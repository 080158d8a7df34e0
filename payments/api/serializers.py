"""Forms in, bodies out (the bodies document what `payments.events` renders)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from payments.types import DEFAULT_SANDBOX_TOKEN, METADATA_MAX_ENTRIES, CaptureMethod, CaptureMode, NewPayment
from zentra.api.serializers import AmountField, CurrencyField, StrictBooleanField, StrictCharField, StrictSerializer
from zentra.core.ids import InvalidId, parse_public_id


class MetadataField(serializers.DictField):
    """Up to 20 pairs of short text."""

    child = StrictCharField(max_length=500, allow_blank=True)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        found = super().to_internal_value(data)
        if any(ord(character) < 32 or ord(character) == 127 for name in found for character in name):
            raise serializers.ValidationError("control characters are not accepted in names", code="invalid")
        if len(found) > METADATA_MAX_ENTRIES or any(len(name) > 40 for name in found):
            raise serializers.ValidationError(
                f"at most {METADATA_MAX_ENTRIES} entries with names of at most 40 characters", code="too_large"
            )
        return found


class KeyedForm(StrictSerializer):
    """Every mutation may carry its idempotency key in the body."""

    idempotency_key = StrictCharField(required=False, allow_blank=True, max_length=256)


class CreatePaymentForm(KeyedForm):
    amount_minor = AmountField()
    currency = CurrencyField()
    reference = StrictCharField(required=False, max_length=64)
    customer_id = StrictCharField(required=False, max_length=64)
    customer = StrictCharField(required=False, max_length=64, help_text="Alias of customer_id.")
    merchant_id = StrictCharField(required=False, max_length=64)
    payment_token_id = StrictCharField(required=False, max_length=64)
    capture_mode = serializers.ChoiceField(choices=[mode.value for mode in CaptureMode], required=False)
    capture_method = serializers.ChoiceField(choices=[method.value for method in CaptureMethod], required=False)
    allow_partial = StrictBooleanField(required=False)
    metadata = MetadataField(required=False)

    def validate_reference(self, value: str) -> str:
        if value.startswith("pay_"):
            raise serializers.ValidationError("a reference must not look like a payment id", code="invalid")
        return value

    def validate_merchant_id(self, value: str) -> str:
        try:
            parse_public_id("mer", value)
        except InvalidId:
            raise serializers.ValidationError("expected a merchant id (mer_…)", code="invalid") from None
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "customer" in attrs and attrs.get("customer_id", attrs["customer"]) != attrs["customer"]:
            raise serializers.ValidationError({"customer": "differs from customer_id, which it is an alias of"})
        return attrs


def new_payment(body: dict[str, Any]) -> NewPayment:
    """The checked form as a value."""
    merchant = body.get("merchant_id")
    return NewPayment(
        amount_minor=body["amount_minor"],
        currency=body["currency"],
        reference=body.get("reference", ""),
        customer_id=body.get("customer_id") or body.get("customer", ""),
        merchant_id=parse_public_id("mer", merchant) if merchant else None,
        payment_token_id=body.get("payment_token_id", DEFAULT_SANDBOX_TOKEN),
        capture_mode=CaptureMode(body.get("capture_mode", CaptureMode.CUSTOMER_ACTION_REQUIRED)),
        capture_method=CaptureMethod(body.get("capture_method", CaptureMethod.AUTOMATIC)),
        allow_partial=body.get("allow_partial", False),
        metadata=body.get("metadata", {}),
    )


class CreateCaptureForm(KeyedForm):
    amount_minor = AmountField(required=False)
    final = StrictBooleanField(required=False)


class VoidForm(KeyedForm):
    pass


class CreateRefundForm(KeyedForm):
    charge_reference = StrictCharField(max_length=64)
    amount_minor = AmountField(required=False)
    reference = StrictCharField(required=False, max_length=64)
    reason = StrictCharField(required=False, max_length=200)

    def validate_reference(self, value: str) -> str:
        if value.startswith("re_"):
            raise serializers.ValidationError("a reference must not look like a refund id", code="invalid")
        return value


class StatesBody(serializers.Serializer):
    authorization = serializers.CharField()
    capture = serializers.CharField()
    refund = serializers.CharField()
    dispute = serializers.CharField()
    settlement = serializers.CharField()


class NextActionBody(serializers.Serializer):
    type = serializers.CharField()
    url = serializers.CharField()


class PaymentBody(serializers.Serializer):
    id = serializers.CharField()
    reference = serializers.CharField()
    status = serializers.CharField()
    states = StatesBody()
    currency = serializers.CharField()
    amount_minor = serializers.IntegerField()
    authorized_minor = serializers.IntegerField()
    capturable_minor = serializers.IntegerField()
    captured_minor = serializers.IntegerField()
    refunded_minor = serializers.IntegerField()
    disputed_minor = serializers.IntegerField()
    settled_minor = serializers.IntegerField()
    merchant_id = serializers.CharField()
    customer_id = serializers.CharField(allow_null=True)
    payment_token_id = serializers.CharField()
    capture_mode = serializers.CharField()
    capture_method = serializers.CharField()
    decline_code = serializers.CharField(allow_null=True)
    next_action = NextActionBody(allow_null=True)
    metadata = serializers.DictField(child=serializers.CharField())
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class ChargeBody(PaymentBody):
    predecessors = serializers.ListField(child=serializers.CharField())


class CaptureBody(serializers.Serializer):
    id = serializers.CharField()
    payment_id = serializers.CharField()
    number = serializers.IntegerField()
    status = serializers.CharField()
    amount_minor = serializers.IntegerField()
    currency = serializers.CharField()
    final = serializers.BooleanField()
    settled_minor = serializers.IntegerField()
    failure_code = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()


class RefundBody(serializers.Serializer):
    id = serializers.CharField()
    reference = serializers.CharField()
    payment_id = serializers.CharField()
    charge_reference = serializers.CharField()
    status = serializers.CharField()
    amount_minor = serializers.IntegerField()
    currency = serializers.CharField()
    reason = serializers.CharField(allow_null=True)
    failure_code = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()


class TraceBody(serializers.Serializer):
    payment = PaymentBody()
    runtime = serializers.ListField(child=serializers.DictField())
    policy = serializers.ListField(child=serializers.CharField())
    route = serializers.ListField(child=serializers.DictField())
    attempts = serializers.ListField(child=serializers.DictField())
    captures = CaptureBody(many=True)
    refunds = RefundBody(many=True)
    ledger = serializers.ListField(child=serializers.DictField())
    events = serializers.ListField(child=serializers.DictField())
    settlement = serializers.DictField()
    evidence = serializers.ListField(child=serializers.DictField())
