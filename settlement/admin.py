"""The operator lane: drift cases to take and close, batches to accept, files to bring. Money is only looked at here:
every decision is one call of a service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget

from ledger.rules import CHART
from ledger.types import Posting
from routing.selectors import accounts_in
from settlement import selectors
from settlement.events import item_public_id
from settlement.models import DriftCase, ReconciliationRun, SettlementBatch, SettlementFile, SettlementLine
from settlement.services import drift, ingest, reconcile
from settlement.states import BatchState, CaseState
from settlement.types import Resolution
from zentra.core.clock import SYSTEM_CLOCK, Clock
from zentra.core.errors import ZentraError
from zentra.core.ids import abbreviated, public_id
from zentra.core.money import grouped_text
from zentra.evidence.types import RequestContext
from zentra.tenancy.clocks import clock_for
from zentra.tenancy.console import MONEY_OPERATORS, ReadOnlyAdmin, actor_of, reach_of
from zentra.tenancy.tones import TONES, state_words

if TYPE_CHECKING:
    from zentra.tenancy.models import User

SEVERITY_TONES = {"critical": "danger", "high": "warning", "medium": "info", "low": "success"}
DUE_TONES = {"overdue": "danger", "due soon": "warning", "on time": "plain"}
LINES_SHOWN = 100
MAX_TAKEN_AT_ONCE = 50

#: What a resolution means, in the words of the form; the journal is previewed before anything is booked.
RESOLUTION_WORDS = {
    Resolution.WRITTEN_OFF: "Written off: we bear the difference (5090)",
    Resolution.GAINED: "Gained: we keep the difference (4090)",
    Resolution.PROVIDER_FEE: "A fee of the provider (5010)",
    Resolution.MERCHANT_BEARS: "The merchant bears it (2010, then 2020, then 1200)",
    Resolution.PROVIDER_CORRECTS_PAYOUT: "The provider corrects this payout (1110 of the batch)",
    Resolution.LATE_SALE_LINE: "The capture is known now: match the line to it (1100)",
    Resolution.LATE_REFUND_LINE: "The refund is known now: match the line to it (2050)",
    Resolution.REVIEWED: "Reviewed: no money moves",
}


def context_of(request: HttpRequest) -> RequestContext:
    """The request, as evidence names it."""
    return RequestContext(request_id=str(getattr(request, "request_id", "")))


def amount(minor: int | None, currency: str) -> SafeString:
    """An amount for a table; zero and nothing stand back."""
    text = "-" if minor is None else grouped_text(minor, currency)
    return format_html('<span class="z-amount{}">{}</span>', "" if minor else " z-faint", text)


def link(name: str, pk: object, text: object) -> SafeString:
    """A link to a page of this admin."""
    return format_html(
        '<a class="z-link" href="{}">{}</a>', reverse(f"admin:settlement_{name}_change", args=[pk]), text
    )


class DueFilter(admin.SimpleListFilter):
    """Open cases by how near their due time is, by the machine's clock: a list may span workspaces."""

    title = "due"
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("overdue", "Overdue"), ("today", "Within 24 hours"), ("later", "Later")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DriftCase]) -> QuerySet[DriftCase]:
        if self.value() is None:
            return queryset
        now = SYSTEM_CLOCK.now()
        soon = now + timedelta(hours=24)
        due = {
            "overdue": Q(due_at__lt=now),
            "today": Q(due_at__gte=now, due_at__lt=soon),
            "later": Q(due_at__gte=soon),
        }
        return queryset.exclude(state=CaseState.CLOSED).filter(due.get(str(self.value()), Q()))


class OwnerFilter(admin.SimpleListFilter):
    """Whose cases: mine, or nobody's."""

    title = "owner"
    parameter_name = "owned"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("me", "Mine"), ("nobody", "Nobody's")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DriftCase]) -> QuerySet[DriftCase]:
        if self.value() == "me":
            return queryset.filter(owner_id=request.user.pk)
        return queryset.filter(owner__isnull=True) if self.value() == "nobody" else queryset


class CloseForm(forms.Form):
    """Why a case ends, and how."""

    resolution = forms.ChoiceField(widget=forms.RadioSelect)
    note = forms.CharField(min_length=3, max_length=2000, widget=forms.Textarea(attrs={"rows": 3}))

    def __init__(self, *args: Any, allowed: Sequence[Resolution], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["resolution"].choices = [(item.value, RESOLUTION_WORDS[item]) for item in allowed]  # type: ignore[attr-defined]


class NoteForm(forms.Form):
    note = forms.CharField(min_length=3, max_length=2000, widget=forms.Textarea(attrs={"rows": 3}))


class UploadForm(forms.Form):
    """A file and the provider account that it is from; only accounts of workspaces in which the person works."""

    provider_account: Any = forms.ModelChoiceField(queryset=None, widget=UnfoldAdminSelectWidget)
    file = forms.FileField(widget=UnfoldAdminFileFieldWidget)

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["provider_account"]
        field.queryset = accounts_in(reach_of(request, MONEY_OPERATORS))  # type: ignore[attr-defined]
        field.label_from_instance = lambda account: f"{account.name} · {account.workspace}"  # type: ignore[attr-defined]


class SettlementAdmin(ReadOnlyAdmin):
    """Pages of settlement: own views beside the list, and one page per row that is no form."""

    write_roles = MONEY_OPERATORS
    page_template = ""

    def row(self, request: HttpRequest, object_id: str, *, write: bool = False) -> Any:
        """The row, if the person may see it (or work on it). :raises PermissionDenied:"""
        found = self.get_object(request, unquote(object_id))
        allowed = self.has_work_permission if write else self.has_view_permission
        if found is None or not allowed(request, found):
            raise PermissionDenied
        return found

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The row's page instead of a form."""
        if not self.page_template:
            return super().change_view(request, object_id, form_url, extra_context)
        found = self.get_object(request, unquote(object_id))
        if found is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_view_permission(request, found) or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        return self.page(request, found)

    def page(self, request: HttpRequest, found: Any, **more: Any) -> HttpResponse:
        """Render the row's page."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": found,
            "title": str(found),
            "may_work": self.has_work_permission(request, found),
            **self.page_context(request, found),
            **more,
        }
        return TemplateResponse(request, self.page_template, context)

    def page_context(self, request: HttpRequest, found: Any) -> dict[str, Any]:
        return {}

    def back_to(self, found: Any) -> HttpResponse:
        return HttpResponseRedirect(
            reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[found.pk])
        )

    def refused(self, request: HttpRequest, error: ZentraError) -> None:
        self.message_user(request, f"{error.message} {error.remedy}", messages.ERROR)

    @staticmethod
    def clock(found: Any) -> Clock:
        return clock_for(found.workspace_id)


@admin.register(DriftCase)
class DriftCaseAdmin(SettlementAdmin):
    """The queue, the most urgent on top, and one page per case: evidence, decision, journal."""

    page_template = "admin/settlement/case.html"
    id_search = {"cas": "id", "pay": "payment_id", "btc": "batch_id"}
    list_display = ("shown_id", "class_words", "difference", "in_suspense", "severity_label", "due", "owner_name",
                    "state_label", "batch_link", "workspace")  # fmt: skip
    list_filter = ("state", DueFilter, OwnerFilter, "drift_class", "severity", "currency", "workspace")
    list_select_related = ("batch", "owner", "workspace")
    search_fields = ("line__provider_reference__exact", "line__own_reference__exact", "batch__provider_batch_id__exact")
    search_help_text = "An id (cas_…, pay_…, btc_…), a reference of the line, or the provider's batch"
    actions = ("take",)
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[DriftCase]:
        rows = super().get_queryset(request)
        match = request.resolver_match
        lane = match is not None and match.url_name == "settlement_driftcase_changelist"
        if lane and not request.GET.get("q") and not any(name.startswith("state") for name in request.GET):
            return rows.exclude(state=CaseState.CLOSED)
        return rows

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        return ("due_at", "id")

    @display(description="case")
    def shown_id(self, case: DriftCase) -> SafeString:
        return format_html('<span class="z-id" title="{}">cas_…{}</span>', case.public_id, case.public_id[-8:])

    @display(description="class", ordering="drift_class")
    def class_words(self, case: DriftCase) -> str:
        return case.drift_class.replace("_", " ")

    @display(description="difference")
    def difference(self, case: DriftCase) -> SafeString:
        return amount(case.difference_minor, case.currency)

    @display(description="in suspense", ordering="suspense_minor")
    def in_suspense(self, case: DriftCase) -> SafeString:
        return amount(case.suspense_minor, case.currency)

    @display(description="severity", ordering="severity", label=SEVERITY_TONES)
    def severity_label(self, case: DriftCase) -> str:
        return case.severity

    @display(description="due", ordering="due_at", label=DUE_TONES)
    def due(self, case: DriftCase) -> tuple[str, str] | str | None:
        return due_words(case, self.clock(case))

    @display(description="owner", ordering="owner")
    def owner_name(self, case: DriftCase) -> str:
        return str(case.owner) if case.owner else "nobody"

    @display(description="state", ordering="state", label=TONES)
    def state_label(self, case: DriftCase) -> str:
        return case.state

    @display(description="batch")
    def batch_link(self, case: DriftCase) -> SafeString | str:
        return link("settlementbatch", case.batch_id, abbreviated(str(case.batch))) if case.batch else "-"

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("<path:object_id>/take/", wrap(self.take_view), name="settlement_driftcase_take"),
            path("<path:object_id>/release/", wrap(self.release_view), name="settlement_driftcase_release"),
            path("<path:object_id>/close/", wrap(self.close_view), name="settlement_driftcase_close"),
        ]
        return own + super().get_urls()

    def page_context(self, request: HttpRequest, found: DriftCase) -> dict[str, Any]:
        allowed = drift.resolutions_of(found)
        return {
            "case": found,
            "title": found.drift_class.replace("_", " ").capitalize(),
            "due": due_words(found, self.clock(found)),
            "severity_tone": SEVERITY_TONES[found.severity],
            "item_id": item_public_id(found.item_kind, found.item_id),
            "payment_id": public_id("pay", found.payment_id) if found.payment_id else None,
            "journal_id": public_id("jrn", found.journal_id) if found.journal_id else None,
            "closing_journal_id": public_id("jrn", found.closing_journal_id) if found.closing_journal_id else None,
            "mine": found.owner_id == request.user.pk,
            "waits_for_batch": found.drift_class == "control_total"
            and found.batch is not None
            and found.batch.state == BatchState.CONTROL_FAILED,
            "form": CloseForm(allowed=allowed, initial={"resolution": allowed[0].value}),
            **self._story(found),
        }

    @staticmethod
    def _story(case: DriftCase) -> dict[str, Any]:
        story = selectors.story_of_case(case)
        entries = {name: sided(story[name]) for name in ("entries", "payment_entries")}
        return {**story, **entries, "chosen": [line.id for line in story["lines"]]}

    def has_take_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_work_permission(request)

    @admin.action(description="Assign to me", permissions=["take"])
    def take(self, request: HttpRequest, rows: QuerySet[DriftCase]) -> None:
        for case in rows[:MAX_TAKEN_AT_ONCE]:
            self._take(request, case)

    def _take(self, request: HttpRequest, case: DriftCase) -> None:
        try:
            drift.assign_case(
                workspace_id=case.workspace_id,
                case_id=case.id,
                owner=cast("User", request.user),
                actor=actor_of(request),
                context=context_of(request),
            )
        except ZentraError as error:
            self.refused(request, error)
        else:
            self.message_user(request, f"{case.public_id} is yours.", messages.SUCCESS)

    def take_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Assign the case to the person at the console."""
        case = self.row(request, object_id, write=True)
        if request.method == "POST":
            self._take(request, case)
        return self.back_to(case)

    def release_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give the case back to the queue."""
        case = self.row(request, object_id, write=True)
        if request.method == "POST":
            try:
                drift.release_case(
                    workspace_id=case.workspace_id,
                    case_id=case.id,
                    actor=actor_of(request),
                    context=context_of(request),
                )
            except ZentraError as error:
                self.refused(request, error)
        return self.back_to(case)

    def close_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """First the journal that the resolution would book; with ``confirmed`` it is booked and the case is closed."""
        case = self.row(request, object_id, write=True)
        if request.method != "POST":
            return self.back_to(case)
        form = CloseForm(request.POST, allowed=drift.resolutions_of(case))
        if not form.is_valid():
            return self.page(request, case, form=form)
        resolution = Resolution(form.cleaned_data["resolution"])
        try:
            if "confirmed" in request.POST:
                drift.close_case(
                    workspace_id=case.workspace_id,
                    case_id=case.id,
                    resolution=resolution,
                    note=form.cleaned_data["note"],
                    actor=actor_of(request),
                    context=context_of(request),
                )
                self.message_user(request, f"{case.public_id} is closed.", messages.SUCCESS)
                return self.back_to(case)
            posting = drift.preview_closing(workspace_id=case.workspace_id, case_id=case.id, resolution=resolution)
        except ZentraError as error:
            self.refused(request, error)
            return self.back_to(case)
        return TemplateResponse(
            request,
            "admin/settlement/close.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "original": case,
                "title": "Close this case?",
                "case": case,
                "resolution": resolution.value,
                "words": RESOLUTION_WORDS[resolution],
                "note": form.cleaned_data["note"],
                "legs": shown_legs(posting),
            },
        )


@admin.register(SettlementBatch)
class SettlementBatchAdmin(SettlementAdmin):
    """Batches with both totals side by side; one whose totals differ waits here to be accepted."""

    page_template = "admin/settlement/batch.html"
    id_search = {"btc": "id", "fil": "file_id"}
    list_display = ("short_batch", "state_label", "declared_net", "computed_net", "lines_matched", "open_cases",
                    "provider_account", "value_on", "received_at", "workspace")  # fmt: skip
    list_filter = ("state", "currency", "provider_account", "workspace")
    list_select_related = ("provider_account", "workspace")
    search_fields = ("provider_batch_id__exact",)
    search_help_text = "The provider's batch, or an id (btc_…, fil_…)"
    ordering = ("-received_at", "-id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SettlementBatch]:
        opened = Count("cases", filter=~Q(cases__state=CaseState.CLOSED))
        return super().get_queryset(request).annotate(open_case_count=opened)

    @display(description="state", ordering="state", label=TONES)
    def state_label(self, batch: SettlementBatch) -> str:
        return state_words(batch.state)

    @display(description="batch", ordering="provider_batch_id")
    def short_batch(self, batch: SettlementBatch) -> SafeString:
        return format_html('<span title="{}">{}</span>', batch, abbreviated(str(batch)))

    @display(description="declared net")
    def declared_net(self, batch: SettlementBatch) -> SafeString:
        return amount(batch.declared_net_minor, batch.currency)

    @display(description="net of lines")
    def computed_net(self, batch: SettlementBatch) -> SafeString:
        return amount(batch.net_minor, batch.currency)

    @display(description="matched")
    def lines_matched(self, batch: SettlementBatch) -> str:
        return f"{batch.matched_count:,} of {batch.line_count:,}"

    @display(description="open cases")
    def open_cases(self, batch: Any) -> str:
        return str(batch.open_case_count or "-")

    def get_urls(self) -> list[URLPattern]:
        accept = self.admin_site.admin_view(self.accept_view)
        return [
            path("<path:object_id>/accept/", accept, name="settlement_settlementbatch_accept"),
            *super().get_urls(),
        ]

    def page_context(self, request: HttpRequest, found: SettlementBatch) -> dict[str, Any]:
        return {
            "batch": found,
            "failed": found.state == BatchState.CONTROL_FAILED,
            "difference_minor": found.control_open_minor,
            "totals": totals_of(found),
            "lines": selectors.judged_lines(found, limit=LINES_SHOWN),
            "cases": selectors.cases_of(found.workspace_id).filter(batch=found)[:LINES_SHOWN],
            "form": NoteForm(),
        }

    def accept_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Accept the declared net although the lines do not sum to it: the difference goes to suspense."""
        batch = self.row(request, object_id, write=True)
        form = NoteForm(request.POST or None)
        if request.method != "POST":
            return self.back_to(batch)
        if not form.is_valid():
            return self.page(request, batch, form=form)
        try:
            reconcile.accept_batch(
                workspace_id=batch.workspace_id,
                batch_id=batch.id,
                note=form.cleaned_data["note"],
                actor=actor_of(request),
                context=context_of(request),
            )
        except ZentraError as error:
            self.refused(request, error)
        else:
            self.message_user(request, f"{batch} is accepted; its lines are being matched.", messages.SUCCESS)
        return self.back_to(batch)


@admin.register(SettlementFile)
class SettlementFileAdmin(SettlementAdmin):
    """Files as they came, with the rows that could not be read; new ones are brought here too."""

    page_template = "admin/settlement/file.html"
    id_search = {"fil": "id"}
    list_display = ("name", "status_label", "line_count", "new_line_count", "error_count", "provider_account",
                    "received_at", "workspace")  # fmt: skip
    list_filter = ("status", "provider_account", "workspace")
    list_select_related = ("provider_account", "workspace")
    search_fields = ("name__exact", "sha256__exact")
    search_help_text = "The file's name, its SHA-256, or an id (fil_…)"
    ordering = ("-received_at", "-id")
    actions_list = ("upload",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SettlementFile]:
        return super().get_queryset(request).defer("content")

    @display(description="status", label=TONES)
    def status_label(self, file: SettlementFile) -> str:
        return state_words(file.status)

    def page_context(self, request: HttpRequest, found: SettlementFile) -> dict[str, Any]:
        return {"file": found, "batches": selectors.batches_of_file(found)}

    def has_upload_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_work_permission(request)

    @action(description="Import a file", icon="upload_file", url_path="upload", permissions=["upload"])
    def upload(self, request: HttpRequest) -> HttpResponse:
        """The upload form, and what becomes of it."""
        form = UploadForm(request.POST or None, request.FILES or None, request=request)
        if request.method == "POST" and form.is_valid():
            account, upload = form.cleaned_data["provider_account"], form.cleaned_data["file"]
            try:
                file = ingest.ingest_file(
                    workspace_id=account.workspace_id,
                    provider_account_id=account.id,
                    name=upload.name,
                    content=upload.read(),
                    actor=actor_of(request),
                    context=context_of(request),
                )
            except ZentraError as error:
                form.add_error(None, error.message)
            else:
                said = "was imported before; nothing was added" if file.replayed else "is imported"
                self.message_user(request, f"{file.name} {said}.", messages.INFO if file.replayed else messages.SUCCESS)
                return self.back_to(file)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Import a settlement file",
            "form": form,
        }
        return TemplateResponse(request, "admin/settlement/upload.html", context)


@admin.register(SettlementLine)
class SettlementLineAdmin(ReadOnlyAdmin):
    """Every line as the provider wrote it, and what became of it."""

    list_display = ("provider_line_id", "line_type", "gross", "fee", "net", "verdict", "short_batch", "booked_on",
                    "workspace")  # fmt: skip
    list_filter = ("line_type", "match__verdict", "currency", "workspace")
    list_select_related = ("batch", "workspace", "match")
    search_fields = ("provider_reference__exact", "own_reference__exact", "provider_line_id__exact")
    search_help_text = "A reference of the line: the provider's, ours, or the line's own id"
    ordering = ("-id",)
    fields = ("provider_line_id", "batch", "file", "row", "line_type", "provider_reference", "own_reference", "gross",
              "fee", "net", "booked_on", "value_on", "verdict", "extra", "workspace")  # fmt: skip
    readonly_fields = ("gross", "fee", "net", "verdict")

    @display(description="batch", ordering="batch")
    def short_batch(self, line: SettlementLine) -> SafeString:
        return link("settlementbatch", line.batch_id, abbreviated(str(line.batch)))

    @display(description="gross", ordering="gross_minor")
    def gross(self, line: SettlementLine) -> SafeString:
        return amount(line.gross_minor, line.currency)

    @display(description="fee")
    def fee(self, line: SettlementLine) -> SafeString:
        return amount(line.fee_minor, line.currency)

    @display(description="net")
    def net(self, line: SettlementLine) -> SafeString:
        return amount(line.net_minor, line.currency)

    @display(
        description="verdict",
        label={
            "matched": "success",
            "amount differs": "warning",
            "currency differs": "warning",
            "duplicate": "danger",
            "unknown reference": "danger",
        },
    )
    def verdict(self, line: SettlementLine) -> str:
        match = getattr(line, "match", None)
        return match.verdict.replace("_", " ") if match else "not judged yet"


@admin.register(ReconciliationRun)
class ReconciliationRunAdmin(ReadOnlyAdmin):
    """What each run did: of a file, of a night, on request."""

    id_search = {"run": "id"}
    list_display = ("shown_id", "scope", "scope_key", "state_label", "figures", "created_at", "finished_at",
                    "workspace")  # fmt: skip
    list_filter = ("scope", "workspace")
    list_select_related = ("workspace",)
    ordering = ("-created_at", "-id")
    fields = ("shown_id", "scope", "scope_key", "ruleset", "state_label", "figures", "requested_by", "created_at",
              "started_at", "finished_at", "workspace")  # fmt: skip
    readonly_fields = ("shown_id", "state_label", "figures")

    @display(description="run")
    def shown_id(self, run: ReconciliationRun) -> SafeString:
        return format_html('<span class="z-id">{}</span>', run.public_id)

    @display(description="state", label={"finished": "success", "running": "info", "requested": "warning"})
    def state_label(self, run: ReconciliationRun) -> str:
        return run.state

    @display(description="counts")
    def figures(self, run: ReconciliationRun) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in run.counts.items() if number) or "-"


def due_words(case: DriftCase, clock: Clock) -> tuple[str, str] | str | None:
    """How long a case has: a word for its colour, and the time left or over. None for a closed case."""
    if case.state == CaseState.CLOSED:
        return None
    left = case.due_at - clock.now()
    hours = int(abs(left.total_seconds()) // 3600)
    span = f"{hours // 24} d {hours % 24} h" if hours >= 24 else f"{hours} h"
    if left.total_seconds() < 0:
        return "overdue", f"overdue by {span}"
    return ("due soon", f"due in {span}") if hours < 24 else ("on time", f"due in {span}")


def sided(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ledger entries, which come credit positive, with a debit and a credit column."""
    return [
        {**entry, "debit_minor": max(0, -entry["amount_minor"]), "credit_minor": max(0, entry["amount_minor"])}
        for entry in entries
    ]


def totals_of(batch: SettlementBatch) -> list[dict[str, Any]]:
    """Declared and computed totals side by side, each with whether they agree."""
    rows = [
        ("Lines", batch.declared_count, batch.line_count, False),
        ("Gross", batch.declared_gross_minor, batch.gross_minor, True),
        ("Fee", batch.declared_fee_minor, batch.fee_minor, True),
        ("Net", batch.declared_net_minor, batch.net_minor, True),
    ]
    return [
        {"name": name, "declared": declared, "computed": computed, "money": money, "agrees": declared == computed}
        for name, declared, computed, money in rows
    ]


def shown_legs(posting: Posting | None) -> list[dict[str, Any]]:
    """The lines of a journal for people: account and its name, debit or credit."""
    if posting is None:
        return []
    return [
        {
            "code": leg.account.code,
            "name": CHART[leg.account.code].name,
            "debit": grouped_text(leg.amount_minor, posting.currency) if leg.amount_minor > 0 else "",
            "credit": grouped_text(-leg.amount_minor, posting.currency) if leg.amount_minor < 0 else "",
        }
        for leg in posting.legs
    ]
