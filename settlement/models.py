from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from settlement.states import BatchState, CaseState
from settlement.types import (
    AUTOMATIC_RESOLUTIONS,
    DriftClass,
    FileStatus,
    LineType,
    MatchRule,
    Resolution,
    RunScope,
    Severity,
    Verdict,
)
from zentra.core.ids import new_id, public_id


def _choices(kind: type) -> list[tuple[str, str]]:
    return [(item.value, item.value.replace("_", " ")) for item in kind]  # type: ignore[attr-defined]


class SettlementFile(models.Model):
    """A provider's file as it came. The bytes are evidence: kept, and never read back into money twice."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+")
    provider_account = models.ForeignKey("routing.ProviderAccount", on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    content = models.BinaryField(null=True, help_text="Empty once retention has purged it; the hash stays.")
    status = models.CharField(max_length=24, choices=_choices(FileStatus))
    line_count = models.PositiveIntegerField(default=0)
    new_line_count = models.PositiveIntegerField(default=0, help_text="Lines that no earlier file had brought.")
    error_count = models.PositiveIntegerField(default=0)
    errors = models.JSONField(default=list, help_text="The first rows that could not be used: [{row, reason}].")
    received_at = models.DateTimeField()
    received_from = models.CharField(max_length=100, help_text="The actor who brought it.")

    #: Set on the instance that answers a repeated import; not stored.
    replayed: bool = False

    class Meta:
        constraints = (models.UniqueConstraint(fields=("workspace", "sha256"), name="settlement_file_once"),)
        indexes = (models.Index(fields=("workspace", "-received_at"), name="settlement_file_newest"),)

    def __str__(self) -> str:
        return self.name

    @property
    def public_id(self) -> str:
        return public_id("fil", self.id)


class SettlementBatch(models.Model):
    """What a provider says it pays out in one go: declared totals, the sum of its lines, how far both are explained.

    ``control_adjusted_minor`` is what was booked on 1110 beyond the lines after a person accepted the declared net.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+")
    provider_account = models.ForeignKey("routing.ProviderAccount", on_delete=models.PROTECT, related_name="+")
    file = models.ForeignKey(
        SettlementFile, on_delete=models.PROTECT, related_name="batches", help_text="The file that brought it first."
    )
    provider_batch_id = models.CharField(max_length=64)
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=24, choices=_choices(BatchState), default=BatchState.RECEIVED)
    declared_count = models.PositiveIntegerField(null=True)
    declared_gross_minor = models.BigIntegerField(null=True)
    declared_fee_minor = models.BigIntegerField(null=True)
    declared_net_minor = models.BigIntegerField(null=True)
    line_count = models.PositiveIntegerField(default=0)
    gross_minor = models.BigIntegerField(default=0, help_text="Sum of the lines, as are fee and net.")
    fee_minor = models.BigIntegerField(default=0)
    net_minor = models.BigIntegerField(default=0)
    control_adjusted_minor = models.BigIntegerField(default=0)
    control_rounds = models.PositiveIntegerField(default=0, help_text="How often its control was settled by a journal.")
    booked_line_id = models.BigIntegerField(default=0, help_text="Lines up to this one are judged and booked.")
    matched_count = models.PositiveIntegerField(default=0)
    drifted_count = models.PositiveIntegerField(default=0)
    value_on = models.DateField(null=True)
    received_at = models.DateTimeField()
    matched_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "settlement batches"
        constraints = (
            models.UniqueConstraint(fields=("provider_account", "provider_batch_id"), name="settlement_batch_once"),
        )
        indexes = (
            models.Index(fields=("workspace", "-received_at"), name="settlement_batch_newest"),
            models.Index(
                fields=("workspace", "id"),
                condition=Q(state__in=("received", "matching")),
                name="settlement_batch_unfinished",
            ),
        )

    def __str__(self) -> str:
        return self.provider_batch_id

    @property
    def public_id(self) -> str:
        return public_id("btc", self.id)

    @property
    def control_open_minor(self) -> int:
        """Declared net beyond what the lines and earlier acceptances explain; 0 when nothing was declared."""
        if self.declared_net_minor is None:
            return 0
        return self.declared_net_minor - self.net_minor - self.control_adjusted_minor

    @property
    def totals_agree(self) -> bool:
        """Whether the file declares totals and they are those of the lines, count included."""
        return (self.declared_count, self.declared_gross_minor, self.declared_fee_minor, self.declared_net_minor) == (
            self.line_count,
            self.gross_minor,
            self.fee_minor,
            self.net_minor,
        )


class SettlementLine(models.Model):
    """One line of a batch as the provider wrote it. Append-only: the database refuses any change.

    ``natural_key`` is a hash over the line with its provider's line id, and its occurrence within the file: a file
    that overlaps an earlier one adds only what is new, and lines that are truly there twice stay two.
    """

    id = models.BigAutoField(primary_key=True)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+", db_index=False)
    batch = models.ForeignKey(SettlementBatch, on_delete=models.PROTECT, related_name="lines", db_index=False)
    file = models.ForeignKey(SettlementFile, on_delete=models.PROTECT, related_name="+")
    row = models.PositiveIntegerField(help_text="Line number in the file, the header being 1.")
    natural_key = models.CharField(max_length=48)
    provider_line_id = models.CharField(max_length=128)
    line_type = models.CharField(max_length=8, choices=_choices(LineType))
    provider_reference = models.CharField(max_length=128)
    own_reference = models.CharField(max_length=128)
    currency = models.CharField(max_length=3)
    gross_minor = models.BigIntegerField()
    fee_minor = models.BigIntegerField()
    net_minor = models.BigIntegerField()
    booked_on = models.DateField()
    value_on = models.DateField()
    extra = models.JSONField(default=dict, help_text="Columns of the file that the format does not name.")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("batch", "natural_key"), name="settlement_line_once"),
            models.CheckConstraint(
                condition=Q(net_minor=models.F("gross_minor") - models.F("fee_minor")), name="settlement_line_net"
            ),
        )
        indexes = (
            models.Index(fields=("batch", "id"), name="settlement_line_of_batch"),
            models.Index(fields=("workspace", "provider_reference"), name="settlement_line_reference"),
        )

    def __str__(self) -> str:
        return self.provider_line_id


class DriftCase(models.Model):
    """A difference that a person owns until it is closed. Its money sits in suspense (2900) under its own id.

    ``suspense_minor`` is that balance, debit positive, at all times: zero for classes without money and once closed.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+")
    provider_account = models.ForeignKey("routing.ProviderAccount", on_delete=models.PROTECT, related_name="+")
    batch = models.ForeignKey(SettlementBatch, null=True, on_delete=models.PROTECT, related_name="cases")
    line = models.ForeignKey(SettlementLine, null=True, on_delete=models.PROTECT, related_name="+")
    drift_class = models.CharField("class", max_length=24, choices=_choices(DriftClass))
    item_kind = models.CharField(max_length=8, blank=True, default="")
    item_id = models.UUIDField(null=True, help_text="The capture or refund; a bare id.")
    payment_id = models.UUIDField(null=True, help_text="A bare id.")
    currency = models.CharField(max_length=3)
    expected_minor = models.BigIntegerField(
        null=True, help_text="What was captured or refunded, or what the lines sum to."
    )
    actual_minor = models.BigIntegerField(null=True, help_text="What the provider's line or total says.")
    suspense_minor = models.BigIntegerField(default=0)
    severity = models.CharField(max_length=8, choices=_choices(Severity))
    due_at = models.DateTimeField()
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    state = models.CharField(max_length=8, choices=_choices(CaseState), default=CaseState.OPEN)
    resolution = models.CharField(max_length=32, choices=_choices(Resolution), blank=True, default="")
    note = models.CharField(max_length=2000, blank=True, default="")
    journal_id = models.UUIDField(null=True, help_text="The journal that put the money into suspense; a bare id.")
    closing_journal_id = models.UUIDField(null=True, help_text="A bare id.")
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    history = HistoricalRecords()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("line", "drift_class"), name="drift_case_line_once"),
            models.UniqueConstraint(
                fields=("item_id", "drift_class"),
                condition=Q(line__isnull=True, item_id__isnull=False),
                name="drift_case_item_once",
            ),
            models.UniqueConstraint(
                fields=("batch", "drift_class"),
                condition=Q(line__isnull=True, item_id__isnull=True) & ~Q(state="closed"),
                name="drift_case_batch_once",
            ),
            models.CheckConstraint(
                condition=~Q(state="closed")
                | (
                    Q(suspense_minor=0, closed_at__isnull=False)
                    & (
                        Q(resolution__in=[item.value for item in AUTOMATIC_RESOLUTIONS])
                        | (Q(owner__isnull=False) & ~Q(note="") & ~Q(resolution=""))
                    )
                ),
                name="drift_case_closed_by_owner_with_reason",
            ),
            models.CheckConstraint(
                condition=~Q(state="assigned") | Q(owner__isnull=False), name="drift_case_assigned_to_owner"
            ),
        )
        indexes = (
            models.Index(fields=("workspace", "state", "due_at"), name="drift_case_queue"),
            models.Index(fields=("workspace", "payment_id"), name="drift_case_of_payment"),
        )

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return public_id("cas", self.id)

    @property
    def difference_minor(self) -> int:
        """Expected less actual: above zero something is missing. What is unknown counts as nothing."""
        return (self.expected_minor or 0) - (self.actual_minor or 0)


class LineMatch(models.Model):
    """What became of a line: its verdict, the item it is about, whether it takes that item, and its journal.

    One row per line; of the rows that name an item at most one claims it. Both are unique constraints, so two
    reconcilers can never apply two lines to one capture.
    """

    id = models.BigAutoField(primary_key=True)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+", db_index=False)
    batch = models.ForeignKey(SettlementBatch, on_delete=models.PROTECT, related_name="+")
    line = models.OneToOneField(SettlementLine, on_delete=models.PROTECT, related_name="match")
    verdict = models.CharField(max_length=24, choices=_choices(Verdict))
    rule = models.CharField(max_length=24, choices=_choices(MatchRule), blank=True, default="")
    ruleset = models.CharField(max_length=16)
    item_kind = models.CharField(max_length=8, blank=True, default="")
    item_id = models.UUIDField(null=True, help_text="The capture or refund; a bare id.")
    payment_id = models.UUIDField(null=True, help_text="A bare id.")
    claims = models.BooleanField(default=False)
    case = models.ForeignKey(DriftCase, null=True, on_delete=models.PROTECT, related_name="matches")
    journal_id = models.UUIDField(help_text="The line's own journal; a bare id.")
    matched_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "line matches"
        constraints = (
            models.UniqueConstraint(fields=("item_id",), condition=Q(claims=True), name="line_match_item_once"),
            models.CheckConstraint(condition=Q(claims=False) | Q(item_id__isnull=False), name="line_match_claims_item"),
        )
        indexes = (
            models.Index(fields=("workspace", "payment_id"), name="line_match_of_payment"),
            models.Index(fields=("item_id",), name="line_match_item"),
        )

    def __str__(self) -> str:
        return f"{self.line_id} {self.verdict}"


class ReconciliationRun(models.Model):
    """One run over what is open. Unique per scope and rule version: a crashed run is taken up again, never doubled."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey("tenancy.Workspace", on_delete=models.PROTECT, related_name="+")
    scope = models.CharField(max_length=16, choices=_choices(RunScope))
    scope_key = models.CharField(max_length=64, help_text="Which file, day or request; unique in its scope.")
    ruleset = models.CharField(max_length=16)
    requested_by = models.CharField(max_length=100)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    counts = models.JSONField(default=dict)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("workspace", "scope", "scope_key", "ruleset"), name="reconciliation_run_once"
            ),
        )
        indexes = (
            models.Index(fields=("created_at",), condition=Q(finished_at__isnull=True), name="reconciliation_run_open"),
        )

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return public_id("run", self.id)

    @property
    def state(self) -> str:
        if self.finished_at:
            return "finished"
        return "running" if self.started_at else "requested"
