from __future__ import annotations

from ledger.selectors import balance_of, trial_balance
from payments.models import Attempt, Capture, Payment
from payments.postings import merchant_account
from payments.services import execution
from tests.factories.shop import Shop
from zentra.core.ids import parse_public_id


def balance(shop: Shop, code: str) -> int:
    return balance_of(shop.workspace_id, merchant_account(code, shop.tenant.merchant.id), "EUR")


def assert_books_balance(shop: Shop) -> None:
    rows = trial_balance(shop.workspace_id)
    assert sum(row.balance_minor for row in rows if not row.is_memo) == 0
    assert sum(row.balance_minor for row in rows if row.is_memo) == 0


class TestManualCapture:
    def test_partial_captures_add_up_to_the_authorization(self, shop: Shop):
        payment = shop.pay(10_000, capture_method="manual").data

        first = shop.capture(payment["id"], 4_000)
        second = shop.capture(payment["id"], 6_000)
        shop.work()

        assert (first.status, second.status) == (201, 201)
        assert shop.get(f"payments/{payment['id']}").data["status"] == "captured"
        assert balance(shop, "9020") == 0
        assert balance(shop, "9030") == -10_000
        assert balance(shop, "2010") == -10_000
        assert_books_balance(shop)

    def test_more_than_is_left_is_refused_and_nothing_is_written(self, shop: Shop):
        payment = shop.pay(10_000, capture_method="manual").data
        shop.capture(payment["id"], 6_000)

        reply = shop.capture(payment["id"], 4_001)

        assert (reply.status, reply.code) == (409, "capture_exceeds_authorized")
        assert reply.error["details"]["capturable_minor"] == 4_000
        assert Capture.objects.filter(workspace_id=shop.workspace_id).count() == 1

    def test_a_final_capture_gives_the_rest_back(self, shop: Shop):
        payment = shop.pay(10_000, capture_method="manual").data

        shop.capture(payment["id"], 4_000, final=True)
        shop.work()

        now = shop.get(f"payments/{payment['id']}").data
        assert (now["status"], now["capturable_minor"]) == ("captured", 0)
        assert balance(shop, "9020") == 0
        assert balance(shop, "9010") == 4_000
        assert_books_balance(shop)

    def test_a_refused_capture_can_be_tried_anew(self, shop: Shop):
        payment = shop.pay(10_000, "capture_declined", capture_method="manual").data

        shop.capture(payment["id"])
        shop.work()

        now = shop.get(f"payments/{payment['id']}").data
        assert (now["status"], now["capturable_minor"]) == ("authorized", 10_000)
        assert Capture.objects.get(workspace_id=shop.workspace_id).state == "failed"
        assert balance(shop, "2010") == 0

    def test_a_capture_whose_answer_is_lost_is_resolved_and_booked_once(self, shop: Shop):
        payment = shop.pay(10_000, "capture_timeout", capture_method="manual").data
        shop.capture(payment["id"])
        shop.work()
        assert Capture.objects.get(workspace_id=shop.workspace_id).state == "processing"
        assert balance(shop, "2010") == 0

        shop.resolve(payment["id"])
        shop.resolve(payment["id"])

        assert shop.get(f"payments/{payment['id']}").data["captured_minor"] == 10_000
        assert balance(shop, "2010") == -10_000
        assert Attempt.objects.filter(workspace_id=shop.workspace_id, operation="capture").count() == 1

    def test_a_task_that_is_delivered_twice_moves_money_once(self, shop: Shop):
        payment = shop.pay(10_000, capture_method="manual").data
        shop.capture(payment["id"])
        capture = Capture.objects.get(workspace_id=shop.workspace_id)

        for _ in range(2):
            execution.run_capture(workspace_id=shop.workspace_id, capture_id=capture.id)

        assert shop.get(f"payments/{payment['id']}").data["captured_minor"] == 10_000
        assert Attempt.objects.filter(workspace_id=shop.workspace_id, operation="capture").count() == 1


class TestVoid:
    def test_a_void_is_202_until_the_provider_confirmed_and_then_frozen(self, shop: Shop):
        payment = shop.pay(10_000, capture_method="manual").data

        first = shop.call("POST", f"payments/{payment['id']}/void", {}, key="v1")
        shop.work()
        second = shop.call("POST", f"payments/{payment['id']}/void", {}, key="v1")
        third = shop.call("POST", f"payments/{payment['id']}/void", {}, key="v1")

        assert (first.status, first.data["status"]) == (202, "voiding")
        assert (second.status, second.data["status"]) == (200, "voided")
        assert third.content == second.content
        assert balance(shop, "9010") == balance(shop, "9020") == 0

    def test_a_captured_payment_is_not_voided(self, shop: Shop):
        payment = shop.captured(10_000)

        reply = shop.call("POST", f"payments/{payment['id']}/void", {}, key="v1")

        assert (reply.status, reply.code) == (409, "payment_not_voidable")
        assert Payment.objects.get(id=parse_public_id("pay", payment["id"])).state == "authorized"


class TestDecline:
    def test_a_refusal_releases_the_reservation(self, shop: Shop):
        shop.pay(10_000, "declined_stolen_card")

        assert balance(shop, "9010") == balance(shop, "9020") == 0

    def test_an_unknown_outcome_keeps_the_reservation(self, shop: Shop):
        shop.pay(10_000, "accept_then_timeout")

        assert (balance(shop, "9010"), balance(shop, "9020")) == (10_000, -10_000)
