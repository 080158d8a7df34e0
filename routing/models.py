from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from simple_history.models import HistoricalRecords

from routing.providers.registry import adapter_codes
from routing.types import MAX_DEADLINE_SECONDS
from zentra.core.ids import new_id, public_id
from zentra.tenancy.models import Merchant, Workspace

MAX_PLACE = 10_000


def _providers() -> list[tuple[str, str]]:
    return [(code, code) for code in adapter_codes()]


def _amount_range() -> Q:
    """Bounds are amounts, and the lower one is not above the upper one; a missing bound is no bound."""
    return (
        (Q(min_amount_minor__isnull=True) | Q(min_amount_minor__gte=1))
        & (Q(max_amount_minor__isnull=True) | Q(max_amount_minor__gte=1))
        & (
            Q(min_amount_minor__isnull=True)
            | Q(max_amount_minor__isnull=True)
            | Q(max_amount_minor__gte=F("min_amount_minor"))
        )
    )


def _place() -> Q:
    return Q(priority__lte=MAX_PLACE, weight__lte=MAX_PLACE)


class ProviderAccount(models.Model):
    """A provider and our contract with it in one workspace. Credentials are sealed and never shown again."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=64)
    provider = models.CharField(max_length=32, choices=_providers)
    base_url = models.CharField(max_length=500, help_text="Where the provider's API is.")
    credential_sealed = models.BinaryField(editable=False)
    callback_secret_sealed = models.BinaryField(null=True, editable=False)
    enabled = models.BooleanField(default=True)
    currencies: ArrayField = ArrayField(
        models.CharField(max_length=3), default=list, blank=True, help_text="ISO 4217 codes; empty takes all."
    )
    methods: ArrayField = ArrayField(
        models.CharField(max_length=32),
        default=list,
        blank=True,
        help_text="Payment methods; empty takes all that the provider can.",
    )
    min_amount_minor = models.BigIntegerField(null=True, blank=True)
    max_amount_minor = models.BigIntegerField(null=True, blank=True)
    settlement_currency = models.CharField(
        max_length=3, blank=True, default="", help_text="Empty: settles in the currency of the payment."
    )
    priority = models.PositiveSmallIntegerField(default=100, help_text="Lower comes first.")
    weight = models.PositiveSmallIntegerField(default=100, help_text="Share among accounts of equal priority.")
    deadline_seconds = models.FloatField(
        null=True, blank=True, help_text="How long a call may take; empty takes the provider's own."
    )
    created_at = models.DateTimeField(editable=False)
    history = HistoricalRecords(excluded_fields=["credential_sealed", "callback_secret_sealed"])

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("workspace", "name"), name="provider_account_name_once"),
            models.UniqueConstraint(fields=("workspace", "id"), name="provider_account_by_workspace"),
            models.CheckConstraint(condition=_amount_range(), name="provider_account_amount_range"),
            models.CheckConstraint(condition=_place(), name="provider_account_place"),
            models.CheckConstraint(
                condition=Q(deadline_seconds__isnull=True)
                | Q(deadline_seconds__gt=0, deadline_seconds__lte=MAX_DEADLINE_SECONDS),
                name="provider_account_deadline",
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def public_id(self) -> str:
        return public_id("pac", self.id)


class RoutingRule(models.Model):
    """Conditions that must all hold (empty is no condition), and the account that is then tried first."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=64)
    account = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT, related_name="+")
    enabled = models.BooleanField(default=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    method = models.CharField(max_length=32, blank=True, default="")
    merchant = models.ForeignKey(Merchant, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    min_amount_minor = models.BigIntegerField(null=True, blank=True)
    max_amount_minor = models.BigIntegerField(null=True, blank=True)
    priority = models.PositiveSmallIntegerField(default=100, help_text="Lower comes first.")
    weight = models.PositiveSmallIntegerField(default=100, help_text="Share among rules of equal priority.")
    created_at = models.DateTimeField(editable=False)
    history = HistoricalRecords()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("workspace", "name"), name="routing_rule_name_once"),
            models.CheckConstraint(condition=_amount_range(), name="routing_rule_amount_range"),
            models.CheckConstraint(condition=_place(), name="routing_rule_place"),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def public_id(self) -> str:
        return public_id("rul", self.id)


class RoutingDecision(models.Model):
    """Why a payment went where it went: the facts, every candidate with its reasons, the choice. Append-only."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    payment_id = models.UUIDField(help_text="The payment; a bare id, routing knows no payments.")
    seed = models.CharField(max_length=64, help_text="What draws by weight were made with.")
    request = models.JSONField(help_text="The facts that were decided on: ids, codes and minor units.")
    candidates = models.JSONField(help_text="Every account, eligible ones first in the order of trying.")
    chosen_account = models.ForeignKey(ProviderAccount, null=True, on_delete=models.PROTECT, related_name="+")
    ruleset_fingerprint = models.CharField(max_length=64, help_text="SHA-256 over the accounts and rules in force.")
    made_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("workspace", "payment_id", "id"), name="decision_by_payment"),)

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return public_id("rte", self.id)
