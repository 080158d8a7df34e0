"""Decisions of people about drift cases: who owns one, and how it ends. Closing posts its journal in the same
transaction, so the suspense account and the open cases never disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog
from django.db import transaction

from ledger.services import post_journal
from ledger.types import Posting
from payments.services import settling
from payments.services.chronicle import Chronicle
from payments.types import SettledItem, SettlementItem
from settlement import matching, postings, selectors
from settlement.models import DriftCase, LineMatch, SettlementBatch
from settlement.rules import resolutions_for
from settlement.selectors import CaseNotFound
from settlement.services.cases import announce_closed, explain_case, finish_batch_if_explained
from settlement.services.merchants import Receivables, charge_to, release_rest
from settlement.services.reconcile import NoteRequired, lock_batch
from settlement.states import BatchState, CaseState, CaseTrigger, next_case_state
from settlement.types import DriftClass, MatchRule, Resolution
from zentra.core.db import require_transaction
from zentra.core.errors import Conflict, Unprocessable
from zentra.evidence.types import RequestContext
from zentra.tenancy.selectors import terms_of
from zentra.tenancy.types import RUNTIME, Actor

if TYPE_CHECKING:
    from zentra.tenancy.models import User

log = structlog.get_logger(__name__)

_LATE: Final = (Resolution.LATE_SALE_LINE, Resolution.LATE_REFUND_LINE)


class CaseHasOwner(Conflict):
    code = "drift_case_has_owner"
    summary = "Somebody else owns the case."
    remedy = "Ask the owner to release it; the owner is in `details.owner`."


class CaseHasNoOwner(Conflict):
    code = "drift_case_has_no_owner"
    summary = "A case is closed by its owner, and this one has none."
    remedy = "Assign the case first."


class ResolutionNotAllowed(Unprocessable):
    code = "drift_resolution_not_allowed"
    summary = "A case of this class and amount cannot end this way."
    remedy = "Choose one of `details.allowed`."


class NoOpenItemForLine(Conflict):
    code = "drift_no_open_item"
    summary = "No open capture or refund has the references, currency and amount of the line."
    remedy = "Wait until it is confirmed, or close the case another way."


class BatchNotAccepted(Conflict):
    code = "settlement_batch_not_accepted"
    summary = "The batch of this control-total case is not accepted, so nothing is booked that could be closed."
    remedy = "Accept the batch, or import the corrected file."


class LineHasArrived(Conflict):
    code = "drift_line_has_arrived"
    summary = "The missing line has arrived since."
    remedy = "Nothing is to be done: the next run closes the case."


@dataclass(frozen=True, slots=True)
class Closing:
    """What closing a case would do: its journal (None where no money moves) and what becomes of the item.

    :param released_minor: pending money of the capture that moves on
    """

    posting: Posting | None
    item: SettlementItem | None
    released_minor: int = 0


@transaction.atomic(durable=True)
def assign_case(
    *, workspace_id: UUID, case_id: UUID, owner: User, actor: Actor, context: RequestContext | None = None
) -> DriftCase:
    """Give an open case to a person. Repeating it for the same person changes nothing.

    :raises CaseNotFound: this workspace has no such case
    :raises CaseHasOwner: somebody else has it; of two who take it at once, one gets this
    :raises IllegalTransition: the case is closed
    """
    case = _lock_case(workspace_id, case_id)
    if case.state == CaseState.ASSIGNED:
        if case.owner_id == owner.id:
            return case
        raise CaseHasOwner(details={"owner": str(case.owner_id)})
    _move(case, CaseTrigger.ASSIGNED, owner, workspace_id, actor, context)
    return case


@transaction.atomic(durable=True)
def release_case(
    *, workspace_id: UUID, case_id: UUID, actor: Actor, context: RequestContext | None = None
) -> DriftCase:
    """Give a case back to the queue.

    :raises CaseNotFound: this workspace has no such case
    :raises IllegalTransition: nobody has it, or it is closed
    """
    case = _lock_case(workspace_id, case_id)
    _move(case, CaseTrigger.RELEASED, None, workspace_id, actor, context)
    return case


def _lock_case(workspace_id: UUID, case_id: UUID) -> DriftCase:
    found = DriftCase.objects.select_for_update().filter(workspace_id=workspace_id, id=case_id).first()
    if found is None:
        raise CaseNotFound
    return found


def _move(
    case: DriftCase,
    trigger: CaseTrigger,
    owner: User | None,
    workspace_id: UUID,
    actor: Actor,
    context: RequestContext | None,
) -> None:
    before = case.state
    case.state = next_case_state(CaseState(case.state), trigger)
    case.owner = owner
    case.save()
    chronicle = Chronicle(terms=terms_of(workspace_id), actor=actor, context=context or RequestContext())
    chronicle.record(
        f"drift_case.{trigger}",
        case.public_id,
        payment_id=case.payment_id,
        before=before,
        after=str(case.state),
        data={"owner": str(owner.id) if owner else None},
    )
    chronicle.write()


@transaction.atomic(durable=True)
def close_case(
    *,
    workspace_id: UUID,
    case_id: UUID,
    resolution: Resolution,
    note: str,
    actor: Actor,
    context: RequestContext | None = None,
) -> DriftCase:
    """End an owned case: its journal empties 2900 of the case, its payment is told, and the batch is matched when it
    was the last one. Of two who close at once, one succeeds and the other is refused.

    :param note: 3 to 2000 characters: what was found out
    :raises CaseNotFound: this workspace has no such case
    :raises CaseHasNoOwner: nobody has taken it
    :raises IllegalTransition: it is closed already
    :raises NoteRequired: the note is missing
    :raises ResolutionNotAllowed: the case cannot end this way
    :raises NoOpenItemForLine: a late line was chosen and there is nothing that it could be about
    :raises BatchNotAccepted: a control-total case of a batch that nobody accepted
    :raises LineHasArrived: a missing-line case whose line came meanwhile
    """
    if not 3 <= len(note.strip()) <= 2000:
        raise NoteRequired(field="note")
    batch, case = _lock_batch_and_case(workspace_id, case_id)
    if case.state == CaseState.OPEN:
        raise CaseHasNoOwner
    before = case.state
    # Asked before anything is planned: a closed case is refused as such, whatever the resolution.
    case.state = next_case_state(CaseState(case.state), CaseTrigger.RESOLVED)
    chronicle = Chronicle(terms=terms_of(workspace_id), actor=actor, context=context or RequestContext())
    closing = plan_closing(case=case, batch=batch, resolution=resolution, chronicle=chronicle)
    if closing.posting is not None:
        posted = post_journal(workspace_id=workspace_id, posting=closing.posting, clock=chronicle.terms.clock)
        case.closing_journal_id = posted.id
    _tell_payments(case, batch, resolution, closing, chronicle)
    case.suspense_minor, case.resolution, case.note = 0, resolution, note.strip()
    case.closed_at = chronicle.terms.clock.now()
    case.save()
    announce_closed(case, before=before, chronicle=chronicle)
    if batch is not None:
        finish_batch_if_explained(batch, chronicle=chronicle)
    chronicle.write()
    log.info("drift_case_closed", case_id=case.public_id, resolution=str(resolution))
    return case


def _lock_batch_and_case(workspace_id: UUID, case_id: UUID) -> tuple[SettlementBatch | None, DriftCase]:
    """Locks in the order that the reconciler takes them: batch, case, then payments. :raises CaseNotFound:"""
    seen = selectors.case_by_id(workspace_id, case_id)
    batch = lock_batch(workspace_id=workspace_id, batch_id=seen.batch_id) if seen.batch_id else None
    return batch, _lock_case(workspace_id, case_id)


def plan_closing(
    *, case: DriftCase, batch: SettlementBatch | None, resolution: Resolution, chronicle: Chronicle
) -> Closing:
    """The journal that a resolution would post for a locked case, and what it does to the case's item.

    :raises ResolutionNotAllowed: and the other refusals of ``close_case`` about the resolution
    :raises NotInTransaction: it locks the item
    """
    require_transaction()
    allowed = resolutions_of(case)
    if resolution not in allowed:
        raise ResolutionNotAllowed(field="resolution", details={"allowed": [str(item) for item in allowed]})
    if case.drift_class == DriftClass.CONTROL_TOTAL and batch is not None and batch.state == BatchState.CONTROL_FAILED:
        raise BatchNotAccepted
    item = _late_item(case) if resolution in _LATE else _own_item(case)
    if case.drift_class == DriftClass.MISSING_LINE and item is not None and item.has_line:
        raise LineHasArrived
    receivables = Receivables(case.workspace_id)
    charge = release = None
    if resolution is Resolution.MERCHANT_BEARS and item is not None:
        charge = charge_to(item, amount_minor=case.suspense_minor or item.amount_minor, receivables=receivables)
    elif item is not None and resolution is not Resolution.REVIEWED:
        release = release_rest(item, receivables=receivables)
    posting = postings.case_closed(
        case, resolution, item=item, release=release, charge=charge, day=chronicle.terms.today
    )
    released = charge.pending_minor if charge else release.amount_minor if release else 0
    return Closing(posting, item, released)


def resolutions_of(case: DriftCase) -> Sequence[Resolution]:
    """The ways in which this case may end now."""
    return resolutions_for(DriftClass(case.drift_class), suspense_minor=case.suspense_minor, item_kind=case.item_kind)


@transaction.atomic
def preview_closing(*, workspace_id: UUID, case_id: UUID, resolution: Resolution) -> Posting | None:
    """What ``close_case`` would book now; nothing is written.

    :raises: as ``close_case``, but for owner and note
    """
    batch, case = _lock_batch_and_case(workspace_id, case_id)
    chronicle = Chronicle(terms=terms_of(workspace_id))
    closing = plan_closing(case=case, batch=batch, resolution=resolution, chronicle=chronicle)
    # A look at a balance may have opened its account: that is undone, and the locks are given back.
    transaction.set_rollback(True)
    return closing.posting


def _own_item(case: DriftCase) -> SettlementItem | None:
    """The item that the case's closing has to settle: of a wrong amount, or of a line that never came."""
    if case.item_id is None or case.drift_class not in (DriftClass.AMOUNT_DIFFERS, DriftClass.MISSING_LINE):
        return None
    locked = settling.lock_items(workspace_id=case.workspace_id, item_ids=[(case.item_kind, case.item_id)])
    return locked.get(case.item_id)


def _late_item(case: DriftCase) -> SettlementItem:
    """The open item that an unknown line turns out to be about, locked. :raises NoOpenItemForLine:"""
    line = case.line
    if line is None:
        raise NoOpenItemForLine
    candidates = selectors.candidates_for(case.workspace_id, case.provider_account_id, [line])
    [found] = matching.find_items([line], candidates)
    if found is None:
        raise NoOpenItemForLine
    candidate, _ = found
    locked = settling.lock_items(workspace_id=case.workspace_id, item_ids=[(candidate.kind, candidate.item_id)])
    item = locked.get(candidate.item_id)
    if item is None or matching.judge(line, candidate, has_line=item.has_line) != "matched":
        raise NoOpenItemForLine(details={"item": str(candidate.item_id)})
    return item


def _tell_payments(
    case: DriftCase, batch: SettlementBatch | None, resolution: Resolution, closing: Closing, chronicle: Chronicle
) -> None:
    """Payments learns that its item is explained now, or settled by a line that was late."""
    item = closing.item
    if item is None or resolution is Resolution.REVIEWED:
        return
    if resolution not in _LATE:
        settling.explain_items(
            workspace_id=case.workspace_id,
            item_ids=[(item.kind, item.id)],
            chronicle=chronicle,
            released_minor=closing.released_minor,
        )
        return
    settled = SettledItem(
        kind=item.kind,
        item_id=item.id,
        payment_id=item.payment_id,
        settled_minor=item.amount_minor,
        released_minor=closing.released_minor,
    )
    batch_public_id = batch.public_id if batch else ""
    settling.settle_items(items=[settled], batch_public_id=batch_public_id, chronicle=chronicle)
    LineMatch.objects.filter(line_id=case.line_id).update(
        rule=MatchRule.OPERATOR, item_kind=item.kind, item_id=item.id, payment_id=item.payment_id, claims=True
    )
    case.item_kind, case.item_id, case.payment_id = item.kind, item.id, item.payment_id


@transaction.atomic(durable=True)
def close_arrived_case(*, workspace_id: UUID, case_id: UUID, actor: Actor = RUNTIME) -> bool:
    """Close a missing-line case whose line has come; False when it was closed meanwhile."""
    case = _lock_case(workspace_id, case_id)
    if case.state == CaseState.CLOSED:
        return False
    chronicle = Chronicle(terms=terms_of(workspace_id), actor=actor)
    explain_case(case, resolution=Resolution.LINE_ARRIVED, chronicle=chronicle)
    chronicle.write()
    return True
