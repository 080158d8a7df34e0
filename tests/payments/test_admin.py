from __future__ import annotations

import pytest
from django.test import Client

from payments.models import Attempt, Capture, Payment, ProviderCallback, RuntimeStep
from tests.factories.console import client_of, member_of, superuser
from tests.factories.shop import Shop, open_shop
from tests.simulator.process import Simulator
from zentra.core.ids import parse_public_id
from zentra.evidence.models import EvidenceRecord
from zentra.idempotency.models import IdempotencyKey
from zentra.tenancy.models import Member, MemberRole, Merchant

PAYMENTS = "/admin/payments/payment/"
ATTEMPTS = "/admin/payments/attempt/"


@pytest.fixture
def operator(shop: Shop) -> Client:
    return client_of(member_of(shop.tenant.workspace, MemberRole.OPERATOR))


@pytest.fixture
def in_doubt(shop: Shop) -> Attempt:
    """An attempt whose answer was lost: the provider took the money, nobody told us."""
    payment = shop.pay(125_000, "accept_then_timeout", reference="ORD_lost").data
    return Attempt.objects.get(payment_id=parse_public_id("pay", payment["id"]))


def story(client: Client, payment_id: str) -> str:
    answer = client.get(f"{PAYMENTS}{parse_public_id('pay', payment_id)}/change/")
    assert answer.status_code == 200
    return answer.content.decode()


class TestThePaymentStory:
    def test_tells_amounts_stages_route_attempts_ledger_events_and_evidence(self, shop: Shop, operator: Client):
        payment = shop.captured(125_000, reference="ORD_1001", customer_id="cus_9")

        page = story(operator, payment["id"])

        assert "1,250.00 EUR" in page
        assert "125000" in page
        for words in ("ORD_1001", "cus_9", payment["id"], "captured"):
            assert words in page
        for stage in ("accepted", "controlled", "ledgered", "routed", "synchronized", "evidenced"):
            assert stage in page
        for account in ("customer_balance", "reserved_balance", "settlement_account"):
            assert account in page
        assert "Another eligible account comes earlier." in page
        assert "payment.created" in page
        assert "payment.authorized" in page
        attempt = Attempt.objects.get(payment__reference="ORD_1001", operation="capture")
        assert attempt.provider_reference in page
        assert EvidenceRecord.objects.filter(payment_id=attempt.payment_id).first().content["action"] in page

    def test_says_when_a_person_must_look(self, in_doubt: Attempt, operator: Client):
        Attempt.objects.filter(id=in_doubt.id).update(needs_operator=True)

        page = story(operator, in_doubt.payment.public_id)

        assert "outcome unknown" in page
        assert "needs a person" in page

    def test_escapes_what_people_wrote(self, shop: Shop, operator: Client):
        Merchant.objects.filter(workspace_id=shop.workspace_id).update(name="<script>alert(1)</script>")

        page = story(operator, shop.pay().data["id"])

        assert "<script>alert(1)</script>" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page

    def test_shows_every_outcome(self, shop: Shop, operator: Client):
        for token in ("declined_stolen_card", "fault_at_alpha", "requires_action"):
            shop.pay(token=token)

        for payment in Payment.objects.all():
            assert payment.public_id in story(operator, payment.public_id)
        assert Payment.objects.count() == 3


class TestTheListOfPayments:
    @pytest.mark.parametrize("prefix", ["pay", "att", "reference"])
    def test_is_searched_by_id_and_by_reference(self, shop: Shop, operator: Client, prefix: str):
        wanted = shop.pay(reference="ORD_wanted").data
        shop.pay(reference="ORD_other")
        attempt = Attempt.objects.get(payment__reference="ORD_wanted")
        query = {"pay": wanted["id"], "att": attempt.public_id, "reference": "ORD_wanted"}[prefix]

        page = operator.get(PAYMENTS, {"q": query}).content.decode()

        assert "ORD_wanted" in page
        assert "ORD_other" not in page

    def test_is_filtered_by_state_and_currency(self, shop: Shop, operator: Client):
        shop.pay(reference="ORD_good")
        shop.pay(token="declined_stolen_card", reference="ORD_bad")

        page = operator.get(PAYMENTS, {"state__exact": "declined", "currency": "EUR"}).content.decode()

        assert "ORD_bad" in page
        assert "ORD_good" not in page


class TestAnotherWorkspace:
    def test_shows_neither_its_payments_nor_its_names(self, shop: Shop, operator: Client, simulator: Simulator):
        other = open_shop(simulator, name="Globex")
        theirs = other.pay(reference="ORD_theirs").data
        row = parse_public_id("pay", theirs["id"])

        for page in (PAYMENTS, ATTEMPTS, "/admin/ledger/journal/", "/admin/routing/provideraccount/",
                     "/admin/routing/routingdecision/", "/admin/webhooks/event/", "/admin/evidence/evidencerecord/",
                     "/admin/idempotency/idempotencykey/"):  # fmt: skip
            shown = operator.get(page)
            assert shown.status_code == 200
            assert "Globex" not in shown.content.decode()
        assert operator.get(f"{PAYMENTS}{row}/change/").status_code == 302
        assert "ORD_theirs" not in operator.get(PAYMENTS, {"q": theirs["id"]}).content.decode()
        assert EvidenceRecord.objects.filter(workspace_id=other.workspace_id).exists()

    def test_has_attempts_that_nobody_else_asks_about(self, in_doubt: Attempt, simulator: Simulator):
        stranger = client_of(member_of(open_shop(simulator, name="Globex").tenant.workspace))

        stranger.post(ATTEMPTS, {"action": "ask_now", "_selected_action": [str(in_doubt.id)]})

        assert stranger.post(f"{ATTEMPTS}{in_doubt.id}/ask/").status_code == 403
        assert Attempt.objects.get(id=in_doubt.id).state == "unknown"


class TestMoney:
    def test_is_never_written_from_the_admin_not_even_by_a_superuser(self, shop: Shop):
        payment = shop.captured()
        root = client_of(superuser())
        rows = [
            ("payments/payment", Payment.objects.get(id=parse_public_id("pay", payment["id"])).pk),
            ("payments/attempt", Attempt.objects.filter(operation="capture").get().pk),
            ("evidence/evidencerecord", EvidenceRecord.objects.first().pk),
            ("idempotency/idempotencykey", IdempotencyKey.objects.first().pk),
        ]
        before = list(Payment.objects.values()), list(Attempt.objects.values()), EvidenceRecord.objects.count()

        for page, row in rows:
            assert root.get(f"/admin/{page}/add/").status_code == 403
            assert root.post(f"/admin/{page}/{row}/change/", {"state": "voided"}).status_code == 403
            assert root.post(f"/admin/{page}/{row}/delete/", {"post": "yes"}).status_code == 403
            root.post(f"/admin/{page}/", {"action": "delete_selected", "_selected_action": [str(row)], "post": "yes"})

        after = list(Payment.objects.values()), list(Attempt.objects.values()), EvidenceRecord.objects.count()
        assert after == before

    def test_is_in_no_page_of_its_own(self, shop: Shop):
        root = client_of(superuser())

        for model in (Capture, RuntimeStep):
            assert root.get(f"/admin/payments/{model._meta.model_name}/").status_code == 404


class TestTheLaneOfUnknownOutcomes:
    def test_lists_what_is_in_doubt_and_nothing_else(self, shop: Shop, in_doubt: Attempt, operator: Client):
        shop.pay(reference="ORD_fine")

        page = operator.get(ATTEMPTS).content.decode()

        assert "ORD_lost" in page
        assert "ORD_fine" not in page

    def test_asks_the_provider_from_the_list(self, in_doubt: Attempt, operator: Client):
        answer = operator.post(ATTEMPTS, {"action": "ask_now", "_selected_action": [str(in_doubt.id)]}, follow=True)

        assert Attempt.objects.get(id=in_doubt.id).state == "approved"
        assert Payment.objects.get(id=in_doubt.payment_id).state == "authorized"
        assert "authorize is approved" in answer.content.decode()

    def test_asks_the_provider_from_the_attempt_s_page_after_a_confirmation(self, in_doubt: Attempt, operator: Client):
        asked = operator.get(f"{ATTEMPTS}{in_doubt.id}/ask/")
        still = Attempt.objects.get(id=in_doubt.id).state

        operator.post(f"{ATTEMPTS}{in_doubt.id}/ask/")

        assert "Nothing is charged a second time" in asked.content.decode()
        assert still == "unknown"
        assert Attempt.objects.get(id=in_doubt.id).state == "approved"

    def test_acts_only_where_the_person_may_whatever_was_ticked(
        self, shop: Shop, in_doubt: Attempt, simulator: Simulator
    ):
        operator_elsewhere = member_of(open_shop(simulator, name="Globex").tenant.workspace, MemberRole.OPERATOR)
        Member.objects.create(workspace=shop.tenant.workspace, user=operator_elsewhere, role=MemberRole.AUDITOR)
        client = client_of(operator_elsewhere)

        assert "ORD_lost" in client.get(ATTEMPTS).content.decode()
        client.post(ATTEMPTS, {"action": "ask_now", "_selected_action": [str(in_doubt.id)]})
        assert Attempt.objects.get(id=in_doubt.id).state == "unknown"

    def test_lets_an_auditor_look_and_not_ask(self, shop: Shop, in_doubt: Attempt):
        auditor = client_of(member_of(shop.tenant.workspace, MemberRole.AUDITOR))

        assert "ORD_lost" in auditor.get(ATTEMPTS).content.decode()
        auditor.post(ATTEMPTS, {"action": "ask_now", "_selected_action": [str(in_doubt.id)]})
        assert auditor.post(f"{ATTEMPTS}{in_doubt.id}/ask/").status_code == 403
        assert Attempt.objects.get(id=in_doubt.id).state == "unknown"


class TestTheOverview:
    def test_counts_the_lanes_of_the_person_s_workspaces(self, shop: Shop, in_doubt: Attempt, operator: Client):
        shop.pay(reference="ORD_fine")

        page = operator.get("/admin/").content.decode()

        assert "ORD_lost" in page
        assert "Unknown outcomes" in page
        assert "nothing in suspense" in page

    def test_says_nothing_of_other_workspaces(self, in_doubt: Attempt, simulator: Simulator):
        stranger = client_of(member_of(open_shop(simulator, name="Globex").tenant.workspace))

        assert "ORD_lost" not in stranger.get("/admin/").content.decode()

    def test_takes_few_statements_whatever_there_is(
        self, shop: Shop, in_doubt: Attempt, operator: Client, django_assert_max_num_queries
    ):
        for _ in range(8):
            shop.pay()

        with django_assert_max_num_queries(16):
            assert operator.get("/admin/").status_code == 200


class TestProviderCallbacks:
    def test_are_listed_and_shown_as_they_came(self, shop: Shop, operator: Client):
        shop.pay()
        attempt = Attempt.objects.get(workspace_id=shop.workspace_id)
        callback = ProviderCallback.objects.create(
            workspace_id=shop.workspace_id,
            provider_account=attempt.provider_account,
            provider_event_id="evt_9",
            type="capture.succeeded",
            body=b'{"amount_minor": 5}',
            received_at=attempt.sent_at,
        )

        page = operator.get(f"/admin/payments/providercallback/{callback.id}/change/").content.decode()

        assert "evt_9" in operator.get("/admin/payments/providercallback/").content.decode()
        assert "amount_minor" in page
        assert operator.post(f"/admin/payments/providercallback/{callback.id}/change/", {}).status_code == 403
