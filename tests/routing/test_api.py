"""The routes of routing, through the whole HTTP stack."""

from __future__ import annotations

import json

import pytest
from django.db import transaction

from routing import services
from routing.models import RoutingDecision
from routing.rules import REASONS
from tests.factories.routing import make_account, make_rule, route_request
from tests.factories.tenancy import OPERATOR, make_tenant
from zentra.core.clock import SYSTEM_CLOCK
from zentra.core.ids import new_id, public_id
from zentra.tenancy.services import create_api_key
from zentra.tenancy.types import KeyKind, Scope

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant():
    return make_tenant()


def get(client, tenant, decision_id):
    return client.get(f"/api/v1/routing/decisions/{decision_id}", headers=tenant.headers)


def simulate(client, tenant, **changes):
    body = {"amount_minor": 1250, "currency": "EUR"} | changes
    return client.post(
        "/api/v1/routing/simulations", json.dumps(body), content_type="application/json", headers=tenant.headers
    )


def decide(workspace):
    plan = services.plan_route(request=route_request(workspace_id=workspace.id), seed="pay_1", clock=SYSTEM_CLOCK)
    with transaction.atomic():
        return services.record_decision(payment_id=new_id(), plan=plan)


class TestReadingADecision:
    def test_shows_every_candidate_with_its_reasons(self, client, tenant):
        alpha = make_account(tenant.workspace.id, "alpha")
        beta = make_account(tenant.workspace.id, "beta", currencies=("USD",))
        decision = decide(tenant.workspace)

        answer = get(client, tenant, decision.public_id)

        data = answer.json()["data"]
        assert answer.status_code == 200
        assert (data["id"], data["payment_id"]) == (decision.public_id, public_id("pay", decision.payment_id))
        assert data["chosen_account_id"] == alpha.public_id
        assert [(item["account_id"], item["rank"], item["reasons"]) for item in data["candidates"]] == [
            (alpha.public_id, 1, []),
            (beta.public_id, None, ["currency_not_supported"]),
        ]
        assert data["request"]["amount_minor"] == 1250
        assert data["ruleset_fingerprint"] == decision.ruleset_fingerprint

    def test_of_another_workspace_is_not_found(self, client, tenant):
        decision = decide(tenant.workspace)

        answer = get(client, make_tenant("Other"), decision.public_id)

        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")

    @pytest.mark.parametrize(
        "text", ["rte_", "rte_01h2xcejqtf2nbrexx3vqjhp41", "pay_01h2xcejqtf2nbrexx3vqjhp41", "x" * 300]
    )
    def test_that_does_not_exist_is_not_found(self, client, tenant, text):
        assert get(client, tenant, text).status_code == 404

    def test_needs_its_scope(self, client, tenant):
        decision = decide(tenant.workspace)
        key = create_api_key(
            workspace=tenant.workspace,
            name="ledger only",
            kind=KeyKind.SECRET,
            actor=OPERATOR,
            scopes=[Scope.LEDGER_READ],
        )

        answer = client.get(
            f"/api/v1/routing/decisions/{decision.public_id}",
            headers={"Authorization": f"Bearer {key.text.text}"},
        )

        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_permissions")

    def test_needs_a_key(self, client, tenant):
        assert client.get(f"/api/v1/routing/decisions/{decide(tenant.workspace).public_id}").status_code == 401


class TestSimulatingARoute:
    def test_shows_what_a_payment_would_do_and_writes_nothing(self, client, tenant):
        alpha = make_account(tenant.workspace.id, "alpha", priority=1, max_amount_minor=1249)
        beta = make_account(tenant.workspace.id, "beta", priority=2)
        gamma = make_account(tenant.workspace.id, "gamma", priority=1)
        make_rule(beta, "our merchant", merchant_id=tenant.merchant.id)

        answer = simulate(client, tenant)

        data = answer.json()["data"]
        assert answer.status_code == 200
        assert data["chosen_account_id"] == beta.public_id
        assert [(item["account_id"], item["rule"], item["reasons"]) for item in data["candidates"]] == [
            (beta.public_id, "our merchant", []),
            (gamma.public_id, None, ["lower_priority"]),
            (alpha.public_id, None, ["amount_above_maximum"]),
        ]
        assert data["request"]["merchant_id"] == tenant.merchant.public_id
        assert not RoutingDecision.objects.exists()

    def test_agrees_with_the_decision_of_a_payment_under_the_same_seed(self, client, tenant):
        for name in "abcdef":
            make_account(tenant.workspace.id, name)
        decision = decide(tenant.workspace)

        data = simulate(client, tenant, seed="pay_1").json()["data"]

        stored = get(client, tenant, decision.public_id).json()["data"]
        assert data["candidates"] == stored["candidates"]
        assert data["ruleset_fingerprint"] == stored["ruleset_fingerprint"]

    def test_without_any_account_chooses_nobody(self, client, tenant):
        data = simulate(client, tenant).json()["data"]

        assert (data["chosen_account_id"], data["candidates"]) == (None, [])

    def test_names_only_reasons_that_are_explained(self, client, tenant):
        make_account(tenant.workspace.id, "alpha", enabled=False)

        [candidate] = simulate(client, tenant).json()["data"]["candidates"]

        assert set(candidate["reasons"]) <= set(REASONS)

    @pytest.mark.parametrize(
        ("changes", "code", "field"),
        [
            ({"amount_minor": 0}, "amount_invalid", "amount_minor"),
            ({"amount_minor": 12.5}, "amount_invalid", "amount_minor"),
            ({"amount_minor": 2**53}, "amount_invalid", "amount_minor"),
            ({"currency": "XYZ"}, "currency_unknown", "currency"),
            ({"method": 7}, "invalid_format", "method"),
            ({"merchant_id": "mer_x"}, "invalid_format", "merchant_id"),
            ({"merchant_id": "mer_01h2xcejqtf2nbrexx3vqjhp41"}, "merchant_unknown", "merchant_id"),
            ({"capture_method": "later"}, "validation_error", "capture_method"),
            ({"seed": "s" * 65}, "validation_error", "seed"),
            ({"surprise": 1}, "validation_error", "surprise"),
        ],
    )
    def test_refuses_what_no_payment_could_have(self, client, tenant, changes, code, field):
        answer = simulate(client, tenant, **changes)

        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["field"]) == (422, code, field)

    def test_refuses_the_merchant_of_another_workspace(self, client, tenant):
        answer = simulate(client, tenant, merchant_id=make_tenant("Other").merchant.public_id)

        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "merchant_unknown")

    def test_shows_no_secret(self, client, tenant):
        make_account(tenant.workspace.id, "alpha")

        answer = simulate(client, tenant).content.decode()

        assert "alpha" in answer
        assert "acq_secret" not in answer
        assert "cbk_secret" not in answer
