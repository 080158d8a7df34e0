from __future__ import annotations

from django.db import models

from ledger.types import (
    MAX_KEY_LENGTH,
    MAX_KIND_LENGTH,
    MAX_OWNER_LENGTH,
    AccountClass,
    BalanceMode,
    Side,
)
from zentra.core.ids import new_id, public_id
from zentra.core.money import MAX_AMOUNT_MINOR


def _choices(kind: type[AccountClass] | type[BalanceMode] | type[Side]) -> list[tuple[str, str]]:
    return [(item.value, item.value) for item in kind]


class Account(models.Model):
    """An account of one workspace and currency. Comes into being with its first posting and is never changed."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+", db_index=False)
    code = models.CharField(max_length=8)
    owner_type = models.CharField(max_length=MAX_OWNER_LENGTH, blank=True, default="")
    owner_id = models.CharField(max_length=MAX_OWNER_LENGTH, blank=True, default="")
    dimension = models.CharField(max_length=MAX_OWNER_LENGTH, blank=True, default="")
    currency = models.CharField(max_length=3)
    account_class = models.CharField(max_length=16, choices=_choices(AccountClass))
    normal_side = models.CharField(max_length=8, choices=_choices(Side))
    balance_mode = models.CharField(max_length=8, choices=_choices(BalanceMode))
    floor_minor = models.BigIntegerField(null=True, help_text="Least balance on the normal side, minor units.")

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("workspace", "code", "owner_type", "owner_id", "dimension", "currency"),
                name="ledger_account_once",
            ),
            models.CheckConstraint(
                condition=models.Q(floor_minor__isnull=True) | models.Q(balance_mode="sync"),
                name="ledger_account_floor_needs_balance",
            ),
            # A suspense balance belongs to a case and money in transit to a batch, or nobody could explain it.
            models.CheckConstraint(
                condition=~models.Q(code__in=("1110", "2900")) | ~models.Q(dimension=""),
                name="ledger_account_dimension_named",
            ),
        )

    def __str__(self) -> str:
        parts = (self.code, self.owner_type, self.owner_id, self.dimension, self.currency)
        return ":".join(part for part in parts if part)

    @property
    def public_id(self) -> str:
        return public_id("acc", self.id)


class Journal(models.Model):
    """One balanced booking. Append-only; its column ``xid`` (in SQL alone) is the transaction that may add entries."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=MAX_KIND_LENGTH)
    idempotency_key = models.CharField(max_length=MAX_KEY_LENGTH)
    fingerprint = models.BinaryField(max_length=32, help_text="SHA-256 of the content that was booked.")
    currency = models.CharField(max_length=3)
    effective_date = models.DateField(help_text="Accounting day, in the workspace's time zone.")
    posted_at = models.DateTimeField()
    reverses = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    payment_id = models.UUIDField(null=True)
    batch_id = models.UUIDField(null=True)
    case_id = models.UUIDField(null=True)
    meta = models.JSONField(default=dict)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("workspace", "idempotency_key"), name="ledger_journal_key_once"),
            models.UniqueConstraint(
                fields=("reverses",), condition=models.Q(reverses__isnull=False), name="ledger_journal_reversed_once"
            ),
        )
        indexes = (
            models.Index(
                fields=("payment_id",), condition=models.Q(payment_id__isnull=False), name="ledger_journal_payment"
            ),
            models.Index(fields=("batch_id",), condition=models.Q(batch_id__isnull=False), name="ledger_journal_batch"),
            models.Index(fields=("case_id",), condition=models.Q(case_id__isnull=False), name="ledger_journal_case"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.idempotency_key}"

    @property
    def public_id(self) -> str:
        return public_id("jrn", self.id)


class Entry(models.Model):
    """One signed line of a journal: debit positive, credit negative. Append-only."""

    id = models.BigAutoField(primary_key=True)
    journal = models.ForeignKey(Journal, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    # The journal's foreign key stands for this one: a trigger refuses an entry of another workspace than its journal.
    workspace = models.ForeignKey(
        "tenancy.Workspace", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    currency = models.CharField(max_length=3)
    amount_minor = models.BigIntegerField()
    effective_date = models.DateField()
    payment_id = models.UUIDField(null=True)
    case_id = models.UUIDField(null=True)

    class Meta:
        verbose_name_plural = "entries"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(amount_minor__gte=-MAX_AMOUNT_MINOR, amount_minor__lte=MAX_AMOUNT_MINOR)
                & ~models.Q(amount_minor=0),
                name="ledger_entry_amount_in_range",
            ),
        )
        indexes = (
            # Covers the live balance of an account and its statement: neither has to visit the table.
            models.Index(
                fields=("account", "id"), include=("amount_minor", "effective_date"), name="ledger_entry_account"
            ),
            models.Index(
                fields=("payment_id",), condition=models.Q(payment_id__isnull=False), name="ledger_entry_payment"
            ),
            models.Index(fields=("case_id",), condition=models.Q(case_id__isnull=False), name="ledger_entry_case"),
        )

    def __str__(self) -> str:
        return f"{self.amount_minor:+d} {self.currency}"


class Balance(models.Model):
    """What an account that can refuse has now. Only the posting functions move it, together with the entries."""

    account = models.OneToOneField(Account, primary_key=True, on_delete=models.PROTECT, related_name="balance")
    posted_minor = models.BigIntegerField(default=0)
    version = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.posted_minor:+d} (version {self.version})"
