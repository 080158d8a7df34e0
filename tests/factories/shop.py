"""A merchant's backend: a workspace with two acquirers, and a client that speaks to the API as an integrator would."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from django.test import Client

from payments.models import Capture, Payment, Refund
from payments.services import execution, sweeps
from tests.factories.routing import make_account
from tests.factories.tenancy import Tenant, make_tenant
from tests.simulator.process import Simulator
from zentra.core.ids import parse_public_id


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def data(self) -> Any:
        return self.json["data"]

    @property
    def error(self) -> Any:
        return self.json["error"]

    @property
    def code(self) -> str:
        return self.error["code"]


@dataclass
class Shop:
    tenant: Tenant
    client: Client = field(default_factory=Client)

    @property
    def workspace_id(self) -> UUID:
        return self.tenant.workspace.id

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> Reply:
        sent = {**self.tenant.headers, **headers}
        if key is not None:
            sent["Idempotency-Key"] = key
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = self.client.generic(method, f"/api/v1/{path}", data, content_type="application/json", headers=sent)
        return Reply(answer.status_code, dict(answer.items()), answer.content)

    def get(self, path: str) -> Reply:
        return self.call("GET", path)

    def pay(
        self, amount_minor: int = 125_000, token: str = "approved", *, key: str | None = None, **more: Any
    ) -> Reply:
        body = {"amount_minor": amount_minor, "currency": "EUR", "payment_token_id": f"tok_sandbox_{token}", **more}
        return self.call("POST", "payments", body, key=key or uuid4().hex)

    def capture(
        self, payment_id: str, amount_minor: int | None = None, *, key: str | None = None, **more: Any
    ) -> Reply:
        body = {**({} if amount_minor is None else {"amount_minor": amount_minor}), **more}
        return self.call("POST", f"payments/{payment_id}/captures", body, key=key or uuid4().hex)

    def refund(
        self, charge_reference: str, amount_minor: int | None = None, *, key: str | None = None, **more: Any
    ) -> Reply:
        body = {
            "charge_reference": charge_reference,
            **({} if amount_minor is None else {"amount_minor": amount_minor}),
            **more,
        }
        return self.call("POST", "payments/refunds", body, key=key or uuid4().hex)

    def work(self) -> None:
        """What the workers would do now with the captures, refunds and voids that wait."""
        for capture in Capture.objects.filter(workspace_id=self.workspace_id, state="pending"):
            execution.run_capture(workspace_id=self.workspace_id, capture_id=capture.id)
        for refund in Refund.objects.filter(workspace_id=self.workspace_id, state="pending"):
            execution.run_refund(workspace_id=self.workspace_id, refund_id=refund.id)
        for payment in Payment.objects.filter(workspace_id=self.workspace_id, state="voiding"):
            execution.run_void(workspace_id=self.workspace_id, payment_id=payment.id)

    def resolve(self, payment_id: str) -> None:
        """Ask now about every open attempt of a payment."""
        for attempt in Payment.objects.get(id=parse_public_id("pay", payment_id)).attempts.filter(
            state__in=["sent", "unknown"]
        ):
            sweeps.resolve_attempt(workspace_id=self.workspace_id, attempt_id=attempt.id)

    def captured(self, amount_minor: int = 125_000, **more: Any) -> dict[str, Any]:
        """A payment that is authorized and captured."""
        reply = self.pay(amount_minor, **more)
        assert reply.status == 201, reply
        self.work()
        return self.get(f"payments/{reply.data['id']}").data


def open_shop(simulator: Simulator, *, deadline_seconds: float = 1.0, **changes: Any) -> Shop:
    """A shop whose payments go to alpha first, then to beta."""
    tenant = make_tenant(**changes)
    make_account(
        tenant.workspace.id, "alpha", base_url=simulator.alpha.url, priority=10, deadline_seconds=deadline_seconds
    )
    make_account(
        tenant.workspace.id, "beta", base_url=simulator.beta.url, priority=20, deadline_seconds=deadline_seconds
    )
    return Shop(tenant)
