"""What the story needs: a sandbox workspace with a key, two provider accounts, and an operator who can log in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from uuid import UUID

from routing import services as routing
from routing.selectors import accounts_of_organization
from routing.types import AccountSettings
from zentra.core.clock import SYSTEM_CLOCK
from zentra.core.ids import public_id
from zentra.tenancy import services as tenancy
from zentra.tenancy.types import Actor, Environment, KeyKind

_ACTOR = Actor(kind="system", id="svc_demo")
OPERATOR_NAME = "operator"
ORGANIZATION = "Demo organization"
#: The story polls a great deal; the sandbox's own rate would slow it down.
REQUESTS_PER_MINUTE = 6000
#: A short deadline, so that the lost answer of the second step does not hold the story up.
DEADLINE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class AcquirerAddress:
    """Where one acquirer of the simulator listens, and the secrets it shares with us."""

    name: str
    url: str
    secret: str
    callback_secret: str


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A workspace ready for the story. ``api_key`` and ``password`` exist here and nowhere else in clear."""

    workspace_id: UUID
    api_key: str
    accounts: dict[str, str]
    username: str
    password: str


def readdress(acquirers: list[AcquirerAddress]) -> None:
    """Point the accounts of earlier tellings to where the same acquirers listen now, so that they can be asked."""
    for account in accounts_of_organization(ORGANIZATION):
        address = next((item for item in acquirers if item.name == account.name), None)
        if address is not None and account.base_url != address.url:
            routing.update_provider_account(
                workspace_id=account.workspace_id,
                account_id=account.id,
                settings=_settings(address, account.priority),
                actor=_ACTOR,
                clock=SYSTEM_CLOCK,
            )


def _settings(acquirer: AcquirerAddress, priority: int) -> AccountSettings:
    return AccountSettings(
        name=acquirer.name, base_url=acquirer.url, priority=priority, deadline_seconds=DEADLINE_SECONDS
    )


def provision(acquirers: list[AcquirerAddress]) -> Provisioned:
    """A fresh workspace for one telling of the story."""
    organization = tenancy.create_organization(name=ORGANIZATION)
    workspace = tenancy.create_workspace(
        organization=organization, name="Demo shop", environment=Environment.SANDBOX, time_zone="UTC"
    )
    tenancy.set_request_rate(workspace=workspace, requests_per_minute=REQUESTS_PER_MINUTE)
    key = tenancy.create_api_key(workspace=workspace, name="demo", kind=KeyKind.SECRET, actor=_ACTOR)
    accounts = {}
    for priority, acquirer in enumerate(acquirers, start=1):
        account = routing.create_provider_account(
            workspace_id=workspace.id,
            provider="simulator",
            settings=_settings(acquirer, priority * 10),
            credential=acquirer.secret,
            callback_secret=acquirer.callback_secret,
            actor=_ACTOR,
            clock=SYSTEM_CLOCK,
        )
        accounts[acquirer.name] = public_id("pac", account.id)
    password = secrets.token_urlsafe(9)
    tenancy.ensure_operator(username=OPERATOR_NAME, password=password)
    return Provisioned(workspace.id, key.text.text, accounts, OPERATOR_NAME, password)
