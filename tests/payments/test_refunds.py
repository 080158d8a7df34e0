from __future__ import annotations

from payments.models import Capture, Refund
from tests.factories.shop import Shop
from tests.payments.test_captures_and_voids import assert_books_balance, balance


class TestRefund:
    def test_a_partial_refund_is_taken_from_the_payments_own_pending_money(self, shop: Shop):
        payment = shop.captured(10_000, reference="ORD_1")

        reply = shop.refund("ORD_1", 2_500, reference="RF_1", reason="one item returned")
        shop.work()

        assert (reply.status, reply.data["status"]) == (201, "pending")
        assert shop.get("payments/refunds/RF_1").data["status"] == "succeeded"
        assert shop.get(f"payments/{payment['id']}").data["refunded_minor"] == 2_500
        assert balance(shop, "2010") == -7_500
        assert Capture.objects.get(workspace_id=shop.workspace_id).pending_minor == 7_500
        assert_books_balance(shop)

    def test_without_an_amount_it_gives_back_what_is_left(self, shop: Shop):
        shop.captured(10_000, reference="ORD_1")
        shop.refund("ORD_1", 2_500)

        rest = shop.refund("ORD_1")

        assert rest.data["amount_minor"] == 7_500

    def test_more_than_is_left_is_refused_and_nothing_is_written(self, shop: Shop):
        shop.captured(10_000, reference="ORD_1")
        shop.refund("ORD_1", 2_500)

        reply = shop.refund("ORD_1", 7_501)

        assert (reply.status, reply.code) == (409, "refund_exceeds_payment")
        assert reply.error["details"]["refundable_minor"] == 7_500
        assert Refund.objects.filter(workspace_id=shop.workspace_id).count() == 1

    def test_an_uncaptured_payment_has_nothing_to_refund(self, shop: Shop):
        shop.pay(10_000, capture_method="manual", reference="ORD_1")

        assert shop.refund("ORD_1", 1).code == "refund_exceeds_payment"

    def test_a_refused_refund_is_given_back_to_where_it_came_from(self, shop: Shop):
        payment = shop.captured(10_000, token="refund_declined", reference="ORD_1")

        shop.refund("ORD_1", 2_500)
        shop.work()

        assert Refund.objects.get(workspace_id=shop.workspace_id).state == "failed"
        assert shop.get(f"payments/{payment['id']}").data["refunded_minor"] == 0
        assert balance(shop, "2010") == -10_000
        assert Capture.objects.get(workspace_id=shop.workspace_id).pending_minor == 10_000
        assert_books_balance(shop)

    def test_a_refund_whose_answer_is_lost_is_resolved_once(self, shop: Shop):
        payment = shop.captured(10_000, token="refund_timeout", reference="ORD_1")
        shop.refund("ORD_1", 2_500)
        shop.work()
        assert Refund.objects.get(workspace_id=shop.workspace_id).state == "processing"

        shop.resolve(payment["id"])

        assert shop.get(f"payments/{payment['id']}").data["refunded_minor"] == 2_500

    def test_a_repeat_with_the_same_key_is_the_same_refund(self, shop: Shop):
        shop.captured(10_000, reference="ORD_1")

        first, again = (shop.refund("ORD_1", 2_500, key="r1") for _ in range(2))

        assert again.content == first.content
        assert Refund.objects.filter(workspace_id=shop.workspace_id).count() == 1

    def test_a_reference_names_one_live_refund(self, shop: Shop):
        shop.captured(10_000, reference="ORD_1")
        shop.refund("ORD_1", 1_000, reference="RF_1")

        second = shop.refund("ORD_1", 1_000, reference="RF_1")

        assert (second.status, second.code) == (409, "refund_reference_in_use")
