"""Decisions of routing, pure: which account takes a payment, when another one may be tried, and provider keys.

The order of candidates: accounts that an enabled, matching rule names come first, by the rule's priority; then all
other eligible accounts by their own priority. Equal places are shared by weight. Everything that decides is stored
with the decision, so ``replay_order`` gives the same order years later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Final
from uuid import UUID

from routing.types import (
    AccountFacts,
    Candidate,
    Operation,
    ProviderResult,
    RetryAdvice,
    RouteRequest,
    RuleFacts,
    Transport,
    Verdict,
)
from zentra.core.crypto import base32_digest, keyed_hash

#: Every reason a decision may name, with its meaning for an operator.
REASONS: Final = {
    "account_disabled": "The account is switched off.",
    "provider_unknown": "No adapter for the account's provider is installed.",
    "sandbox_provider": "The sandbox acquirer never takes a live payment.",
    "currency_not_supported": "The account does not take this currency.",
    "settles_in_another_currency": "The account pays out in another currency.",
    "method_not_supported": "The account or its provider does not take this payment method.",
    "amount_below_minimum": "The amount is below the account's minimum.",
    "amount_above_maximum": "The amount is above the account's maximum.",
    "no_credential_at_account": "The payment method was not tokenized at this account.",
    "lower_priority": "Another eligible account comes earlier.",
    "weight_lost": "An account of the same place was drawn by weight.",
}

_PLACES: Final = {"rule": 0, "account": 1}
PROVIDER_KEY_LENGTH: Final = 32

_ACCOUNT_FIELDS: Final = tuple(field.name for field in fields(AccountFacts))
_RULE_FIELDS: Final = tuple(field.name for field in fields(RuleFacts))
_account_values: Final = attrgetter(*_ACCOUNT_FIELDS)
_rule_values: Final = attrgetter(*_RULE_FIELDS)


def rank(
    *, request: RouteRequest, accounts: Sequence[AccountFacts], rules: Sequence[RuleFacts], seed: str
) -> tuple[Candidate, ...]:
    """Every account as a candidate: eligible ones first in the order of trying, then the others by name.

    :param seed: decides draws by weight; the same seed and the same facts always give the same order
    """
    placed = _best_rules(request, rules)
    candidates = [_candidate(request, account, placed.get(account.account_id)) for account in accounts]
    eligible = replay_order(candidates=[item for item in candidates if item.eligible], seed=seed)
    refused = sorted((item for item in candidates if not item.eligible), key=lambda item: (item.name, item.account_id))
    return (*eligible, *refused)


def replay_order(*, candidates: Iterable[Candidate], seed: str) -> tuple[Candidate, ...]:
    """The eligible candidates in order, with rank and reasons, from nothing but their places, weights and the seed."""
    groups: dict[tuple[int, int], list[Candidate]] = {}
    for candidate in candidates:
        if candidate.eligible:
            groups.setdefault((_PLACES[candidate.placed_by], candidate.priority), []).append(candidate)
    ordered: list[Candidate] = []
    for position, place in enumerate(sorted(groups)):
        reason = "weight_lost" if position == 0 else "lower_priority"
        for candidate in _draw(groups[place], f"{seed}|{place[0]}|{place[1]}"):
            reasons = (reason,) if ordered else ()
            ordered.append(replace(candidate, rank=len(ordered) + 1, reasons=reasons))
    return tuple(ordered)


def ruleset_fingerprint(*, accounts: Iterable[AccountFacts], rules: Iterable[RuleFacts]) -> str:
    """SHA-256 in hex over all facts that can influence a decision, whatever their order: the rule set's version."""
    content = [
        [_ACCOUNT_FIELDS, *sorted(str(_account_values(account)) for account in accounts)],
        [_RULE_FIELDS, *sorted(str(_rule_values(rule)) for rule in rules)],
    ]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def may_fail_over(result: ProviderResult) -> bool:
    """Whether another provider account may be tried after this result of an authorization.

    True only when nothing can have happened: the request was never sent, or the provider said explicitly that nothing
    was authorized *and* the refusal is about that provider. An issuer's soft decline goes on only when the advice says
    so, because every further try counts at the card networks. ``docs/decisions/0031`` has the reasons per verdict.
    """
    if result.operation is not Operation.AUTHORIZE or not result.nothing_authorized or result.is_conflicted:
        return False
    if result.transport is Transport.NOT_SENT:
        return True
    if result.verdict is Verdict.SOFT_DECLINE:
        return result.retry_advice is RetryAdvice.OTHER_PROVIDER_NOW
    if result.verdict in (Verdict.PROVIDER_FAULT, Verdict.CONFIG):
        return result.retry_advice in (RetryAdvice.OTHER_PROVIDER_NOW, RetryAdvice.SAME_PROVIDER_LATER)
    return False


def provider_key(workspace_id: UUID, payment_id: UUID, operation: str, number: int) -> str:
    """The idempotency key of one operation at a provider: 32 lower-case base32 characters, the same at every adapter.

    Derived from the identity of the operation alone, so that a crashed process finds the same key again.

    :param number: counts the operations of this kind on this payment from 1; a repeat keeps its number
    """
    message = f"{workspace_id}|{payment_id}|{Operation(operation).value}|{number}"
    return base32_digest(keyed_hash("provider-key", message.encode()), length=PROVIDER_KEY_LENGTH)


def _best_rules(request: RouteRequest, rules: Iterable[RuleFacts]) -> Mapping[UUID, RuleFacts]:
    """For each account the matching rule that places it best; between equals the older rule (UUIDv7) wins."""
    best: dict[UUID, RuleFacts] = {}
    for rule in sorted(rules, key=lambda item: (item.priority, item.rule_id)):
        if _matches(request, rule):
            best.setdefault(rule.account_id, rule)
    return best


def _matches(request: RouteRequest, rule: RuleFacts) -> bool:
    return (
        rule.currency in (None, request.currency)
        and rule.method in (None, request.method)
        and rule.merchant_id in (None, request.merchant_id)
        and (rule.min_amount_minor is None or request.amount_minor >= rule.min_amount_minor)
        and (rule.max_amount_minor is None or request.amount_minor <= rule.max_amount_minor)
    )


def _candidate(request: RouteRequest, account: AccountFacts, rule: RuleFacts | None) -> Candidate:
    reasons = _exclusions(request, account)
    return Candidate(
        account_id=account.account_id,
        name=account.name,
        provider=account.provider,
        eligible=not reasons,
        reasons=reasons,
        rule=rule.name if rule else None,
        placed_by="rule" if rule else "account",
        priority=rule.priority if rule else account.priority,
        weight=rule.weight if rule else account.weight,
    )


def _exclusions(request: RouteRequest, account: AccountFacts) -> tuple[str, ...]:
    """Every reason why the account cannot take the payment, not only the first."""
    held, settles_in = request.credential_account_ids, account.settlement_currency
    checks = {
        "account_disabled": not account.enabled,
        "provider_unknown": not account.provider_known,
        "sandbox_provider": account.sandbox_only and request.environment != "sandbox",
        "currency_not_supported": bool(account.currencies) and request.currency not in account.currencies,
        "settles_in_another_currency": settles_in is not None and settles_in != request.currency,
        "method_not_supported": any(
            offered and request.method not in offered for offered in (account.methods, account.provider_methods)
        ),
        "amount_below_minimum": account.min_amount_minor is not None
        and request.amount_minor < account.min_amount_minor,
        "amount_above_maximum": account.max_amount_minor is not None
        and request.amount_minor > account.max_amount_minor,
        "no_credential_at_account": held is not None and account.account_id not in held,
    }
    return tuple(reason for reason, excluded in checks.items() if excluded)


def _draw(group: Sequence[Candidate], seed: str) -> list[Candidate]:
    """A weighted order without replacement, in integers alone, so that every machine draws the same.

    Accounts of weight 0 follow last, in the order of their ids (their age).
    """
    left = sorted(group, key=lambda item: item.account_id)
    drawn: list[Candidate] = []
    while total := sum(item.weight for item in left):
        digest = hashlib.sha256(f"{seed}|{len(drawn)}".encode()).digest()
        ticket = int.from_bytes(digest, "big") % total
        for item in left:
            if ticket < item.weight:
                break
            ticket -= item.weight
        left.remove(item)
        drawn.append(item)
    return drawn + left
