"""Forms in, bodies out (the bodies document what `settlement.events` renders)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import serializers

from settlement.models import SettlementFile
from settlement.states import CaseState
from settlement.types import DriftClass
from zentra.api.serializers import StrictCharField, StrictSerializer
from zentra.core.clock import iso_utc
from zentra.core.ids import InvalidId, parse_public_id, public_id


class UploadForm(serializers.Serializer):
    """What stands beside the bytes: as query parameters of a text/csv body, or as fields of a multipart form."""

    provider_account = StrictCharField(max_length=64, help_text="pac_…")
    name = StrictCharField(max_length=200, required=False, help_text="Under which the provider delivered it.")

    def validate_provider_account(self, value: str) -> UUID:
        try:
            return parse_public_id("pac", value)
        except InvalidId:
            raise serializers.ValidationError("expected a provider account id (pac_…)", code="invalid") from None


class MultipartUploadForm(UploadForm):
    """For the documentation: the multipart form with its file."""

    file = serializers.FileField()


class RunForm(StrictSerializer):
    """A run takes no parameters: it covers everything that is open."""

    idempotency_key = StrictCharField(required=False, allow_blank=True, max_length=256)


class ExceptionsQuery(serializers.Serializer):
    """Filters of the exception list; each may be left out."""

    status = serializers.ChoiceField(choices=[state.value for state in CaseState], required=False)
    drift_class = serializers.ChoiceField(choices=[item.value for item in DriftClass], required=False)
    batch_id = StrictCharField(max_length=64, required=False)
    payment_id = StrictCharField(max_length=64, required=False)

    def validate_batch_id(self, value: str) -> UUID:
        return _parsed("btc", value)

    def validate_payment_id(self, value: str) -> UUID:
        return _parsed("pay", value)


def _parsed(prefix: str, value: str) -> UUID:
    try:
        return parse_public_id(prefix, value)
    except InvalidId as error:
        raise serializers.ValidationError(str(error), code="invalid") from None


class FileErrorBody(serializers.Serializer):
    row = serializers.IntegerField()
    reason = serializers.CharField()


class SettlementFileBody(serializers.Serializer):
    """A file as it came, how much of it was read, and which batches it is about."""

    id = serializers.CharField()
    name = serializers.CharField()
    sha256 = serializers.CharField()
    size_bytes = serializers.IntegerField()
    provider_account_id = serializers.CharField()
    status = serializers.CharField()
    line_count = serializers.IntegerField()
    new_line_count = serializers.IntegerField()
    error_count = serializers.IntegerField()
    errors: Any = FileErrorBody(many=True)
    batch_ids = serializers.ListField(child=serializers.CharField())
    received_at = serializers.DateTimeField()


class TotalsBody(serializers.Serializer):
    count = serializers.IntegerField(allow_null=True)
    gross_minor = serializers.IntegerField(allow_null=True)
    fee_minor = serializers.IntegerField(allow_null=True)
    net_minor = serializers.IntegerField(allow_null=True)


class SettlementBatchBody(serializers.Serializer):
    """A batch: what the provider declared, what its lines sum to, and how many of them are matched."""

    id = serializers.CharField()
    provider_batch_id = serializers.CharField()
    provider_account_id = serializers.CharField()
    file_id = serializers.CharField()
    status = serializers.CharField()
    currency = serializers.CharField()
    declared = TotalsBody()
    computed = TotalsBody()
    matched_count = serializers.IntegerField()
    drifted_count = serializers.IntegerField()
    open_cases = serializers.IntegerField()
    value_on = serializers.DateField(allow_null=True)
    received_at = serializers.DateTimeField()
    matched_at = serializers.DateTimeField(allow_null=True)


class DriftCaseBody(serializers.Serializer):
    """A difference that a person owns until it is closed. ``suspense_minor`` is debit positive: money is missing."""

    id = serializers.CharField()
    status = serializers.CharField()
    severity = serializers.CharField()
    batch_id = serializers.CharField(allow_null=True)
    provider_account_id = serializers.CharField()
    payment_id = serializers.CharField(allow_null=True)
    item_id = serializers.CharField(allow_null=True)
    currency = serializers.CharField()
    expected_minor = serializers.IntegerField(allow_null=True)
    actual_minor = serializers.IntegerField(allow_null=True)
    difference_minor = serializers.IntegerField()
    suspense_minor = serializers.IntegerField()
    owner = serializers.CharField(allow_null=True)
    resolution = serializers.CharField(allow_null=True)
    journal_id = serializers.CharField(allow_null=True)
    closing_journal_id = serializers.CharField(allow_null=True)
    opened_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        # `class` is a word of the language; the field can only be added by its name.
        fields = super().get_fields()
        fields["class"] = serializers.ChoiceField(choices=[item.value for item in DriftClass])
        return fields


class SettlementBatchDetailBody(SettlementBatchBody):
    """A batch with its cases, open ones first."""

    cases = DriftCaseBody(many=True)


class ReconciliationRunBody(serializers.Serializer):
    """A run: `requested`, `running` or `finished`, with its counts then."""

    id = serializers.CharField()
    scope = serializers.CharField()
    scope_key = serializers.CharField()
    ruleset = serializers.CharField()
    status = serializers.CharField()
    counts = serializers.DictField(child=serializers.IntegerField())
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


def file_data(file: SettlementFile, batch_ids: list[str]) -> dict[str, Any]:
    """A file as answers show it; never its bytes."""
    return {
        "id": file.public_id,
        "name": file.name,
        "sha256": file.sha256,
        "size_bytes": file.size_bytes,
        "provider_account_id": public_id("pac", file.provider_account_id),
        "status": file.status,
        "line_count": file.line_count,
        "new_line_count": file.new_line_count,
        "error_count": file.error_count,
        "errors": file.errors,
        "batch_ids": batch_ids,
        "received_at": iso_utc(file.received_at),
    }
