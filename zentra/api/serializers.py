"""Strict fields and serializers: a wrong type is an error that names the field, never a silent conversion."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from zentra.core.errors import ZentraError
from zentra.core.money import MAX_AMOUNT_MINOR, currency_exponent, require_amount


class StrictSerializer(serializers.Serializer):
    """Refuses fields that it does not know: a misspelt option must not be ignored where money moves."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(set(map(str, data)) - set(self.fields))[:5]
            if unknown:
                expected = ", ".join(sorted(self.fields))
                raise serializers.ValidationError(
                    {
                        name: [serializers.ErrorDetail(f"unknown field; expected one of {expected}", "unknown_field")]
                        for name in unknown
                    }
                )
        return super().to_internal_value(data)


#: For the schema: the form of an amount, and of a currency.
AMOUNT_SCHEMA = {"type": "integer", "minimum": 1, "maximum": MAX_AMOUNT_MINOR}
CURRENCY_SCHEMA = {"type": "string", "pattern": "^[A-Z]{3}$", "description": "An upper-case ISO 4217 code."}


@extend_schema_field(AMOUNT_SCHEMA)
class AmountField(serializers.Field):
    """An amount in minor units: a JSON integer from 1 to 2^53−1; no float, no text, no boolean."""

    def to_internal_value(self, data: Any) -> int:
        return _checked(lambda: require_amount(data, field=self.field_name or "amount_minor"))

    def to_representation(self, value: int) -> int:
        return value


@extend_schema_field(CURRENCY_SCHEMA)
class CurrencyField(serializers.Field):
    """An upper-case ISO 4217 code."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("expected a three-letter ISO 4217 code", code="invalid")
        _checked(lambda: currency_exponent(data))
        return data

    def to_representation(self, value: str) -> str:
        return value


class StrictCharField(serializers.CharField):
    """Text that must come as JSON text; numbers and booleans are not converted. NUL and control characters refused."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("expected text", code="invalid")
        if any(ord(character) < 32 or ord(character) == 127 for character in data):
            raise serializers.ValidationError("control characters are not accepted", code="invalid")
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    """true or false, not their many spellings."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("expected true or false", code="invalid")
        return data


def _checked(check: Any) -> Any:
    try:
        return check()
    except ZentraError as error:
        raise serializers.ValidationError(error.message, code=error.code) from None
