"""What operators see and change: accounts with write-only secrets, rules with history, decisions to read."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.urls import reverse

from routing import selectors, services
from routing.models import ProviderAccount, RoutingDecision, RoutingRule
from tests.factories.routing import make_account, make_rule, route_request
from tests.factories.tenancy import make_tenant
from zentra.core.clock import SYSTEM_CLOCK
from zentra.core.ids import new_id, public_id
from zentra.evidence.models import EvidenceRecord
from zentra.tenancy.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace():
    return make_tenant().workspace


@pytest.fixture
def operator(client):
    user = User.objects.create_superuser(username="grace", password="tests only")
    client.force_login(user)
    return client


def account_form(workspace, **changes):
    return {
        "workspace": str(workspace.id),
        "provider": "simulator",
        "name": "alpha",
        "base_url": "http://127.0.0.1:9",
        "enabled": "on",
        "currencies": "EUR,USD",
        "methods": "",
        "min_amount_minor": "",
        "max_amount_minor": "5000",
        "settlement_currency": "",
        "priority": "10",
        "weight": "20",
        "deadline_seconds": "",
        "credential": "typed in once",
        "callback_secret": "",
    } | changes


def add(client, model, form):
    return client.post(reverse(f"admin:routing_{model}_add"), form)


def change(client, row, form):
    name = row._meta.model_name
    return client.post(reverse(f"admin:routing_{name}_change", args=[row.pk]), form)


def page(client, row):
    return client.get(reverse(f"admin:routing_{row._meta.model_name}_change", args=[row.pk])).content.decode()


class TestAProviderAccountInTheAdmin:
    def test_is_added_through_its_service_under_the_operator_s_name(self, operator, workspace):
        answer = add(operator, "provideraccount", account_form(workspace))

        account = ProviderAccount.objects.get()
        assert answer.status_code == 302
        assert selectors.endpoint_for(workspace.id, account.id).credential == "typed in once"
        assert (account.currencies, account.methods, account.max_amount_minor) == (["EUR", "USD"], [], 5000)
        [record] = EvidenceRecord.objects.filter(workspace=workspace)
        assert (record.content["action"], record.content["actor"]) == ("provider_account.created", "operator:grace")

    def test_is_changed_with_its_secrets_kept_and_never_shown(self, operator, workspace):
        account = make_account(workspace.id, "alpha")

        answer = change(operator, account, account_form(workspace, name="renamed", credential=""))

        account.refresh_from_db()
        assert (answer.status_code, account.name) == (302, "renamed")
        assert selectors.endpoint_for(workspace.id, account.id).credential == "acq_secret_alpha"
        shown = page(operator, account)
        assert "••••" in shown
        assert "acq_secret" not in shown
        assert f"/api/v1/callbacks/{account.public_id}" in shown

    def test_takes_a_new_credential(self, operator, workspace):
        account = make_account(workspace.id, "alpha")

        change(operator, account, account_form(workspace, credential="rotated"))

        assert selectors.endpoint_for(workspace.id, account.id).credential == "rotated"

    @pytest.mark.parametrize(
        ("changes", "shown"),
        [
            ({"credential": ""}, "needs its credential"),
            ({"currencies": "EUR,ZZZ"}, "is not a known currency"),
            ({"base_url": "ftp://example.com"}, "scheme is not http"),
            ({"deadline_seconds": "61"}, "60 seconds"),
            ({"min_amount_minor": "9000"}, "minimum is above the maximum"),
            ({"credential": "schlüssel"}, "printable ASCII"),
        ],
    )
    def test_is_refused_with_the_reason_and_nothing_is_written(self, operator, workspace, changes, shown):
        answer = add(operator, "provideraccount", account_form(workspace, **changes))

        assert answer.status_code == 200
        assert shown in answer.content.decode()
        assert not ProviderAccount.objects.exists()

    def test_is_refused_under_a_taken_name(self, operator, workspace):
        make_account(workspace.id, "alpha")

        answer = add(operator, "provideraccount", account_form(workspace))

        assert answer.status_code == 200
        assert ProviderAccount.objects.count() == 1

    def test_is_not_renamed_to_a_taken_name(self, operator, workspace):
        make_account(workspace.id, "alpha")
        beta = make_account(workspace.id, "beta")

        answer = change(operator, beta, account_form(workspace, name="alpha"))

        beta.refresh_from_db()
        assert (answer.status_code, beta.name) == (200, "beta")

    def test_never_moves_to_another_workspace(self, operator, workspace):
        account, other = make_account(workspace.id, "alpha"), make_tenant("Other").workspace

        change(operator, account, account_form(other))

        account.refresh_from_db()
        assert account.workspace_id == workspace.id

    def test_is_not_deleted(self, operator, workspace):
        account = make_account(workspace.id)

        answer = operator.post(reverse("admin:routing_provideraccount_delete", args=[account.pk]), {"post": "yes"})

        assert answer.status_code == 403
        assert ProviderAccount.objects.exists()


class TestARoutingRuleInTheAdmin:
    def form(self, account, **changes):
        return {
            "workspace": str(account.workspace_id),
            "name": "euros",
            "account": str(account.id),
            "enabled": "on",
            "currency": "EUR",
            "method": "",
            "merchant": "",
            "min_amount_minor": "",
            "max_amount_minor": "",
            "priority": "1",
            "weight": "100",
        } | changes

    def test_is_added_and_changed_with_its_history(self, operator, workspace):
        account = make_account(workspace.id)

        add(operator, "routingrule", self.form(account))
        rule = RoutingRule.objects.get()
        change(operator, rule, self.form(account, enabled="", currency="USD"))

        rule.refresh_from_db()
        assert (rule.enabled, rule.currency) == (False, "USD")
        history = operator.get(reverse("admin:routing_routingrule_history", args=[rule.pk]))
        assert history.status_code == 200
        assert [row.history_user.username for row in rule.history.all()] == ["grace", "grace"]

    def test_is_refused_for_an_account_of_another_workspace(self, operator, workspace):
        stray = make_account(make_tenant("Other").workspace.id)

        answer = add(operator, "routingrule", self.form(stray, workspace=str(workspace.id)))

        assert answer.status_code == 200
        assert not RoutingRule.objects.exists()

    def test_is_listed_with_its_conditions(self, operator, workspace):
        make_rule(make_account(workspace.id), currency="EUR", min_amount_minor=500)

        listed = operator.get(reverse("admin:routing_routingrule_changelist")).content.decode()

        assert "EUR, 500 to any minor units" in listed


class TestARoutingDecisionInTheAdmin:
    @pytest.fixture
    def decision(self, workspace):
        make_account(workspace.id, "alpha")
        make_account(workspace.id, "<b>beta</b>", currencies=("USD",))
        plan = services.plan_route(request=route_request(workspace_id=workspace.id), seed="pay_1", clock=SYSTEM_CLOCK)
        with transaction.atomic():
            return services.record_decision(payment_id=new_id(), plan=plan)

    def test_shows_every_candidate_and_why_it_was_passed_over(self, operator, decision):
        shown = page(operator, decision)

        assert public_id("pay", decision.payment_id) in shown
        assert "The account does not take this currency." in shown
        assert "<td><b>beta</b></td>" not in shown

    def test_is_listed(self, operator, decision):
        listed = operator.get(reverse("admin:routing_routingdecision_changelist")).content.decode()

        assert decision.public_id in listed

    def test_is_neither_added_nor_changed_nor_deleted(self, operator, decision):
        assert operator.get(reverse("admin:routing_routingdecision_add")).status_code == 403
        assert change(operator, decision, {"seed": "other"}).status_code == 403
        gone = operator.post(reverse("admin:routing_routingdecision_delete", args=[decision.pk]), {"post": "yes"})
        assert gone.status_code == 403
        assert RoutingDecision.objects.get().seed == "pay_1"
