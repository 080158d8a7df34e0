from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from zentra.tenancy import services
from zentra.tenancy.models import Merchant, Organization, Workspace
from zentra.tenancy.types import Actor, Environment, KeyKind

OPERATOR = Actor(kind="operator", id="ada")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A workspace with its default merchant and a secret key that may do everything."""

    workspace: Workspace
    merchant: Merchant
    secret_key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret_key}"}


def make_tenant(name: str = "Acme", *, requests_per_minute: int = 60_000) -> Tenant:
    organization = Organization.objects.create(name=f"{name} {uuid4().hex[:6]}")
    workspace = services.create_workspace(organization=organization, name=name, environment=Environment.SANDBOX)
    Workspace.objects.filter(id=workspace.id).update(requests_per_minute=requests_per_minute)
    new = services.create_api_key(workspace=workspace, name="tests", kind=KeyKind.SECRET, actor=OPERATOR)
    return Tenant(workspace, Merchant.objects.get(workspace=workspace), new.text.text)
