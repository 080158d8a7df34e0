from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from simple_history.models import HistoricalRecords

from zentra.core.ids import new_id, public_id
from zentra.tenancy.types import Environment, KeyKind


def _environments() -> list[tuple[str, str]]:
    return [(item.value, item.value) for item in Environment]


class User(AbstractUser):
    """A person: operator, finance, platform engineer or auditor. Machines use API keys."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)


class Organization(models.Model):
    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return self.name


class Workspace(models.Model):
    """The tenant and its environment in one: sandbox and live of one organization are two rows."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=200)
    environment = models.CharField(max_length=8, choices=_environments)
    time_zone = models.CharField(max_length=64, default="UTC", help_text="IANA name; decides the accounting day.")
    requests_per_minute = models.PositiveIntegerField(
        default=100, help_text="Sustained rate; bursts of 1.5 times as many are let through for a minute."
    )
    payment_limit_minor = models.BigIntegerField(
        null=True, blank=True, help_text="The most of one payment, in minor units of its currency; empty for no limit."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    history = HistoricalRecords()

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=models.Q(environment__in=list(Environment)), name="workspace_environment_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.environment})"

    @property
    def public_id(self) -> str:
        return public_id("wsp", self.id)


class WorkspaceClock(models.Model):
    """A sandbox workspace's test clock: every process adds the offset to the machine's time. Never for live."""

    workspace = models.OneToOneField(
        Workspace, primary_key=True, on_delete=models.CASCADE, related_name="workspaceclock"
    )
    offset_seconds = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.workspace} {self.offset_seconds:+d} s"


class MerchantStatus(models.TextChoices):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class Merchant(models.Model):
    """Who gets paid inside a workspace. Each workspace has exactly one default merchant."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=200)
    status = models.CharField(max_length=16, choices=MerchantStatus, default=MerchantStatus.ACTIVE)
    is_default = models.BooleanField(default=False)
    payout_destination = models.CharField(
        max_length=64, blank=True, help_text="The payout account's own reference; never an account number."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    history = HistoricalRecords()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("workspace",), condition=models.Q(is_default=True), name="merchant_one_default"
            ),
        )
        indexes = (models.Index(fields=("workspace", "name")),)

    def __str__(self) -> str:
        return self.name

    @property
    def public_id(self) -> str:
        return public_id("mer", self.id)


class ApiKey(models.Model):
    """A credential. Of the secret only a keyed hash is kept; ``public`` is the part that may be shown."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=2, choices=[(kind.value, kind.name.lower()) for kind in KeyKind])
    public = models.CharField(max_length=8, unique=True, editable=False)
    digest = models.BinaryField(max_length=32, editable=False)
    last4 = models.CharField(max_length=4, editable=False)
    scopes: ArrayField = ArrayField(models.CharField(max_length=32), default=list)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    created_by = models.CharField(max_length=100, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    rotated_from = models.ForeignKey(
        "self", null=True, blank=True, editable=False, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        verbose_name = "API key"
        indexes = (models.Index(fields=("workspace", "created_at")),)

    def __str__(self) -> str:
        return f"{self.name} ({self.masked})"

    @property
    def masked(self) -> str:
        return f"{self.kind}_{self.workspace.environment}_{self.public}…{self.last4}"

    @property
    def public_id(self) -> str:
        return public_id("key", self.id)


class MemberRole(models.TextChoices):
    ADMIN = "admin"
    OPERATOR = "operator"
    FINANCE = "finance"
    AUDITOR = "auditor"


class Member(models.Model):
    """A person's role in one workspace."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=MemberRole)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("workspace", "user"), name="member_once"),)

    def __str__(self) -> str:
        return f"{self.user} · {self.role}"
