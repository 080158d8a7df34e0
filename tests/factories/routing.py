from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from routing import services
from routing.models import ProviderAccount, RoutingRule
from routing.types import (
    AccountFacts,
    AccountSettings,
    Operation,
    ProviderEndpoint,
    ProviderRequest,
    ProviderResult,
    RetryAdvice,
    RouteRequest,
    RuleFacts,
    RuleSettings,
    Transport,
    Verdict,
)
from tests.factories.tenancy import OPERATOR
from zentra.core.clock import SYSTEM_CLOCK
from zentra.core.ids import new_id


def route_request(**changes: Any) -> RouteRequest:
    """12.50 EUR by card in a sandbox workspace, unless told otherwise."""
    plain = RouteRequest(workspace_id=uuid4(), environment="sandbox", amount_minor=1250, currency="EUR", method="card")
    return replace(plain, **changes)


def account_facts(name: str = "alpha", **changes: Any) -> AccountFacts:
    return replace(AccountFacts(account_id=new_id(), name=name, provider="simulator"), **changes)


def rule_facts(account: AccountFacts, **changes: Any) -> RuleFacts:
    return replace(RuleFacts(rule_id=new_id(), name=f"{account.name} first", account_id=account.account_id), **changes)


def provider_request(operation: Operation = Operation.AUTHORIZE, **changes: Any) -> ProviderRequest:
    plain = ProviderRequest(
        operation=operation,
        provider_key=uuid4().hex,
        reference=uuid4().hex,
        amount_minor=12_500,
        currency="EUR",
        payment_token="tok_sandbox_approved",
    )
    return replace(plain, **changes)


def provider_result(
    transport: Transport = Transport.ANSWERED,
    verdict: Verdict = Verdict.SOFT_DECLINE,
    *,
    nothing_authorized: bool = True,
    retry_advice: RetryAdvice = RetryAdvice.OTHER_PROVIDER_NOW,
    operation: Operation = Operation.AUTHORIZE,
    **changes: Any,
) -> ProviderResult:
    return ProviderResult(
        operation=operation,
        transport=transport,
        verdict=verdict,
        nothing_authorized=nothing_authorized,
        retry_advice=retry_advice,
        **changes,
    )


def endpoint(url: str, name: str = "alpha", **changes: Any) -> ProviderEndpoint:
    """The simulator at an address, as an account that no other test uses."""
    plain = ProviderEndpoint(
        account_id=uuid4(),
        workspace_id=uuid4(),
        name=name,
        provider="simulator",
        base_url=url,
        credential=f"acq_secret_{name}",
        deadline_seconds=5.0,
    )
    return replace(plain, **changes)


def make_account(
    workspace_id: UUID, name: str = "alpha", *, base_url: str = "http://127.0.0.1:9", **changes: Any
) -> ProviderAccount:
    """An account of the simulator under the secrets that the simulator has by default."""
    return services.create_provider_account(
        workspace_id=workspace_id,
        provider="simulator",
        settings=AccountSettings(name=name, base_url=base_url, **changes),
        credential=f"acq_secret_{name}",
        callback_secret=f"cbk_secret_{name}",
        actor=OPERATOR,
        clock=SYSTEM_CLOCK,
    )


def make_rule(account: ProviderAccount, name: str = "a rule", **changes: Any) -> RoutingRule:
    return services.create_routing_rule(
        workspace_id=account.workspace_id,
        settings=RuleSettings(name=name, account_id=account.id, **changes),
        actor=OPERATOR,
        clock=SYSTEM_CLOCK,
    )
