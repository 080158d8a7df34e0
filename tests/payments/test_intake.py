from __future__ import annotations

from payments.models import Attempt, Payment
from tests.factories.shop import Shop


class TestCreatePayment:
    def test_an_approved_payment_is_authorized_in_the_answer(self, shop: Shop):
        reply = shop.pay(125_000, reference="ORD_1001", customer_id="cus_9")

        assert reply.status == 201
        assert reply.data["status"] == "authorized"
        assert reply.data["authorized_minor"] == 125_000
        assert reply.data["states"]["capture"] == "pending"
        assert reply.data["reference"] == "ORD_1001"
        assert reply.data["customer_id"] == "cus_9"

    def test_automatic_capture_is_carried_out_by_a_worker(self, shop: Shop):
        payment = shop.captured(125_000)

        assert payment["status"] == "captured"
        assert payment["captured_minor"] == 125_000
        assert payment["states"]["capture"] == "captured"

    def test_a_hard_decline_is_402_and_asks_no_second_provider(self, shop: Shop):
        reply = shop.pay(token="declined_stolen_card")

        assert (reply.status, reply.code) == (402, "payment_declined")
        assert reply.error["details"]["payment"]["status"] == "declined"
        assert reply.error["details"]["payment"]["decline_code"] == "stolen_card"
        assert Attempt.objects.filter(workspace_id=shop.workspace_id).count() == 1

    def test_a_provider_fault_fails_over_to_the_second_provider(self, shop: Shop):
        reply = shop.pay(token="fault_at_alpha")

        assert reply.status == 201
        attempts = Attempt.objects.filter(workspace_id=shop.workspace_id).order_by("number")
        assert [(item.provider_account.name, item.state) for item in attempts] == [
            ("alpha", "failed"),
            ("beta", "approved"),
        ]

    def test_an_unknown_outcome_is_202_processing_until_it_is_resolved(self, shop: Shop):
        first = shop.pay(token="accept_then_timeout", key="k1")
        again = shop.pay(token="accept_then_timeout", key="k1")

        assert (first.status, again.status) == (202, 202)
        assert first.data["status"] == again.data["status"] == "processing"
        assert first.data["states"]["authorization"] == "outcome_unknown"
        assert first.data["id"] == again.data["id"]

        shop.resolve(first.data["id"])
        known = shop.pay(token="accept_then_timeout", key="k1")
        replay = shop.pay(token="accept_then_timeout", key="k1")

        assert known.status == 201
        assert known.data["status"] == "authorized"
        assert replay.content == known.content
        assert Payment.objects.filter(workspace_id=shop.workspace_id).count() == 1
        assert Attempt.objects.filter(workspace_id=shop.workspace_id, operation="authorize").count() == 1

    def test_a_payment_above_the_limit_is_rejected_and_the_verdict_replays(self, shop: Shop):
        type(shop.tenant.workspace).objects.filter(id=shop.workspace_id).update(payment_limit_minor=1000)

        first = shop.pay(1001, key="k1")
        type(shop.tenant.workspace).objects.filter(id=shop.workspace_id).update(payment_limit_minor=None)
        again = shop.pay(1001, key="k1")

        assert (first.status, first.code) == (422, "payment_rejected")
        assert first.error["details"]["reason"] == "amount_above_payment_limit"
        assert again.content == first.content
        assert not Attempt.objects.filter(workspace_id=shop.workspace_id).exists()


class TestReference:
    def test_a_live_reference_is_refused_to_another_payment(self, shop: Shop):
        first = shop.pay(reference="ORD_1")

        second = shop.pay(reference="ORD_1")

        assert (second.status, second.code) == (409, "reference_in_use")
        assert second.error["details"]["payment_id"] == first.data["id"]
        assert Payment.objects.filter(workspace_id=shop.workspace_id).count() == 1

    def test_a_declined_payment_leaves_its_reference_to_the_next(self, shop: Shop):
        declined = shop.pay(token="declined_stolen_card", reference="ORD_1")

        second = shop.pay(reference="ORD_1")

        assert second.status == 201
        charge = shop.get("payments/charges/ORD_1").data
        assert charge["id"] == second.data["id"]
        assert charge["predecessors"] == [declined.error["details"]["payment"]["id"]]


class TestIdempotency:
    def test_a_repeat_is_answered_byte_for_byte(self, shop: Shop):
        first = shop.pay(key="k1")

        again = shop.pay(key="k1")

        assert again.content == first.content
        assert again.status == first.status == 201
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.headers["Original-Request-Id"] == first.headers["X-Request-Id"]

    def test_the_same_key_with_another_body_is_refused(self, shop: Shop):
        first = shop.pay(1000, key="k1")

        second = shop.pay(1001, key="k1")

        assert (second.status, second.code) == (422, "idempotency_key_reused")
        assert second.error["details"]["resource_id"] == first.data["id"]
        assert Payment.objects.filter(workspace_id=shop.workspace_id).count() == 1

    def test_a_repeat_of_a_refusal_is_the_same_refusal(self, shop: Shop):
        first = shop.pay(token="declined_stolen_card", key="k1")

        again = shop.pay(token="declined_stolen_card", key="k1")

        assert again.content == first.content
        assert Payment.objects.filter(workspace_id=shop.workspace_id).count() == 1

    def test_a_refusal_by_state_is_kept_under_its_key(self, shop: Shop):
        payment = shop.pay(10_000, capture_method="manual").data
        first = shop.capture(payment["id"], 10_001, key="c1")
        shop.capture(payment["id"], 4_000)

        again = shop.capture(payment["id"], 10_001, key="c1")
        other = shop.capture(payment["id"], 1, key="c1")

        assert (first.status, first.code) == (409, "capture_exceeds_authorized")
        assert again.content == first.content
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (other.status, other.code) == (422, "idempotency_key_reused")

    def test_what_does_not_exist_leaves_the_key_free(self, shop: Shop):
        missing = shop.refund("ORD_1", key="r1")
        shop.captured(10_000, reference="ORD_1")

        found = shop.refund("ORD_1", key="r1")

        assert (missing.status, found.status) == (404, 201)
