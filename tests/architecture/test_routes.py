"""Every route: nobody without a key, and nothing of another workspace by any id."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from ledger.models import Account, Journal
from routing.models import ProviderAccount, RoutingDecision
from settlement.models import DriftCase, SettlementBatch, SettlementFile
from tests.factories.shop import Reply, Shop, open_shop
from tests.factories.tenancy import OPERATOR, Tenant
from tests.routes import Route, api_routes
from tests.rows import everything_stored
from tests.settlement.desk import Desk
from tests.settlement.files import file_of, unknown_line
from tests.simulator.process import Simulator
from zentra.core.ids import new_id, public_id
from zentra.tenancy.services import create_api_key
from zentra.tenancy.types import KeyKind

#: Routes that a provider calls: its signature, not a key, says who it is.
SIGNED = {"POST callbacks/<str:provider_account>"}


class Owner:
    """A workspace with one of everything that a route can name."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.made: dict[str, str] = {}

    def one(self, kind: str) -> str:
        """The public id of the workspace's one resource of a kind, made when first asked for."""
        if kind not in self.made:
            self.made[kind] = getattr(self, f"_{kind}")()
        return self.made[kind]

    def _payment(self) -> str:
        return str(self.shop.captured(1000, reference="ORD_1", customer_id="cus_1")["id"])

    def _authorized(self) -> str:
        return str(self.shop.pay(1000, capture_method="manual").data["id"])

    def _reference(self) -> str:
        self.one("payment")
        return "ORD_1"

    def _refund(self) -> str:
        return str(self.shop.refund(self.one("payment"), 100, reference="REF_1").data["id"])

    def _decision(self) -> str:
        self.one("payment")
        return public_id("rte", RoutingDecision.objects.filter(workspace_id=self.shop.workspace_id)[0].id)

    def _account(self) -> str:
        self.one("payment")
        return public_id("acc", Account.objects.filter(workspace_id=self.shop.workspace_id)[0].id)

    def _journal(self) -> str:
        self.one("payment")
        return public_id("jrn", Journal.objects.filter(workspace_id=self.shop.workspace_id)[0].id)

    def _endpoint(self) -> str:
        return str(self.shop.call("POST", "webhooks/endpoints", {"url": "http://127.0.0.1:9/hook"}).data["id"])

    def _delivery(self) -> str:
        return str(self.shop.call("POST", f"webhooks/endpoints/{self.one('endpoint')}/test").data["id"])

    def _file(self) -> str:
        return public_id("fil", self._imported().id)

    def _batch(self) -> str:
        self.one("file")
        return public_id("btc", SettlementBatch.objects.get(workspace_id=self.shop.workspace_id).id)

    def _case(self) -> str:
        self.one("batch")
        return public_id("cas", DriftCase.objects.filter(workspace_id=self.shop.workspace_id)[0].id)

    def _run(self) -> str:
        return str(self.shop.call("POST", "reconciliation/runs", {}, key=uuid4().hex).data["id"])

    def _imported(self) -> SettlementFile:
        """A file with one line that belongs to nothing, reconciled: it leaves a case behind."""
        desk = Desk(self.shop.tenant, ProviderAccount.objects.get(workspace_id=self.shop.workspace_id, name="alpha"))
        imported = desk.ingest(file_of(unknown_line(500)))
        desk.reconcile()
        return imported


Body = Callable[[Owner], Any]


def nothing(_: Owner) -> None:
    return None


#: For every route with a parameter: what to make for each parameter, and a body that would be accepted.
MAKERS: dict[str, tuple[dict[str, str], Body]] = {
    "GET payments/<str:payment_id>": ({"payment_id": "payment"}, nothing),
    "GET payments/<str:payment_id>/captures": ({"payment_id": "payment"}, nothing),
    "POST payments/<str:payment_id>/captures": ({"payment_id": "authorized"}, lambda _: {"amount_minor": 10}),
    "POST payments/<str:payment_id>/void": ({"payment_id": "authorized"}, nothing),
    "GET payments/<str:payment_id>/trace": ({"payment_id": "payment"}, nothing),
    "GET payments/charges/<path:reference>": ({"reference": "reference"}, nothing),
    "GET payments/refunds/<path:reference>": ({"reference": "refund"}, nothing),
    "GET routing/decisions/<str:decision_id>": ({"decision_id": "decision"}, nothing),
    "GET ledger/accounts/<str:account_id>/entries": ({"account_id": "account"}, nothing),
    "GET ledger/journals/<str:journal_id>": ({"journal_id": "journal"}, nothing),
    "GET webhooks/endpoints/<str:endpoint_id>": ({"endpoint_id": "endpoint"}, nothing),
    "PATCH webhooks/endpoints/<str:endpoint_id>": ({"endpoint_id": "endpoint"}, lambda _: {"description": "mine now"}),
    "DELETE webhooks/endpoints/<str:endpoint_id>": ({"endpoint_id": "endpoint"}, nothing),
    "POST webhooks/endpoints/<str:endpoint_id>/rotate-secret": ({"endpoint_id": "endpoint"}, nothing),
    "POST webhooks/endpoints/<str:endpoint_id>/test": ({"endpoint_id": "endpoint"}, nothing),
    "GET webhooks/deliveries/<str:delivery_id>": ({"delivery_id": "delivery"}, nothing),
    "POST webhooks/deliveries/<str:delivery_id>/replay": ({"delivery_id": "delivery"}, nothing),
    "GET settlement/files/<str:file_id>": ({"file_id": "file"}, nothing),
    "GET settlement/batches/<str:batch_id>": ({"batch_id": "batch"}, nothing),
    "GET reconciliation/runs/<str:run_id>": ({"run_id": "run"}, nothing),
    "GET reconciliation/exceptions/<str:case_id>": ({"case_id": "case"}, nothing),
}
#: Ids that stand in a body instead of a path.
IN_BODIES: dict[str, tuple[Body, int]] = {
    "POST payments/refunds": (lambda owner: {"charge_reference": owner.one("payment"), "amount_minor": 10}, 404),
    "POST payments": (
        lambda owner: {"amount_minor": 10, "currency": "EUR", "merchant_id": owner.shop.tenant.merchant.public_id},
        422,
    ),
    "POST routing/simulations": (
        lambda owner: {"amount_minor": 10, "currency": "EUR", "merchant_id": owner.shop.tenant.merchant.public_id},
        422,
    ),
}


@pytest.fixture
def owner(db: None, simulator: Simulator) -> Owner:
    return Owner(open_shop(simulator, name="Owner"))


@pytest.fixture
def stranger(db: None, simulator: Simulator) -> Shop:
    return open_shop(simulator, name="Stranger")


def with_parameters() -> list[Route]:
    return [route for route in api_routes() if route.parameters and str(route) not in SIGNED]


class TestTheTableOfMakers:
    def test_covers_every_route_with_a_parameter(self):
        """A new route belongs into MAKERS above, or nobody would know whether it keeps workspaces apart."""
        assert {str(route) for route in with_parameters()} == set(MAKERS)

    def test_names_only_routes_that_exist(self):
        assert set(IN_BODIES) | SIGNED <= {str(route) for route in api_routes()}


def ids_of(route: Route, owner: Owner) -> dict[str, str]:
    return {name: owner.one(kind) for name, kind in MAKERS[str(route)][0].items()}


def call(shop: Shop, route: Route, owner: Owner) -> Reply:
    return call_with(shop, route, owner, ids_of(route, owner))


def call_with(shop: Shop, route: Route, owner: Owner, ids: dict[str, str]) -> Reply:
    return shop.call(route.method, route.path(**ids), MAKERS[str(route)][1](owner), key=uuid4().hex)


class TestAResourceOfAnotherWorkspace:
    @pytest.mark.parametrize("route", [route for route in api_routes() if str(route) in MAKERS], ids=str)
    def test_is_not_found_and_not_touched(self, owner: Owner, stranger: Shop, route: Route):
        for kind in MAKERS[str(route)][0].values():
            owner.one(kind)
        before = everything_stored()

        refused = call(stranger, route, owner)
        absent = call_with(stranger, route, owner, {name: _never(text) for name, text in ids_of(route, owner).items()})

        assert refused.status == 404, refused.content
        # Another code or message would tell that the id exists somewhere.
        assert _without_ids(refused.error) == _without_ids(absent.error)
        assert refused.error["status"] == 404
        assert everything_stored() == before
        # The owner reaches it: the id was right, and only the workspace stood in the way.
        assert call(owner.shop, route, owner).status in (200, 201, 202, 204, 409)

    @pytest.mark.parametrize("name", IN_BODIES)
    def test_is_unknown_in_a_body_too(self, owner: Owner, stranger: Shop, name: str):
        make, status = IN_BODIES[name]
        method, _, path = name.partition(" ")
        body = make(owner)
        before = everything_stored()

        reply = stranger.call(method, path, body, key=uuid4().hex)

        assert reply.status == status, reply.content
        stored = everything_stored()
        # A refusal by a rule is kept under its key, so that a repeat is refused alike.
        assert {table for table in stored if stored[table] != before[table]} <= {"idempotency_idempotencykey"}
        assert owner.shop.call(method, path, body, key=uuid4().hex).status in (200, 201)

    def test_receives_no_settlement_file(self, owner: Owner, stranger: Shop):
        owner.one("payment")
        account = public_id("pac", ProviderAccount.objects.filter(workspace_id=owner.shop.workspace_id)[0].id)
        before = everything_stored()

        reply = stranger.call(
            "POST",
            f"settlement/files?provider_account={account}&name=a.csv",
            file_of(unknown_line(500)),
            **{"Content-Type": "text/csv"},
        )

        assert reply.status in (404, 422), reply.content
        assert everything_stored() == before

    def test_is_in_no_list(self, owner: Owner, stranger: Shop):
        for kind in ("payment", "refund", "endpoint", "delivery", "journal", "case", "run"):
            owner.one(kind)
        lists = [route for route in api_routes() if route.method == "GET" and not route.parameters]

        assert len(lists) >= 10
        for route in lists:
            text = stranger.get(route.pattern).content.decode()
            assert not [shown for shown in owner.made.values() if shown in text], route

    def test_is_found_by_no_filter(self, owner: Owner, stranger: Shop):
        endpoint = owner.one("endpoint")
        owner.one("delivery")

        assert stranger.get(f"webhooks/deliveries?endpoint_id={endpoint}").data == []
        assert len(owner.shop.get(f"webhooks/deliveries?endpoint_id={endpoint}").data) == 1


def _without_ids(error: dict[str, Any]) -> str:
    """An error without the ids in it: the caller may be shown again what it asked for."""
    return re.sub(r"[a-z]+_[0-9a-hjkmnp-tv-z]{26}|ORD_1(_never)?", "…", str(error))


def _never(text: str) -> str:
    prefix, _, tail = text.rpartition("_")
    return public_id(prefix, new_id()) if len(tail) == 26 else f"{text}_never"


class TestARouteWithoutAKey:
    def test_is_closed(self, client: Any, db: None):
        closed = [route for route in api_routes() if str(route) not in SIGNED]

        assert len(closed) > 30
        for route in closed:
            reply = client.generic(route.method, f"/api/v1/{route.path()}", b"{}", content_type="application/json")
            assert reply.status_code == 401, route
            assert reply.json()["error"]["code"] == "unauthorized", route
            assert reply["WWW-Authenticate"].startswith("Bearer"), route

    def test_that_a_provider_calls_is_closed_to_whoever_cannot_sign(self, client: Any, owner: Owner):
        owner.one("payment")
        account = public_id("pac", ProviderAccount.objects.filter(workspace_id=owner.shop.workspace_id)[0].id)
        before = everything_stored()

        for path, status in ((account, 401), (public_id("pac", new_id()), 404), ("nonsense", 404)):
            reply = client.post(f"/api/v1/callbacks/{path}", b"{}", content_type="application/json")
            assert reply.status_code == status, reply.content
        assert everything_stored() == before


class TestAKeyWithoutScopes:
    def test_opens_nothing(self, owner: Owner):
        shop = Shop(_bare_key(owner.shop))
        before = everything_stored()

        for route in api_routes():
            if str(route) not in SIGNED:
                reply = shop.call(route.method, route.path(), {}, key=uuid4().hex)
                assert (reply.status, reply.code) == (403, "insufficient_permissions"), route
                assert reply.error["details"]["required_scope"], route
        assert everything_stored() == before


def _bare_key(shop: Shop) -> Tenant:
    new = create_api_key(workspace=shop.tenant.workspace, name="bare", kind=KeyKind.SECRET, actor=OPERATOR, scopes=[])
    return replace(shop.tenant, secret_key=new.text.text)
