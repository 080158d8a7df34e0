"""Batches reconciled: control totals first, then their lines in chunks, each judged, booked and applied at once.

Everything about a chunk commits together: verdicts, journals, cases, what payments shows, evidence and events, and the
mark up to which the batch is done. A crash loses at most the chunk that had not committed; a repeat starts behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar
from uuid import UUID

import structlog
from django.db import OperationalError, transaction
from psycopg.errors import DeadlockDetected, SerializationFailure

from ledger.services import post_journals
from ledger.types import Posting
from payments.services import settling
from payments.services.chronicle import Chronicle
from payments.types import SettledItem, SettlementItem
from settlement import matching, postings, selectors
from settlement.events import batch_data
from settlement.models import DriftCase, LineMatch, SettlementBatch, SettlementLine
from settlement.selectors import BatchNotFound
from settlement.services.cases import (
    case_of_batch,
    case_of_line,
    explain_case,
    move_batch,
    store_cases,
)
from settlement.services.merchants import Receivables
from settlement.states import BatchState, BatchTrigger, CaseState
from settlement.types import RULESET_VERSION, Candidate, DriftClass, MatchRule, Resolution, Verdict
from zentra.core.errors import Unprocessable
from zentra.core.jobs import enqueue_on_commit
from zentra.evidence.types import RequestContext
from zentra.tenancy.selectors import terms_of
from zentra.tenancy.types import RUNTIME, Actor

log = structlog.get_logger(__name__)

#: Lines of one transaction. At worst each makes two facts of evidence and three events, of which 1000 fit in a call.
CHUNK_LINES: Final = 250
MAX_TRIES: Final = 4

_Result = TypeVar("_Result")


class NoteRequired(Unprocessable):
    code = "drift_note_required"
    summary = "The decision needs a note of 3 to 2000 characters that says why."
    remedy = "Write down what was found out, and where it can be looked up."


@dataclass(slots=True)
class BatchReport:
    """What one call of ``reconcile_batch`` did; ``state`` is the batch's state after it."""

    state: str = ""
    lines: int = 0
    matched: int = 0
    drifted: int = 0

    def add(self, other: BatchReport) -> None:
        self.lines += other.lines
        self.matched += other.matched
        self.drifted += other.drifted


def reconcile_batch(*, workspace_id: UUID, batch_id: UUID, actor: Actor = RUNTIME) -> BatchReport:
    """Check the control totals of a batch and, if they hold, match and book its lines. Safe to repeat and to race.

    A batch whose totals differ stops in ``control_failed`` with a case, and books nothing until it is accepted.

    :raises BatchNotFound: this workspace has no such batch
    """
    report = BatchReport()
    report.state = _patiently(lambda: check_control(workspace_id=workspace_id, batch_id=batch_id, actor=actor))
    while report.state == BatchState.MATCHING:
        chunk = _patiently(lambda: reconcile_chunk(workspace_id=workspace_id, batch_id=batch_id, actor=actor))
        report.add(chunk)
        report.state = chunk.state
    log.info("settlement_batch_reconciled", batch_id=str(batch_id), state=str(report.state), lines=report.lines)
    return report


def _patiently(work: Callable[[], _Result]) -> _Result:
    """Repeat a transaction that lost a deadlock or a serialization race: nothing of it was committed."""
    for attempt in range(1, MAX_TRIES + 1):
        try:
            return work()
        except OperationalError as error:
            if attempt == MAX_TRIES or not isinstance(error.__cause__, DeadlockDetected | SerializationFailure):
                raise
            time.sleep(0.05 * attempt)
    raise AssertionError("unreachable")


def lock_batch(*, workspace_id: UUID, batch_id: UUID) -> SettlementBatch:
    """A batch under its row lock, taken before its cases and payments. :raises BatchNotFound:"""
    found = SettlementBatch.objects.select_for_update().filter(workspace_id=workspace_id, id=batch_id).first()
    if found is None:
        raise BatchNotFound
    return found


@transaction.atomic(durable=True)
def check_control(*, workspace_id: UUID, batch_id: UUID, actor: Actor = RUNTIME) -> str:
    """Hold a received batch's declared totals against its lines; returns the state of the batch then.

    :raises BatchNotFound: this workspace has no such batch
    """
    batch = lock_batch(workspace_id=workspace_id, batch_id=batch_id)
    if batch.state != BatchState.RECEIVED:
        return batch.state
    chronicle = Chronicle(terms=terms_of(workspace_id), actor=actor)
    open_case = _open_control_case(batch)
    # Totals that agree are not enough: a difference that was accepted and closed before is on 1110 already.
    if batch.totals_agree and (open_case is not None or batch.control_open_minor == 0):
        if open_case is not None:
            _settle_control(batch, open_case, chronicle)
            explain_case(open_case, resolution=Resolution.TOTALS_AGREE, chronicle=chronicle)
        move_batch(batch, trigger=BatchTrigger.TOTALS_AGREE, chronicle=chronicle)
    else:
        case = case_of_batch(
            batch,
            drift_class=DriftClass.CONTROL_TOTAL,
            expected_minor=batch.net_minor,
            actual_minor=batch.declared_net_minor,
            chronicle=chronicle,
        )
        case.expected_minor, case.actual_minor = batch.net_minor, batch.declared_net_minor
        case.save(update_fields=["expected_minor", "actual_minor"])
        move_batch(batch, trigger=BatchTrigger.TOTALS_DIFFER, chronicle=chronicle)
        chronicle.announce(
            "settlement.batch.control_failed",
            "settlement_batch",
            batch.public_id,
            {**batch_data(batch), "case_id": case.public_id},
        )
    chronicle.write()
    return batch.state


def _open_control_case(batch: SettlementBatch) -> DriftCase | None:
    rows = DriftCase.objects.select_for_update().filter(batch=batch, drift_class=DriftClass.CONTROL_TOTAL)
    return rows.exclude(state=CaseState.CLOSED).first()


def _settle_control(batch: SettlementBatch, case: DriftCase, chronicle: Chronicle) -> None:
    """Book what the declared net says beyond the lines, so that 1110 of the batch is the declared net."""
    amount = batch.control_open_minor
    if amount == 0:
        return
    posting = postings.control_accepted(batch, case, chronicle.terms.today)
    [posted] = post_journals(workspace_id=batch.workspace_id, postings=[posting], clock=chronicle.terms.clock)
    batch.control_adjusted_minor += amount
    batch.control_rounds += 1
    case.suspense_minor -= amount
    case.journal_id = posted.id


@transaction.atomic(durable=True)
def accept_batch(
    *, workspace_id: UUID, batch_id: UUID, note: str, actor: Actor, context: RequestContext | None = None
) -> SettlementBatch:
    """A person accepts a batch whose totals differ: the difference goes to suspense under its case, and the lines are
    free to be matched. A worker is hinted.

    :raises BatchNotFound: this workspace has no such batch
    :raises IllegalTransition: the batch is not control_failed
    :raises NoteRequired: no reason was given; nothing is written
    """
    if not 3 <= len(note.strip()) <= 2000:
        raise NoteRequired(field="note")
    batch = lock_batch(workspace_id=workspace_id, batch_id=batch_id)
    chronicle = Chronicle(terms=terms_of(workspace_id), actor=actor, context=context or RequestContext())
    move_batch(batch, trigger=BatchTrigger.ACCEPTED, chronicle=chronicle)
    case = case_of_batch(
        batch,
        drift_class=DriftClass.CONTROL_TOTAL,
        expected_minor=batch.net_minor,
        actual_minor=batch.declared_net_minor,
        chronicle=chronicle,
    )
    _settle_control(batch, case, chronicle)
    case.note = note.strip()
    case.save()
    batch.save()
    chronicle.record(
        "drift_case.money_held",
        case.public_id,
        payment_id=None,
        journal_ids=[case.journal_id] if case.journal_id else [],
        data={"suspense_minor": case.suspense_minor, "currency": case.currency},
    )
    chronicle.write()
    enqueue_on_commit("settlement.reconcile_batch", workspace_id=str(workspace_id), batch_id=str(batch_id))
    return batch


@dataclass(slots=True)
class _Chunk:
    """What a chunk of lines comes to, collected before any of it is written."""

    batch: SettlementBatch
    chronicle: Chronicle
    postings: list[Posting] = field(default_factory=list)
    matches: list[LineMatch] = field(default_factory=list)
    cases: list[DriftCase] = field(default_factory=list)
    batch_cases: dict[UUID, DriftCase] = field(default_factory=dict)
    settled: list[SettledItem] = field(default_factory=list)


@transaction.atomic(durable=True)
def reconcile_chunk(
    *, workspace_id: UUID, batch_id: UUID, actor: Actor = RUNTIME, limit: int = CHUNK_LINES
) -> BatchReport:
    """Judge, book and apply the next lines of a batch that is being matched, or end the matching when none is left.

    :raises BatchNotFound: this workspace has no such batch
    """
    batch = lock_batch(workspace_id=workspace_id, batch_id=batch_id)
    if batch.state != BatchState.MATCHING:
        return BatchReport(state=batch.state)
    chronicle = Chronicle(terms=terms_of(workspace_id), actor=actor)
    lines = selectors.lines_of_batch(batch, after=batch.booked_line_id, limit=min(limit, CHUNK_LINES))
    if not lines:
        _end_matching(batch, chronicle)
        chronicle.write()
        return BatchReport(state=batch.state)
    chunk = _Chunk(batch, chronicle)
    _judge_lines(chunk, lines)
    _write(chunk)
    matched = sum(match.verdict == Verdict.MATCHED for match in chunk.matches)
    batch.booked_line_id = lines[-1].id
    batch.matched_count += matched
    batch.drifted_count += len(lines) - matched
    batch.save()
    chronicle.write()
    return BatchReport(state=batch.state, lines=len(lines), matched=matched, drifted=len(lines) - matched)


def _judge_lines(chunk: _Chunk, lines: list[SettlementLine]) -> None:
    """Find each line's item, lock the items, and decide: whether an item has its line is asked under its lock."""
    batch = chunk.batch
    candidates = selectors.candidates_for(batch.workspace_id, batch.provider_account_id, lines)
    found = matching.find_items(lines, candidates)
    wanted = {(pair[0].kind, pair[0].item_id) for pair in found if pair is not None}
    locked = settling.lock_items(workspace_id=batch.workspace_id, item_ids=sorted(wanted))
    taken = {item_id for item_id, item in locked.items() if item.has_line}
    receivables = Receivables(batch.workspace_id)
    for line, pair in zip(lines, found, strict=True):
        candidate, rule = pair or (None, None)
        item = locked.get(candidate.item_id) if candidate else None
        verdict = matching.judge(line, candidate, has_line=candidate is not None and candidate.item_id in taken)
        if candidate is not None and matching.claims_item(verdict):
            taken.add(candidate.item_id)
        _book_line(chunk, line, verdict, candidate, item, rule, receivables)


def _book_line(
    chunk: _Chunk,
    line: SettlementLine,
    verdict: Verdict,
    candidate: Candidate | None,
    item: SettlementItem | None,
    rule: MatchRule | None,
    receivables: Receivables,
) -> None:
    """Add one line's journal, match, case and effect on its payment to the chunk."""
    claims = matching.claims_item(verdict)
    case = None if verdict is Verdict.MATCHED else _case_for(chunk, line, verdict, candidate, item)
    release = None
    if claims and item is not None:
        owed = receivables.owed(item.merchant_id, item.currency) if item.kind == "capture" else 0
        release = postings.release_of(item, abs(line.gross_minor), owed)
        receivables.repaid(item.merchant_id, item.currency, release.repaid_minor)
        chunk.settled.append(
            SettledItem(
                kind=item.kind,
                item_id=item.id,
                payment_id=item.payment_id,
                settled_minor=abs(line.gross_minor),
                released_minor=release.amount_minor,
                explained=verdict is Verdict.MATCHED,
            )
        )
    chunk.postings.append(
        postings.line_booked(
            line, chunk.batch, verdict=verdict, item=item, release=release, case_id=case.id if case else None
        )
    )
    chunk.matches.append(
        LineMatch(
            workspace_id=chunk.batch.workspace_id,
            batch=chunk.batch,
            line=line,
            verdict=verdict,
            rule=rule or "",
            ruleset=RULESET_VERSION,
            item_kind=candidate.kind if candidate else "",
            item_id=candidate.item_id if candidate else None,
            payment_id=candidate.payment_id if candidate else None,
            claims=claims,
            case=case,
            matched_at=chunk.chronicle.terms.clock.now(),
        )
    )


def _case_for(
    chunk: _Chunk, line: SettlementLine, verdict: Verdict, candidate: Candidate | None, item: SettlementItem | None
) -> DriftCase:
    """The case that holds a drifted line's money: its own, or for another currency the one of the whole batch."""
    amount = postings.suspense_of(line, verdict, item)
    if verdict is not Verdict.CURRENCY_DIFFERS:
        case = case_of_line(
            line,
            batch=chunk.batch,
            drift_class=DriftClass(verdict.value),
            item=candidate,
            suspense_minor=amount,
            chronicle=chunk.chronicle,
        )
        chunk.cases.append(case)
        return case
    held = next(iter(chunk.batch_cases.values()), None) or case_of_batch(
        chunk.batch,
        drift_class=DriftClass.CURRENCY_DIFFERS,
        expected_minor=None,
        actual_minor=0,
        chronicle=chunk.chronicle,
    )
    chunk.batch_cases[held.id] = held
    held.suspense_minor += amount
    held.actual_minor = (held.actual_minor or 0) + line.gross_minor
    return held


def _write(chunk: _Chunk) -> None:
    """Book, then store: a case and a match carry the id of their journal."""
    workspace_id, clock = chunk.batch.workspace_id, chunk.chronicle.terms.clock
    posted = post_journals(workspace_id=workspace_id, postings=chunk.postings, clock=clock)
    for match, journal in zip(chunk.matches, posted, strict=True):
        match.journal_id = journal.id
        if match.case is not None:
            match.case.journal_id = journal.id
    store_cases(chunk.cases, chronicle=chunk.chronicle)
    for case in chunk.batch_cases.values():
        case.save()
    LineMatch.objects.bulk_create(chunk.matches)
    settling.settle_items(items=chunk.settled, batch_public_id=chunk.batch.public_id, chronicle=chunk.chronicle)


def _end_matching(batch: SettlementBatch, chronicle: Chronicle) -> None:
    """No line is left: the batch is matched, or partially matched while one of its cases is open."""
    drifted = DriftCase.objects.filter(batch=batch).exclude(state=CaseState.CLOSED).exists()
    trigger = BatchTrigger.LINES_DRIFTED if drifted else BatchTrigger.LINES_MATCHED
    move_batch(batch, trigger=trigger, chronicle=chronicle)
