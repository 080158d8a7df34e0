from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from routing.models import ProviderAccount, RoutingDecision
from routing.providers.base import Capabilities
from routing.providers.registry import UnknownProvider, adapter_for
from routing.rules import replay_order
from routing.types import AccountFacts, Candidate, ProviderEndpoint, RuleFacts
from zentra.core.crypto import unseal
from zentra.core.db import fetch_all
from zentra.core.errors import NotFound
from zentra.core.ids import parse_or_not_found, public_id

MAX_ACCOUNTS = 100
MAX_RULES = 1000
MAX_DECISIONS = 100

# Everything that a route is decided from, in one round trip: a route is planned inside every payment. Rows beyond the
# bounds are the least preferred ones.
_ROUTING_FACTS = """
SELECT
    (SELECT coalesce(json_agg(a), '[]') FROM (
        SELECT id, name, provider, enabled, currencies, methods, min_amount_minor, max_amount_minor,
               settlement_currency, priority, weight
        FROM routing_provideraccount
        WHERE workspace_id = %(workspace_id)s
        ORDER BY enabled DESC, priority, id
        LIMIT %(max_accounts)s
    ) a) AS accounts,
    (SELECT coalesce(json_agg(r), '[]') FROM (
        SELECT id, name, account_id, currency, method, merchant_id, min_amount_minor, max_amount_minor,
               priority, weight
        FROM routing_routingrule
        WHERE workspace_id = %(workspace_id)s AND enabled
        ORDER BY priority, id
        LIMIT %(max_rules)s
    ) r) AS rules
"""


@dataclass(frozen=True, slots=True)
class RoutingFacts:
    """The accounts and enabled rules of a workspace, as the rules read them."""

    accounts: tuple[AccountFacts, ...]
    rules: tuple[RuleFacts, ...]


def routing_facts(workspace_id: UUID) -> RoutingFacts:
    """At most MAX_ACCOUNTS accounts and MAX_RULES enabled rules, in one statement."""
    [row] = fetch_all(
        _ROUTING_FACTS,
        {"workspace_id": workspace_id, "max_accounts": MAX_ACCOUNTS, "max_rules": MAX_RULES},
    )
    return RoutingFacts(
        accounts=tuple(_account_facts(account) for account in row["accounts"]),
        rules=tuple(_rule_facts(rule) for rule in row["rules"]),
    )


def accounts_for(workspace_id: UUID) -> QuerySet[ProviderAccount]:
    """The provider accounts of a workspace, in the order of their own priority."""
    return ProviderAccount.objects.filter(workspace_id=workspace_id).order_by("priority", "id")


def accounts_in(reach: Sequence[UUID] | None) -> QuerySet[ProviderAccount]:
    """The provider accounts of these workspaces, or of all, with their workspace; for the operator console."""
    rows = ProviderAccount.objects.select_related("workspace").order_by("workspace__name", "name")
    return rows if reach is None else rows.filter(workspace_id__in=reach)


def accounts_of_organization(name: str) -> QuerySet[ProviderAccount]:
    """The provider accounts of every workspace of an organization, by its name; for set-up work, not for requests."""
    return ProviderAccount.objects.filter(workspace__organization__name=name).order_by("id")


def account_by_id(workspace_id: UUID, account_id: UUID) -> ProviderAccount:
    """:raises NotFound: this workspace has no such account"""
    found = ProviderAccount.objects.filter(workspace_id=workspace_id, id=account_id).first()
    if found is None:
        raise NotFound
    return found


def account_by_callback_id(callback_id: str) -> ProviderAccount:
    """The account that a callback address names ('pac_…'): the one read that has no workspace to start from.

    :raises NotFound: the text is no such id, or there is no such account
    """
    found = ProviderAccount.objects.filter(id=parse_or_not_found("pac", callback_id)).first()
    if found is None:
        raise NotFound
    return found


def endpoint_for(workspace_id: UUID, account_id: UUID) -> ProviderEndpoint:
    """Where and as whom an account is called, with its credential opened. One statement.

    A disabled account is still called: what it has authorized must be captured, voided, refunded and resolved.

    :raises NotFound: this workspace has no such account
    """
    account = account_by_id(workspace_id, account_id)
    deadline = account.deadline_seconds or adapter_for(account.provider).capabilities.deadline_seconds
    return ProviderEndpoint(
        account_id=account.id,
        workspace_id=account.workspace_id,
        name=account.name,
        provider=account.provider,
        base_url=account.base_url,
        credential=unseal(bytes(account.credential_sealed), context=secret_context(account, "credential")).decode(),
        deadline_seconds=deadline,
    )


def capabilities_of(account: ProviderAccount) -> Capabilities:
    """What the adapter of an account declares. :raises UnknownProvider: it is not installed any more"""
    return adapter_for(account.provider).capabilities


def callback_secret_of(account: ProviderAccount) -> str:
    """The secret that the provider signs its callbacks with; '' when none is set, which no signature matches."""
    if account.callback_secret_sealed is None:
        return ""
    return unseal(bytes(account.callback_secret_sealed), context=secret_context(account, "callback_secret")).decode()


def secret_context(account: ProviderAccount, column: str) -> str:
    """What a sealed secret is bound to, so that it opens in its own row and column alone."""
    return f"routing_provideraccount|{column}|{account.workspace_id}|{account.id}"


def decision_by_id(workspace_id: UUID, decision_id: UUID) -> RoutingDecision:
    """:raises NotFound: this workspace has no such decision"""
    found = RoutingDecision.objects.filter(workspace_id=workspace_id, id=decision_id).first()
    if found is None:
        raise NotFound
    return found


def decisions_of_payment(workspace_id: UUID, payment_id: UUID) -> list[RoutingDecision]:
    """The decisions about one payment, oldest first, at most MAX_DECISIONS."""
    rows = RoutingDecision.objects.filter(workspace_id=workspace_id, payment_id=payment_id).order_by("id")
    return list(rows[:MAX_DECISIONS])


def candidates_of(decision: RoutingDecision) -> tuple[Candidate, ...]:
    """The candidates as they were decided, eligible ones first in the order of trying."""
    return tuple(Candidate.from_json(candidate) for candidate in decision.candidates)


def replayed_order(decision: RoutingDecision) -> tuple[UUID, ...]:
    """The accounts in the order that the stored facts and the seed give today: equal to the stored order, always."""
    return tuple(item.account_id for item in replay_order(candidates=candidates_of(decision), seed=decision.seed))


def shown_candidates(candidates: Iterable[Candidate]) -> list[dict[str, Any]]:
    """Candidates with public ids, for answers and the trace."""
    return [{**candidate.as_json(), "account_id": public_id("pac", candidate.account_id)} for candidate in candidates]


def _account_facts(row: dict[str, Any]) -> AccountFacts:
    try:
        capabilities: Capabilities | None = adapter_for(row["provider"]).capabilities
    except UnknownProvider:
        capabilities = None
    return AccountFacts(
        account_id=UUID(row["id"]),
        name=row["name"],
        provider=row["provider"],
        enabled=row["enabled"],
        currencies=tuple(row["currencies"]),
        methods=tuple(row["methods"]),
        min_amount_minor=row["min_amount_minor"],
        max_amount_minor=row["max_amount_minor"],
        settlement_currency=row["settlement_currency"] or None,
        priority=row["priority"],
        weight=row["weight"],
        provider_methods=capabilities.methods if capabilities else (),
        provider_known=capabilities is not None,
        sandbox_only=capabilities.sandbox_only if capabilities else False,
    )


def _rule_facts(row: dict[str, Any]) -> RuleFacts:
    return RuleFacts(
        rule_id=UUID(row["id"]),
        name=row["name"],
        account_id=UUID(row["account_id"]),
        currency=row["currency"] or None,
        method=row["method"] or None,
        merchant_id=UUID(row["merchant_id"]) if row["merchant_id"] else None,
        min_amount_minor=row["min_amount_minor"],
        max_amount_minor=row["max_amount_minor"],
        priority=row["priority"],
        weight=row["weight"],
    )
