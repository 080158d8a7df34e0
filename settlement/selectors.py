"""Reads of settlement. The workspace comes first; amounts are minor units."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from ledger.selectors import entries_of_case, entries_of_payment, suspense_balances
from settlement.events import case_data, item_public_id
from settlement.models import (
    DriftCase,
    LineMatch,
    ReconciliationRun,
    SettlementBatch,
    SettlementFile,
    SettlementLine,
)
from settlement.states import CaseState
from settlement.types import Candidate
from zentra.core.db import fetch_all
from zentra.core.errors import NotFound
from zentra.core.ids import public_id
from zentra.tenancy.clocks import clock_for

MAX_OF_PAYMENT: Final = 200
MAX_MISSING: Final = 500
MAX_NEIGHBOURS: Final = 50

_ITEM_COLUMNS = """kind, item_id, payment_id, own_reference, provider_reference, currency, amount_minor,
       succeeded_at, has_line"""

# References come as an array: a condition on constants reaches into both halves of the view, a join would not.
_BY_PROVIDER_REFERENCE = f"""
SELECT {_ITEM_COLUMNS}
  FROM payments_settlement_item
 WHERE workspace_id = %s AND provider_account_id = %s AND provider_reference = ANY(%s)
"""  # noqa: S608 - the columns are a constant of this module
_BY_OWN_REFERENCE = f"""
SELECT {_ITEM_COLUMNS}
  FROM payments_settlement_item
 WHERE workspace_id = %s AND provider_account_id = %s AND own_reference = ANY(%s)
"""  # noqa: S608

# An item that a line names without claiming it (a line in another currency) has its case already.
_MISSING = f"""
SELECT {_ITEM_COLUMNS}, provider_account_id
  FROM payments_settlement_item i
 WHERE i.workspace_id = %(workspace_id)s AND i.kind = 'capture' AND NOT i.has_line
   AND i.succeeded_at < %(before)s
   AND NOT EXISTS (SELECT 1 FROM settlement_driftcase c
                    WHERE c.item_id = i.item_id AND c.drift_class = 'missing_line' AND c.line_id IS NULL)
   AND NOT EXISTS (SELECT 1 FROM settlement_linematch m WHERE m.item_id = i.item_id)
 ORDER BY i.succeeded_at, i.item_id
 LIMIT %(limit)s
"""  # noqa: S608

_ARRIVED = """
SELECT c.id
  FROM settlement_driftcase c
  JOIN payments_settlement_item i ON i.item_id = c.item_id AND i.kind = c.item_kind
 WHERE c.workspace_id = %(workspace_id)s AND i.workspace_id = %(workspace_id)s
   AND c.drift_class = 'missing_line' AND c.state <> 'closed' AND i.has_line
 ORDER BY c.id
 LIMIT %(limit)s
"""


class FileNotFound(NotFound):
    code = "settlement_file_not_found"
    summary = "No such settlement file exists in this workspace."


class BatchNotFound(NotFound):
    code = "settlement_batch_not_found"
    summary = "No such settlement batch exists in this workspace."


class CaseNotFound(NotFound):
    code = "drift_case_not_found"
    summary = "No such drift case exists in this workspace."


class RunNotFound(NotFound):
    code = "reconciliation_run_not_found"
    summary = "No such reconciliation run exists in this workspace."


def file_by_id(workspace_id: UUID, file_id: UUID) -> SettlementFile:
    """A file without its bytes. :raises FileNotFound:"""
    rows = SettlementFile.objects.defer("content")
    found = rows.filter(workspace_id=workspace_id, id=file_id).first()
    if found is None:
        raise FileNotFound
    return found


def batches_of_file(file: SettlementFile) -> list[SettlementBatch]:
    """The batches that a file brought first or added lines to; at most MAX_OF_PAYMENT."""
    brought = SettlementBatch.objects.filter(Q(file=file) | Q(lines__file=file)).distinct().order_by("id")
    return list(brought[:MAX_OF_PAYMENT])


def batch_ids_of_file(file: SettlementFile) -> list[str]:
    """Public ids of ``batches_of_file``."""
    return [batch.public_id for batch in batches_of_file(file)]


def batches_of(workspace_id: UUID) -> QuerySet[SettlementBatch]:
    """The batches of a workspace, newest first, with how many of their cases are open."""
    return (
        SettlementBatch.objects.filter(workspace_id=workspace_id)
        .annotate(open_cases=Count("cases", filter=~Q(cases__state=CaseState.CLOSED)))
        .order_by("-received_at", "-id")
    )


def batch_by_id(workspace_id: UUID, batch_id: UUID) -> SettlementBatch:
    """:raises BatchNotFound:"""
    found = batches_of(workspace_id).filter(id=batch_id).first()
    if found is None:
        raise BatchNotFound
    return found


def unfinished_batches(workspace_id: UUID) -> list[UUID]:
    """Batches that a reconciler still has to work on, oldest first."""
    rows = SettlementBatch.objects.filter(workspace_id=workspace_id, state__in=("received", "matching"))
    return list(rows.order_by("id").values_list("id", flat=True))


def cases_of(workspace_id: UUID) -> QuerySet[DriftCase]:
    """The drift cases of a workspace: what is open first, the most urgent on top."""
    return (
        DriftCase.objects.filter(workspace_id=workspace_id)
        .select_related("batch", "line", "owner")
        .order_by("closed_at", "due_at", "id")
    )


def open_cases(workspace_ids: Collection[UUID] | None) -> QuerySet[DriftCase]:
    """Cases of several workspaces that are not closed, the oldest first; None for every workspace (superusers)."""
    rows = DriftCase.objects.exclude(state=CaseState.CLOSED).select_related("batch", "owner", "workspace")
    rows = rows if workspace_ids is None else rows.filter(workspace_id__in=workspace_ids)
    return rows.order_by("opened_at", "id")


def case_by_id(workspace_id: UUID, case_id: UUID) -> DriftCase:
    """:raises CaseNotFound:"""
    found = cases_of(workspace_id).filter(id=case_id).first()
    if found is None:
        raise CaseNotFound
    return found


def runs_of(workspace_id: UUID) -> QuerySet[ReconciliationRun]:
    """The reconciliation runs of a workspace, newest first."""
    return ReconciliationRun.objects.filter(workspace_id=workspace_id).order_by("-created_at", "-id")


def run_by_id(workspace_id: UUID, run_id: UUID) -> ReconciliationRun:
    """:raises RunNotFound:"""
    found = runs_of(workspace_id).filter(id=run_id).first()
    if found is None:
        raise RunNotFound
    return found


def lines_of_case(case: DriftCase) -> list[SettlementLine]:
    """The lines whose money a case holds, with what became of them, at most MAX_OF_PAYMENT."""
    matches = LineMatch.objects.filter(case=case).select_related("line").order_by("line_id")
    return [match.line for match in matches[:MAX_OF_PAYMENT]]


def judged_lines(batch: SettlementBatch, *, limit: int) -> list[SettlementLine]:
    """The first lines of a batch, each with its match (if it is judged yet) and that one's case."""
    return list(
        SettlementLine.objects.filter(batch=batch).select_related("match", "match__case").order_by("id")[:limit]
    )


def story_of_case(case: DriftCase) -> dict[str, Any]:
    """What the case page shows beside the case: its lines and their neighbours, the ledger's entries, its history."""
    payment_entries = entries_of_payment(case.workspace_id, case.payment_id) if case.payment_id else []
    return {
        "lines": lines_of_case(case),
        "neighbours": judged_lines(case.batch, limit=MAX_NEIGHBOURS) if case.batch else [],
        "entries": entries_of_case(case.workspace_id, case.id),
        "payment_entries": payment_entries,
        "history": list(case.history.select_related("history_user").order_by("history_id")[:MAX_OF_PAYMENT]),
    }


def lines_of_batch(batch: SettlementBatch, *, after: int, limit: int) -> list[SettlementLine]:
    """The lines of a batch above an id, in the order of the file."""
    return list(SettlementLine.objects.filter(batch=batch, id__gt=after).order_by("id")[:limit])


def candidates_for(workspace_id: UUID, provider_account_id: UUID, lines: Sequence[SettlementLine]) -> list[Candidate]:
    """Every item that one of these lines may be about: found by the provider's reference, or by ours."""
    by_provider = {line.provider_reference for line in lines if line.provider_reference}
    found = _items(_BY_PROVIDER_REFERENCE, workspace_id, provider_account_id, by_provider)
    known = {(item.kind, item.provider_reference) for item in found}
    by_own = {
        line.own_reference
        for line in lines
        if line.own_reference and (_kind(line), line.provider_reference) not in known
    }
    return found + _items(_BY_OWN_REFERENCE, workspace_id, provider_account_id, by_own)


def _kind(line: SettlementLine) -> str:
    return "capture" if line.line_type == "sale" else "refund"


def _items(sql: str, workspace_id: UUID, provider_account_id: UUID, references: Collection[str]) -> list[Candidate]:
    if not references:
        return []
    return [Candidate(**row) for row in fetch_all(sql, [workspace_id, provider_account_id, sorted(references)])]


def missing_items(workspace_id: UUID, *, before: datetime) -> list[tuple[Candidate, UUID]]:
    """Captures older than a moment that no line has come for and no case knows, with their provider account.

    At most MAX_MISSING, the oldest first.
    """
    rows = fetch_all(_MISSING, {"workspace_id": workspace_id, "before": before, "limit": MAX_MISSING})
    return [(Candidate(**row), row_account) for row in rows for row_account in [row.pop("provider_account_id")]]


def arrived_cases(workspace_id: UUID) -> list[UUID]:
    """Open missing-line cases whose line has come since, at most MAX_MISSING."""
    rows = fetch_all(_ARRIVED, {"workspace_id": workspace_id, "limit": MAX_MISSING})
    return [row["id"] for row in rows]


def serialize_missing(workspace_id: UUID) -> None:
    """Let one transaction at a time look for the missing lines of a workspace; it waits until the other commits."""
    fetch_all("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"settlement.missing:{workspace_id}"])


def open_case_count(workspace_id: UUID) -> int:
    return DriftCase.objects.filter(workspace_id=workspace_id).exclude(state=CaseState.CLOSED).count()


def due_runs(workspace_id: UUID, *, stale_after: timedelta) -> list[UUID]:
    """Runs that nobody has begun, or that began so long ago that their worker must have died; oldest first."""
    now = clock_for(workspace_id).now()
    rows = ReconciliationRun.objects.filter(workspace_id=workspace_id, finished_at__isnull=True)
    due = rows.filter(Q(started_at__isnull=True) | Q(started_at__lt=now - stale_after))
    return list(due.order_by("created_at", "id").values_list("id", flat=True))


def settlement_of_payment(*, workspace_id: UUID, payment_id: UUID) -> dict[str, Any]:
    """The settlement section of a payment's trace: its lines with batch and file, and its cases."""
    matches = (
        LineMatch.objects.filter(workspace_id=workspace_id, payment_id=payment_id)
        .select_related("line", "line__file", "batch", "case")
        .order_by("line_id")[:MAX_OF_PAYMENT]
    )
    cases = DriftCase.objects.filter(workspace_id=workspace_id, payment_id=payment_id).select_related("batch", "owner")
    return {
        "lines": [match_data(match) for match in matches],
        "cases": [case_data(case) for case in cases.order_by("id")[:MAX_OF_PAYMENT]],
    }


def match_data(match: LineMatch) -> dict[str, Any]:
    """A line and what became of it, as traces show it."""
    line = match.line
    return {
        "line_id": line.id,
        "provider_line_id": line.provider_line_id,
        "batch_id": match.batch.public_id,
        "provider_batch_id": match.batch.provider_batch_id,
        "file_id": line.file.public_id,
        "file": line.file.name,
        "row": line.row,
        "line_type": line.line_type,
        "verdict": match.verdict,
        "rule": match.rule or None,
        "ruleset": match.ruleset,
        "currency": line.currency,
        "gross_minor": line.gross_minor,
        "fee_minor": line.fee_minor,
        "net_minor": line.net_minor,
        "booked_on": line.booked_on.isoformat(),
        "item_id": item_public_id(match.item_kind, match.item_id),
        "case_id": match.case.public_id if match.case else None,
        "journal_id": public_id("jrn", match.journal_id),
    }


def unequal_suspense(*, workspace_id: UUID) -> Iterator[str]:
    """Proof: for every case 2900 of the case is its suspense_minor, and 2900 holds nothing without a case."""
    booked = suspense_balances(workspace_id)
    cases = DriftCase.objects.filter(workspace_id=workspace_id).exclude(suspense_minor=0)
    expected = {str(case.id): {case.currency: case.suspense_minor} for case in cases.iterator()}
    for case_id in sorted(booked.keys() | expected.keys()):
        if booked.get(case_id, {}) != expected.get(case_id, {}):
            yield f"2900 of case {case_id} holds {booked.get(case_id, {})}, the case says {expected.get(case_id, {})}"
