from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import serializers

from routing.models import RoutingDecision
from routing.selectors import candidates_of, shown_candidates
from routing.types import RoutePlan
from zentra.api.serializers import AmountField, CurrencyField, StrictCharField, StrictSerializer
from zentra.core.clock import iso_utc
from zentra.core.ids import InvalidId, parse_public_id, public_id


class MerchantIdField(StrictCharField):
    """A merchant's public id."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return parse_public_id("mer", super().to_internal_value(data))
        except InvalidId:
            raise serializers.ValidationError("expected a merchant id (mer_…)", code="invalid") from None


class SimulationRequest(StrictSerializer):
    """The facts of a payment that might be made."""

    amount_minor = AmountField()
    currency = CurrencyField()
    method = StrictCharField(default="card", max_length=32)
    merchant_id = MerchantIdField(required=False, help_text="Left out: the workspace's default merchant.")
    capture_method = serializers.ChoiceField(choices=("automatic", "manual"), default="automatic")
    seed = StrictCharField(
        default="simulation", max_length=64, help_text="Decides draws by weight; a real payment uses its own id."
    )


class CandidateBody(serializers.Serializer):
    account_id = serializers.CharField()
    name = serializers.CharField()
    provider = serializers.CharField()
    eligible = serializers.BooleanField()
    rank = serializers.IntegerField(allow_null=True, help_text="1 is tried first, 2 after a failover.")
    reasons = serializers.ListField(child=serializers.CharField(), help_text="Why the account was passed over.")
    rule = serializers.CharField(allow_null=True, help_text="The rule that placed the account.")
    placed_by = serializers.ChoiceField(choices=("rule", "account"))
    priority = serializers.IntegerField()
    weight = serializers.IntegerField()


class SimulationBody(serializers.Serializer):
    """A route that would be taken."""

    chosen_account_id = serializers.CharField(allow_null=True)
    candidates = CandidateBody(many=True)
    request = serializers.DictField()
    seed = serializers.CharField()
    ruleset_fingerprint = serializers.CharField()
    made_at = serializers.DateTimeField()


class DecisionBody(SimulationBody):
    """A route that was taken."""

    id = serializers.CharField()
    payment_id = serializers.CharField()


def decision_body(decision: RoutingDecision) -> dict[str, Any]:
    """A stored decision as the API shows it."""
    return {
        "id": decision.public_id,
        "payment_id": public_id("pay", decision.payment_id),
        "chosen_account_id": _account_id(decision.chosen_account_id),
        "candidates": shown_candidates(candidates_of(decision)),
        "request": _shown_request(decision.request),
        "seed": decision.seed,
        "ruleset_fingerprint": decision.ruleset_fingerprint,
        "made_at": iso_utc(decision.made_at),
    }


def simulation_body(plan: RoutePlan) -> dict[str, Any]:
    """A plan that nobody follows, as the API shows it."""
    return {
        "chosen_account_id": _account_id(plan.chosen.account_id if plan.chosen else None),
        "candidates": shown_candidates(plan.candidates),
        "request": _shown_request(plan.request.facts()),
        "seed": plan.seed,
        "ruleset_fingerprint": plan.ruleset_fingerprint,
        "made_at": iso_utc(plan.made_at),
    }


def _account_id(account_id: UUID | None) -> str | None:
    return public_id("pac", account_id) if account_id else None


def _shown_request(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts with public ids."""
    held, merchant_id = facts["credential_account_ids"], facts["merchant_id"]
    return {
        **facts,
        "merchant_id": public_id("mer", UUID(merchant_id)) if merchant_id else None,
        "credential_account_ids": None if held is None else [_account_id(UUID(item)) for item in held],
    }
