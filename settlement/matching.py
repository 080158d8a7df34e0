"""Which item a line is about, and what the line therefore is. Pure: lines and candidates in, verdicts out.

Two rules, the stronger first: the provider's own reference of the capture or refund, then our reference of the
attempt. Only an unambiguous find counts. An exact reference with a wrong amount is drift, not "unmatched".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

from settlement.types import Candidate, LineType, MatchRule, Verdict


class Line(Protocol):
    """What the rules read of a line."""

    line_type: str
    provider_reference: str
    own_reference: str
    currency: str
    gross_minor: int


Found = tuple[Candidate, MatchRule]


def find_items(lines: Sequence[Line], candidates: Iterable[Candidate]) -> list[Found | None]:
    """The item that each line is about, in the order of the lines; None where no rule finds exactly one.

    A refund line never finds a capture, nor a sale line a refund, whatever the references say.
    """
    by_rule: dict[tuple[MatchRule, str, str], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_rule[MatchRule.PROVIDER_REFERENCE, candidate.kind, candidate.provider_reference].append(candidate)
        by_rule[MatchRule.OWN_REFERENCE, candidate.kind, candidate.own_reference].append(candidate)
    return [_find(line, by_rule) for line in lines]


def _find(line: Line, by_rule: dict[tuple[MatchRule, str, str], list[Candidate]]) -> Found | None:
    kind = LineType(line.line_type).item_kind
    references = (
        (MatchRule.PROVIDER_REFERENCE, line.provider_reference),
        (MatchRule.OWN_REFERENCE, line.own_reference),
    )
    for rule, reference in references:
        found = by_rule.get((rule, kind, reference), []) if reference else []
        if len({candidate.item_id for candidate in found}) == 1:
            return found[0], rule
    return None


def judge(line: Line, item: Candidate | None, *, has_line: bool) -> Verdict:
    """What a line is.

    :param has_line: another line was applied to the item before, in this batch or any other
    """
    if item is None:
        return Verdict.UNKNOWN_REFERENCE
    if has_line:
        return Verdict.DUPLICATE
    if line.currency != item.currency:
        return Verdict.CURRENCY_DIFFERS
    if line.gross_minor != item.expected_minor:
        return Verdict.AMOUNT_DIFFERS
    return Verdict.MATCHED


def claims_item(verdict: Verdict) -> bool:
    """Whether a line with this verdict takes its item, so that a second line of the item is a duplicate.

    A line in another currency does not: what was captured stays open in its own currency.
    """
    return verdict in (Verdict.MATCHED, Verdict.AMOUNT_DIFFERS)
