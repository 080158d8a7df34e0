"""Planning, recording and keeping accounts and rules, on the real database."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from routing import selectors, services
from routing.models import ProviderAccount, RoutingDecision, RoutingRule
from routing.types import AccountSettings, RuleSettings
from tests.factories.routing import make_account, make_rule, route_request
from tests.factories.tenancy import OPERATOR, make_tenant
from zentra.core.clock import SYSTEM_CLOCK
from zentra.core.crypto import CannotDecrypt
from zentra.core.db import NotInTransaction
from zentra.core.errors import NotFound
from zentra.core.ids import new_id
from zentra.core.money import UnknownCurrency
from zentra.evidence.models import EvidenceRecord
from zentra.tenancy.models import Merchant, Workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace():
    return make_tenant().workspace


def plan(workspace, seed="pay", **changes):
    request = route_request(workspace_id=workspace.id, **changes)
    return services.plan_route(request=request, seed=seed, clock=SYSTEM_CLOCK)


def record(made):
    with transaction.atomic():
        return services.record_decision(payment_id=new_id(), plan=made)


def update(account, settings, **secrets):
    return services.update_provider_account(
        workspace_id=account.workspace_id,
        account_id=account.id,
        settings=settings,
        actor=OPERATOR,
        clock=SYSTEM_CLOCK,
        **secrets,
    )


class TestPlanningARoute:
    def test_follows_the_accounts_and_rules_of_the_database(self, workspace):
        merchant = Merchant.objects.get(workspace=workspace)
        alpha = make_account(workspace.id, "alpha", priority=1, currencies=("EUR", "USD"))
        beta = make_account(workspace.id, "beta", priority=2, methods=("card",), min_amount_minor=100)
        off = make_account(workspace.id, "gamma", enabled=False, settlement_currency="USD")
        make_rule(beta, "big euros", currency="EUR", method="card", merchant_id=merchant.id, min_amount_minor=1000)
        make_rule(alpha, "switched off", enabled=False, priority=0)

        made = plan(workspace, merchant_id=merchant.id)

        assert [(item.account_id, item.rule, item.reasons) for item in made.candidates] == [
            (beta.id, "big euros", ()),
            (alpha.id, None, ("lower_priority",)),
            (off.id, None, ("account_disabled", "settles_in_another_currency")),
        ]
        assert made.chosen.account_id == beta.id

    def test_reads_the_same_facts_as_the_plain_model(self, workspace):
        account = make_account(
            workspace.id,
            "alpha",
            currencies=("EUR",),
            methods=("card",),
            min_amount_minor=5,
            max_amount_minor=2**53 - 1,
            settlement_currency="EUR",
            priority=7,
            weight=9,
        )
        rule = make_rule(account, currency="EUR", min_amount_minor=1, max_amount_minor=2**53 - 1, weight=3)

        facts = selectors.routing_facts(workspace.id)

        [read] = facts.accounts
        for name in ("name", "provider", "enabled", "min_amount_minor", "max_amount_minor", "priority", "weight"):
            assert getattr(read, name) == getattr(account, name)
        assert (read.account_id, read.currencies, read.methods) == (account.id, ("EUR",), ("card",))
        assert (read.settlement_currency, read.provider_known, read.sandbox_only) == ("EUR", True, True)
        [read_rule] = facts.rules
        assert (read_rule.rule_id, read_rule.account_id, read_rule.currency, read_rule.method) == (
            rule.id,
            account.id,
            "EUR",
            None,
        )

    def test_takes_one_statement_however_many_accounts_and_rules_there_are(self, workspace):
        for number in range(5):
            account = make_account(workspace.id, f"account {number}")
            make_rule(account, f"rule {number}")

        with CaptureQueriesContext(
            connection,
        ) as queries:
            plan(workspace)

        assert len(queries) == 1

    def test_sees_nothing_of_another_workspace(self, workspace):
        other = make_tenant("Other").workspace
        make_rule(make_account(other.id))

        made = plan(workspace)

        assert made.candidates == ()
        assert made.chosen is None

    def test_passes_over_the_sandbox_in_a_live_workspace(self, workspace):
        make_account(workspace.id)

        made = plan(workspace, environment="live")

        assert [item.reasons for item in made.candidates] == [("sandbox_provider",)]

    def test_writes_nothing(self, workspace):
        make_account(workspace.id)

        plan(workspace)

        assert not RoutingDecision.objects.exists()


class TestRecordingADecision:
    def test_takes_one_statement_and_keeps_everything(self, workspace):
        make_account(workspace.id, "alpha")
        make_account(workspace.id, "beta", enabled=False)
        made, payment_id = plan(workspace, seed="pay_1"), new_id()

        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            services.record_decision(payment_id=payment_id, plan=made)

        [decision] = selectors.decisions_of_payment(workspace.id, payment_id)
        assert len(queries) == 1
        assert selectors.candidates_of(decision) == made.candidates
        assert (decision.chosen_account_id, decision.seed) == (made.chosen.account_id, "pay_1")
        assert (decision.ruleset_fingerprint, decision.made_at) == (made.ruleset_fingerprint, made.made_at)
        assert decision.request == made.request.facts()
        assert decision.public_id.startswith("rte_")

    def test_keeps_a_decision_that_chose_nobody(self, workspace):
        decision = record(plan(workspace))

        assert decision.chosen_account_id is None

    def test_is_refused_outside_a_transaction(self, workspace):
        made = plan(workspace)

        with pytest.raises(NotInTransaction):
            services.record_decision(payment_id=new_id(), plan=made)

        assert not RoutingDecision.objects.exists()

    def test_replays_to_the_same_route_after_everything_changed(self, workspace):
        accounts = [make_account(workspace.id, name, weight=weight) for name, weight in (("a", 5), ("b", 3), ("c", 0))]
        make_rule(accounts[2], "c first")
        decision = record(plan(workspace, seed="pay_7"))
        order = tuple(item.account_id for item in selectors.candidates_of(decision) if item.eligible)

        for account in accounts:
            update(account, AccountSettings(name=account.name, base_url=account.base_url, enabled=False, weight=1))

        again = selectors.decision_by_id(workspace.id, decision.id)
        assert selectors.replayed_order(again) == order
        assert plan(workspace, seed="pay_7").chosen is None
        assert plan(workspace).ruleset_fingerprint != again.ruleset_fingerprint

    def test_is_found_in_its_own_workspace_alone(self, workspace):
        decision = record(plan(workspace))
        other = make_tenant("Other").workspace

        assert selectors.decision_by_id(workspace.id, decision.id) == decision
        with pytest.raises(NotFound):
            selectors.decision_by_id(other.id, decision.id)
        assert selectors.decisions_of_payment(other.id, decision.payment_id) == []


class TestTheDatabase:
    @pytest.mark.parametrize(
        "change", ["UPDATE routing_routingdecision SET seed = 'x'", "DELETE FROM routing_routingdecision"]
    )
    @pytest.mark.parametrize(
        ("role", "refusal"), [("zentra_app", "permission denied"), ("zentra_owner", "append-only")]
    )
    def test_refuses_to_change_a_decision(self, workspace, role, refusal, change):
        decision = record(plan(workspace))

        with pytest.raises(DatabaseError, match=refusal), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL ROLE {role}; {change}")

        assert selectors.decision_by_id(workspace.id, decision.id).seed == "pay"

    def test_refuses_to_empty_the_decisions(self, owner_connection):
        with pytest.raises(Exception, match="append-only"):
            owner_connection.execute("TRUNCATE routing_routingdecision")

    def test_refuses_a_rule_for_an_account_of_another_workspace(self, workspace):
        account = make_account(make_tenant("Other").workspace.id)

        with pytest.raises(IntegrityError, match="routing_rule_account_of_workspace"), transaction.atomic():
            RoutingRule.objects.create(
                workspace=workspace, name="stray", account=account, created_at=SYSTEM_CLOCK.now()
            )

    def test_refuses_a_decision_for_an_account_of_another_workspace(self, workspace):
        make_account(workspace.id)
        made = plan(workspace)
        stray = replace(made, request=replace(made.request, workspace_id=make_tenant("Other").workspace.id))

        with pytest.raises(IntegrityError, match="routing_decision_account_of_workspace"):
            record(stray)

    @pytest.mark.parametrize(
        ("column", "value", "constraint"),
        [
            ("min_amount_minor", 0, "provider_account_amount_range"),
            ("max_amount_minor", -1, "provider_account_amount_range"),
            ("weight", 10_001, "provider_account_place"),
            ("priority", 10_001, "provider_account_place"),
            ("deadline_seconds", 0, "provider_account_deadline"),
            ("deadline_seconds", 61, "provider_account_deadline"),
        ],
    )
    def test_refuses_settings_out_of_bounds(self, workspace, column, value, constraint):
        account = make_account(workspace.id)

        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            ProviderAccount.objects.filter(id=account.id).update(**{column: value})

    def test_refuses_a_minimum_above_the_maximum(self, workspace):
        account = make_account(workspace.id)

        with pytest.raises(IntegrityError, match="provider_account_amount_range"), transaction.atomic():
            ProviderAccount.objects.filter(id=account.id).update(min_amount_minor=2, max_amount_minor=1)


class TestAProviderAccount:
    def test_keeps_its_secrets_sealed_and_opens_them_for_a_call(self, workspace):
        account = make_account(workspace.id, "alpha", base_url="http://127.0.0.1:9")
        stored = ProviderAccount.objects.get(id=account.id)

        endpoint = selectors.endpoint_for(workspace.id, account.id)

        assert b"acq_secret" not in bytes(stored.credential_sealed)
        assert b"cbk_secret" not in bytes(stored.callback_secret_sealed)
        assert (endpoint.credential, endpoint.base_url, endpoint.deadline_seconds) == (
            "acq_secret_alpha",
            "http://127.0.0.1:9",
            8.0,
        )
        assert selectors.callback_secret_of(stored) == "cbk_secret_alpha"
        assert "acq_secret" not in repr(endpoint)

    def test_does_not_open_a_secret_that_was_moved_to_another_account(self, workspace):
        alpha, beta = make_account(workspace.id, "alpha"), make_account(workspace.id, "beta")
        ProviderAccount.objects.filter(id=beta.id).update(credential_sealed=bytes(alpha.credential_sealed))

        with pytest.raises(CannotDecrypt):
            selectors.endpoint_for(workspace.id, beta.id)

    def test_has_a_deadline_of_its_own_where_one_is_set(self, workspace):
        account = make_account(workspace.id, deadline_seconds=2.5)

        assert selectors.endpoint_for(workspace.id, account.id).deadline_seconds == 2.5

    def test_is_found_by_the_id_in_its_callback_address(self, workspace):
        account = make_account(workspace.id)

        assert selectors.account_by_callback_id(account.public_id) == account

    @pytest.mark.parametrize("text", ["", "pac_", "pay_01h2xcejqtf2nbrexx3vqjhp41", "pac_01h2xcejqtf2nbrexx3vqjhp41"])
    def test_is_not_found_by_anything_else(self, workspace, text):
        with pytest.raises(NotFound):
            selectors.account_by_callback_id(text)

    def test_without_a_callback_secret_has_one_that_nothing_matches(self, workspace):
        account = services.create_provider_account(
            workspace_id=workspace.id,
            provider="simulator",
            settings=AccountSettings(name="quiet", base_url="http://127.0.0.1:9"),
            credential="secret",
            actor=OPERATOR,
            clock=SYSTEM_CLOCK,
        )

        assert selectors.callback_secret_of(account) == ""

    def test_keeps_the_secrets_that_an_update_does_not_name(self, workspace):
        account = make_account(workspace.id, "alpha")
        settings = AccountSettings(name="renamed", base_url="http://127.0.0.1:10", currencies=("EUR",))

        update(account, settings)

        endpoint = selectors.endpoint_for(workspace.id, account.id)
        assert (endpoint.name, endpoint.base_url, endpoint.credential) == (
            "renamed",
            "http://127.0.0.1:10",
            "acq_secret_alpha",
        )

    def test_takes_a_new_credential(self, workspace):
        account = make_account(workspace.id, "alpha")

        update(account, AccountSettings(name="alpha", base_url=account.base_url), credential="new one")

        assert selectors.endpoint_for(workspace.id, account.id).credential == "new one"

    def test_leaves_evidence_and_history_without_secrets(self, workspace):
        account = make_account(workspace.id, "alpha")
        update(account, AccountSettings(name="alpha", base_url=account.base_url, enabled=False))

        records = EvidenceRecord.objects.filter(workspace=workspace).order_by("id")
        assert [(row.content["action"], row.content["after"]) for row in records] == [
            ("provider_account.created", "enabled"),
            ("provider_account.updated", "disabled"),
        ]
        assert all(row.content["subject"] == account.public_id for row in records)
        assert "secret" not in str([row.content for row in records])
        assert [row.enabled for row in account.history.order_by("history_id")] == [True, False]
        assert not hasattr(account.history.first(), "credential_sealed")

    @pytest.mark.parametrize(
        ("field", "changes"),
        [
            ("name", {"name": ""}),
            ("name", {"name": "n" * 65}),
            ("base_url", {"base_url": "ftp://example.com"}),
            ("base_url", {"base_url": "http://user@example.com"}),
            ("base_url", {"base_url": "http://example.com/?a=b"}),
            ("methods", {"methods": ("m" * 33,)}),
            ("min_amount_minor", {"min_amount_minor": 0}),
            ("max_amount_minor", {"max_amount_minor": 2**53}),
            ("min_amount_minor", {"min_amount_minor": 2, "max_amount_minor": 1}),
            ("weight", {"weight": -1}),
            ("priority", {"priority": 10_001}),
            ("deadline_seconds", {"deadline_seconds": 0.0}),
            ("deadline_seconds", {"deadline_seconds": 60.1}),
        ],
    )
    def test_is_refused_with_a_setting_out_of_its_bounds_and_nothing_is_written(self, workspace, field, changes):
        with pytest.raises(services.RoutingSettingInvalid) as refusal:
            make_account(workspace.id, **changes) if "name" not in changes else make_account(
                workspace.id, changes["name"]
            )

        assert refusal.value.field == field
        assert not ProviderAccount.objects.exists()

    @pytest.mark.parametrize("changes", [{"currencies": ("EUR", "ZZZ")}, {"settlement_currency": "eur"}])
    def test_is_refused_with_an_unknown_currency(self, workspace, changes):
        with pytest.raises(UnknownCurrency):
            make_account(workspace.id, **changes)

        assert not ProviderAccount.objects.exists()

    @pytest.mark.parametrize("credential", ["", "x" * 4097, "two\nlines", "schlüssel"])
    def test_is_refused_with_a_secret_that_no_header_can_carry(self, workspace, credential):
        with pytest.raises(services.RoutingSettingInvalid) as refusal:
            services.create_provider_account(
                workspace_id=workspace.id,
                provider="simulator",
                settings=AccountSettings(name="alpha", base_url="http://127.0.0.1:9"),
                credential=credential,
                actor=OPERATOR,
                clock=SYSTEM_CLOCK,
            )

        assert refusal.value.field == "credential"
        assert credential == "" or credential not in str(refusal.value)
        assert not ProviderAccount.objects.exists()

    def test_is_refused_over_plain_http_in_a_live_workspace(self, workspace):
        Workspace.objects.filter(id=workspace.id).update(environment="live")

        with pytest.raises(services.RoutingSettingInvalid):
            make_account(workspace.id, base_url="http://127.0.0.1:9")

        assert not ProviderAccount.objects.exists()

    def test_is_refused_for_a_provider_without_an_adapter(self, workspace):
        with pytest.raises(services.ProviderNotInstalled) as refusal:
            services.create_provider_account(
                workspace_id=workspace.id,
                provider="acme",
                settings=AccountSettings(name="alpha", base_url="http://127.0.0.1:9"),
                credential="secret",
                actor=OPERATOR,
                clock=SYSTEM_CLOCK,
            )

        assert refusal.value.details == {"installed": ["simulator"]}
        assert not ProviderAccount.objects.exists()

    def test_is_refused_under_a_name_that_is_taken(self, workspace):
        make_account(workspace.id, "alpha")

        with pytest.raises(services.RoutingNameTaken):
            make_account(workspace.id, "alpha")

        assert ProviderAccount.objects.count() == 1

    def test_may_have_a_name_that_another_workspace_uses(self, workspace):
        make_account(workspace.id, "alpha")

        assert make_account(make_tenant("Other").workspace.id, "alpha").name == "alpha"

    def test_is_refused_beyond_the_limit(self, workspace, monkeypatch):
        monkeypatch.setattr(services, "MAX_ACCOUNTS", 1)
        make_account(workspace.id, "alpha")

        with pytest.raises(services.RoutingLimitReached):
            make_account(workspace.id, "beta")

    def test_of_another_workspace_cannot_be_changed_or_called(self, workspace):
        account = make_account(workspace.id)
        other = make_tenant("Other").workspace

        with pytest.raises(NotFound):
            selectors.endpoint_for(other.id, account.id)
        with pytest.raises(NotFound):
            services.update_provider_account(
                workspace_id=other.id,
                account_id=account.id,
                settings=AccountSettings(name="mine", base_url="http://127.0.0.1:9"),
                actor=OPERATOR,
                clock=SYSTEM_CLOCK,
            )
        assert ProviderAccount.objects.get(id=account.id).name == "alpha"


class TestARoutingRule:
    def test_is_changed_by_its_service_with_history(self, workspace):
        rule = make_rule(make_account(workspace.id), currency="EUR")

        services.update_routing_rule(
            workspace_id=workspace.id,
            rule_id=rule.id,
            settings=RuleSettings(name="off", account_id=rule.account_id, enabled=False),
            actor=OPERATOR,
            clock=SYSTEM_CLOCK,
        )

        assert [(row.name, row.currency, row.enabled) for row in rule.history.order_by("history_id")] == [
            ("a rule", "EUR", True),
            ("off", "", False),
        ]
        assert selectors.routing_facts(workspace.id).rules == ()

    @pytest.mark.parametrize("foreign", ["account", "merchant"])
    def test_is_refused_for_things_of_another_workspace(self, workspace, foreign):
        account, other = make_account(workspace.id), make_tenant("Other")
        settings = RuleSettings(name="stray", account_id=account.id)
        if foreign == "account":
            settings = replace(settings, account_id=make_account(other.workspace.id).id)
        else:
            settings = replace(settings, merchant_id=other.merchant.id)

        with pytest.raises(NotFound):
            services.create_routing_rule(
                workspace_id=workspace.id, settings=settings, actor=OPERATOR, clock=SYSTEM_CLOCK
            )

        assert not RoutingRule.objects.exists()

    def test_of_another_workspace_cannot_be_changed(self, workspace):
        rule = make_rule(make_account(workspace.id))
        other = make_tenant("Other").workspace

        with pytest.raises(NotFound):
            services.update_routing_rule(
                workspace_id=other.id,
                rule_id=rule.id,
                settings=RuleSettings(name="mine", account_id=make_account(other.id).id),
                actor=OPERATOR,
                clock=SYSTEM_CLOCK,
            )

        assert RoutingRule.objects.get(id=rule.id).name == "a rule"

    @pytest.mark.parametrize("changes", [{"min_amount_minor": 5, "max_amount_minor": 4}, {"weight": -1}, {"name": ""}])
    def test_is_refused_out_of_bounds(self, workspace, changes):
        account = make_account(workspace.id)

        with pytest.raises(services.RoutingSettingInvalid):
            make_rule(account, **changes)

        assert not RoutingRule.objects.exists()

    def test_is_not_known_to_a_workspace_that_does_not_exist(self):
        with pytest.raises(NotFound):
            make_account(uuid4())
