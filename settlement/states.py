"""The state machines of batches and drift cases: tables of data, read by one pure function each.

The states of a batch are those of a published settlement API (docs.mangopay.com, settlement object), adapted: lines
are matched or drifted, and nothing is matched before the control totals agree or a person accepted them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from zentra.core.transitions import follow


class BatchState(StrEnum):
    """``MATCHED``: every line is matched, or its case is closed. The bank's money is a later, separate question."""

    RECEIVED = "received"
    CONTROL_FAILED = "control_failed"
    MATCHING = "matching"
    PARTIALLY_MATCHED = "partially_matched"
    MATCHED = "matched"


class BatchTrigger(StrEnum):
    """Past facts that move a batch."""

    TOTALS_AGREE = "totals_agree"
    TOTALS_DIFFER = "totals_differ"
    ACCEPTED = "accepted"
    LINES_MATCHED = "lines_matched"
    LINES_DRIFTED = "lines_drifted"
    CASES_CLOSED = "cases_closed"
    LINES_ADDED = "lines_added"


BATCH_TRANSITIONS: Final = {
    (BatchState.RECEIVED, BatchTrigger.TOTALS_AGREE): BatchState.MATCHING,
    (BatchState.RECEIVED, BatchTrigger.TOTALS_DIFFER): BatchState.CONTROL_FAILED,
    (BatchState.CONTROL_FAILED, BatchTrigger.ACCEPTED): BatchState.MATCHING,
    (BatchState.MATCHING, BatchTrigger.LINES_MATCHED): BatchState.MATCHED,
    (BatchState.MATCHING, BatchTrigger.LINES_DRIFTED): BatchState.PARTIALLY_MATCHED,
    (BatchState.PARTIALLY_MATCHED, BatchTrigger.CASES_CLOSED): BatchState.MATCHED,
    # A later file with further lines, or with the totals that were missing: the control is made anew.
    **{(state, BatchTrigger.LINES_ADDED): BatchState.RECEIVED for state in BatchState},
}

#: States in which a reconciler still has something to do.
OPEN_BATCHES: Final = (BatchState.RECEIVED, BatchState.MATCHING)


class CaseState(StrEnum):
    OPEN = "open"
    ASSIGNED = "assigned"
    CLOSED = "closed"


class CaseTrigger(StrEnum):
    """Past facts that move a drift case. ``EXPLAINED``: a later line or file closed it without a person."""

    ASSIGNED = "assigned"
    RELEASED = "released"
    RESOLVED = "resolved"
    EXPLAINED = "explained"


CASE_TRANSITIONS: Final = {
    (CaseState.OPEN, CaseTrigger.ASSIGNED): CaseState.ASSIGNED,
    (CaseState.ASSIGNED, CaseTrigger.RELEASED): CaseState.OPEN,
    (CaseState.ASSIGNED, CaseTrigger.RESOLVED): CaseState.CLOSED,
    (CaseState.OPEN, CaseTrigger.EXPLAINED): CaseState.CLOSED,
    (CaseState.ASSIGNED, CaseTrigger.EXPLAINED): CaseState.CLOSED,
}


def next_batch_state(state: BatchState, trigger: BatchTrigger) -> BatchState:
    """:raises IllegalTransition: the table has no such edge"""
    return follow(BATCH_TRANSITIONS, state, trigger)


def next_case_state(state: CaseState, trigger: CaseTrigger) -> CaseState:
    """:raises IllegalTransition: the table has no such edge"""
    return follow(CASE_TRANSITIONS, state, trigger)
