"""What somebody who means ill, a bad moment or a careless client could do to the money path, and what comes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.db import transaction

from ledger.services import post_journal
from ledger.types import Posting, legs_of
from payments.models import Attempt, Capture, Payment, ProviderCallback, Refund
from payments.postings import merchant_account
from payments.services import attempts, execution, settling, sweeps
from payments.services.chronicle import Chronicle
from routing.models import ProviderAccount
from routing.types import ProviderResult
from tests.factories.shop import Shop, open_shop
from tests.payments.test_callbacks import approval, send
from tests.payments.test_captures_and_voids import assert_books_balance, balance
from tests.payments.test_unknown_outcomes import attempt_of, later
from tests.settlement.desk import Desk
from tests.settlement.files import line_of
from tests.simulator.process import Simulator
from webhooks.models import Event
from zentra.core.clock import SYSTEM_CLOCK
from zentra.tenancy.selectors import terms_of


def desk_of(shop: Shop) -> Desk:
    """The settlement desk of a shop, for the files of its acquirer alpha."""
    return Desk(shop.tenant, ProviderAccount.objects.get(workspace_id=shop.workspace_id, name="alpha"))


def only_payment(shop: Shop) -> Payment:
    return Payment.objects.get(workspace_id=shop.workspace_id)


def captures(shop: Shop) -> list[Capture]:
    return list(Capture.objects.filter(workspace_id=shop.workspace_id).order_by("number"))


def run_capture(shop: Shop, capture: Capture) -> None:
    execution.run_capture(workspace_id=shop.workspace_id, capture_id=capture.id)


class TestEvidence:
    def test_every_state_of_capture_and_refund_has_its_record(self, shop: Shop):
        payment = shop.captured(10_000, reference="ORD_1")
        shop.refund("ORD_1", 1_000)
        shop.work()

        records = shop.get(f"payments/{payment['id']}/trace").data["evidence"]
        moves = [
            (record["subject"][:3], record["before"], record["after"])
            for record in records
            if record["subject"].startswith(("cap_", "re_"))
        ]

        assert moves == [
            (prefix, before, after)
            for prefix in ("cap", "re_")
            for before, after in (("", "pending"), ("pending", "processing"), ("processing", "succeeded"))
        ]


class TestFinalCapture:
    def test_nothing_can_be_captured_beside_or_after_it(self, shop: Shop):
        payment = shop.pay(10_000, capture_method="manual").data
        shop.capture(payment["id"], 6_000, final=True)

        beside = shop.capture(payment["id"], 4_000)
        shop.work()
        after = shop.capture(payment["id"], 1)

        assert (beside.status, beside.code) == (409, "payment_not_capturable")
        assert after.status == 409
        assert [capture.state for capture in captures(shop)] == ["succeeded"]
        assert balance(shop, "9020") == 0

    def test_that_was_refused_leaves_the_rest_to_another(self, shop: Shop):
        payment = shop.pay(10_000, "capture_declined", capture_method="manual").data
        shop.capture(payment["id"], 6_000, final=True)
        shop.work()

        assert shop.capture(payment["id"], 4_000).status == 201

    def test_that_overtakes_an_earlier_one_leaves_no_reservation_behind(self, shop: Shop):
        payment = shop.pay(10_000, capture_method="manual").data
        shop.capture(payment["id"], 4_000)
        shop.capture(payment["id"], 6_000, final=True)
        earlier, final = captures(shop)

        run_capture(shop, final)
        desk_of(shop).settle(line_of(final))
        run_capture(shop, earlier)

        earlier.refresh_from_db()
        assert earlier.state == "failed"
        assert shop.get(f"payments/{payment['id']}").data["capturable_minor"] == 0
        assert balance(shop, "9020") == 0
        assert only_payment(shop).settled_at is not None
        assert Event.objects.filter(workspace_id=shop.workspace_id, type="payment.settled").count() == 1
        assert_books_balance(shop)


class TestCallback:
    def test_of_another_account_decides_nothing(self, shop: Shop, simulator: Simulator):
        ProviderAccount.objects.filter(workspace_id=shop.workspace_id, name="alpha").update(priority=30)
        shop.pay(10_000, "accept_then_timeout")
        attempt = attempt_of(shop)
        assert attempt.provider_account.name == "beta"

        reply = send(shop, approval(attempt))

        attempt.refresh_from_db()
        assert (reply.status, attempt.state) == (200, "unknown")
        assert ProviderCallback.objects.get(workspace_id=shop.workspace_id).outcome == "reference_unknown"

    def test_of_less_than_was_captured_is_a_conflict_even_where_a_part_may_be_authorized(self, shop: Shop):
        shop.pay(10_000, "capture_timeout", allow_partial=True)
        shop.work()
        attempt = Attempt.objects.get(workspace_id=shop.workspace_id, operation="capture")

        send(shop, approval(attempt, object="capture", status="captured", amount_minor=9_000))

        attempt.refresh_from_db()
        assert (attempt.state, attempt.conflicts) == ("conflicted", ["amount_minor"])
        assert only_payment(shop).captured_minor == 0

    @pytest.mark.parametrize(
        ("changes", "conflicts"),
        [
            ({"amount_minor": 9_000, "currency": "USD"}, ["currency"]),
            ({"amount_minor": 0}, ["amount_minor"]),
            ({"amount_minor": 10_001}, ["amount_minor"]),
            ({"amount_minor": 9_000, "status": "authorized"}, ["amount_minor"]),
        ],
    )
    def test_of_a_part_is_compared_like_an_answer(self, shop: Shop, changes: dict[str, Any], conflicts: list[str]):
        shop.pay(10_000, "accept_then_timeout", allow_partial=True)

        reply = send(shop, approval(attempt_of(shop), **{"status": "partially_authorized", **changes}))

        assert reply.status == 200
        assert (attempt_of(shop).state, attempt_of(shop).conflicts) == ("conflicted", conflicts)
        assert only_payment(shop).authorized_minor == 0

    def test_of_a_part_that_may_be_authorized_is_believed(self, shop: Shop):
        shop.pay(10_000, "accept_then_timeout", allow_partial=True)

        send(shop, approval(attempt_of(shop), status="partially_authorized", amount_minor=9_000))

        assert (only_payment(shop).state, only_payment(shop).authorized_minor) == ("authorized", 9_000)

    def test_that_approves_what_was_given_up_is_put_before_a_person(self, shop: Shop):
        shop.pay(10_000, "server_error")
        for day in (200, 201, 202):
            later(shop, timedelta(days=day))
            shop.resolve(only_payment(shop).public_id)
        assert (attempt_of(shop).state, attempt_of(shop).needs_operator) == ("failed", False)

        send(shop, approval(attempt_of(shop)))

        assert (attempt_of(shop).state, attempt_of(shop).needs_operator) == ("failed", True)
        assert only_payment(shop).state == "failed"
        assert ProviderCallback.objects.get(workspace_id=shop.workspace_id).outcome == "contradicts_decision"

    def test_needs_no_accept_header_of_ours(self, shop: Shop):
        shop.pay(10_000, "accept_then_timeout")
        account = ProviderAccount.objects.get(workspace_id=shop.workspace_id, name="alpha")

        reply = shop.call("POST", f"callbacks/{account.public_id}", b"{}", Accept="text/plain", Authorization="")

        assert (reply.status, reply.code) == (401, "callback_signature_invalid")

    @pytest.mark.parametrize("text", ["psp_\x00", "psp_\ud800", "p" * 200])
    def test_with_text_that_no_column_can_hold_is_refused_and_kept_nowhere(self, shop: Shop, text: str):
        shop.pay(10_000, "accept_then_timeout")
        body = approval(attempt_of(shop), id=text)

        replies = [send(shop, body), send(shop, {**approval(attempt_of(shop)), "id": text})]

        assert [(reply.status, reply.code) for reply in replies] == [(401, "callback_signature_invalid")] * 2
        assert attempt_of(shop).state == "unknown"


class TestLateAnswer:
    def test_that_approves_what_was_given_up_is_put_before_a_person(self, shop: Shop, monkeypatch: pytest.MonkeyPatch):
        """The process stood still between its commit and the wire, and the resolver came to the end meanwhile."""
        carry_out = attempts.call

        def stand_still(attempt: Attempt) -> ProviderResult:
            for day in (200, 201, 202):
                later(shop, timedelta(days=day))
                sweeps.resolve_attempt(workspace_id=shop.workspace_id, attempt_id=attempt.id)
            return carry_out(attempt)

        monkeypatch.setattr(attempts, "call", stand_still)
        reply = shop.pay(10_000)

        assert (reply.status, reply.code) == (402, "payment_failed")
        assert (attempt_of(shop).state, attempt_of(shop).needs_operator) == ("failed", True)
        actions = [
            record["action"] for record in shop.get(f"payments/{only_payment(shop).public_id}/trace").data["evidence"]
        ]
        assert "attempt.contradicted" in actions


class TestCustomersTurn:
    def test_a_decision_whose_callback_is_lost_is_asked_for(self, shop: Shop, simulator: Simulator):
        reply = shop.pay(10_000, "action_required")
        assert reply.data["status"] == "requires_action"
        later(shop, timedelta(minutes=1))
        sweeps.resolve_unknown(clock=SYSTEM_CLOCK)
        assert attempt_of(shop).state == "action_required"

        [operation] = simulator.alpha.by_reference(attempt_of(shop).reference)
        simulator.alpha.call("POST", f"/challenge/{operation['id']}", b"decision=approve")
        later(shop, timedelta(hours=2))
        sweeps.resolve_unknown(clock=SYSTEM_CLOCK)

        assert (attempt_of(shop).state, attempt_of(shop).resolved_by) == ("approved", "query")
        assert only_payment(shop).state == "authorized"

    def test_a_customer_who_never_decides_is_asked_about_a_bounded_number_of_times(self, shop: Shop):
        shop.pay(10_000, "action_required")

        for day in range(1, 12):
            later(shop, timedelta(days=day))
            sweeps.resolve_unknown(clock=SYSTEM_CLOCK)

        assert sweeps.resolve_unknown(clock=SYSTEM_CLOCK) == 0
        assert (attempt_of(shop).state, attempt_of(shop).needs_operator) == ("action_required", True)


class TestPartialApproval:
    def test_that_nobody_wanted_is_given_back_before_the_payment_is_declined(self, shop: Shop, simulator: Simulator):
        first = shop.pay(10_000, "partial_approval", key="k1")
        assert (first.status, first.data["status"]) == (202, "processing")

        later(shop, timedelta(seconds=5))
        sweeps.resume_unsent(clock=SYSTEM_CLOCK)
        known = shop.pay(10_000, "partial_approval", key="k1")

        assert (known.status, known.code) == (402, "payment_declined")
        assert known.error["details"]["reason"] == "partial_approval"
        authorization = Attempt.objects.get(workspace_id=shop.workspace_id, operation="authorize")
        assert [item["status"] for item in simulator.alpha.by_reference(authorization.reference)] == ["voided"]
        assert (authorization.state, authorization.needs_operator) == ("conflicted", False)
        assert balance(shop, "9010") == balance(shop, "9020") == 0
        assert not captures(shop)

    def test_whose_giving_back_is_refused_waits_for_a_person(self, shop: Shop):
        shop.pay(10_000, "partial_approval")
        ProviderAccount.objects.filter(workspace_id=shop.workspace_id).update(credential_sealed=b"\x01nonsense")

        execution.run_void(workspace_id=shop.workspace_id, payment_id=only_payment(shop).id)
        later(shop, timedelta(days=1))

        assert sweeps.resume_unsent(clock=SYSTEM_CLOCK) == 0
        void = Attempt.objects.get(workspace_id=shop.workspace_id, operation="void")
        assert (void.state, void.needs_operator) == ("failed", True)
        assert (only_payment(shop).state, balance(shop, "9020")) == ("processing", -10_000)


class TestVoid:
    def test_that_cannot_be_sent_is_tried_less_and_less_often(self, shop: Shop):
        payment = shop.pay(10_000, capture_method="manual").data
        ProviderAccount.objects.filter(workspace_id=shop.workspace_id).update(base_url="http://127.0.0.1:9")
        shop.call("POST", f"payments/{payment['id']}/void", {}, key="v1")

        for seconds in range(0, 120, 5):
            later(shop, timedelta(seconds=seconds))
            sweeps.resume_unsent(clock=SYSTEM_CLOCK)

        tries = Attempt.objects.filter(workspace_id=shop.workspace_id, operation="void")
        assert tries.count() == 5
        assert {attempt.transport for attempt in tries} == {"not_sent"}
        assert only_payment(shop).state == "voiding"

    def test_that_the_provider_refused_is_no_success_under_its_key(self, shop: Shop):
        payment = shop.pay(10_000, capture_method="manual").data
        first = shop.call("POST", f"payments/{payment['id']}/void", {}, key="v1")
        ProviderAccount.objects.filter(workspace_id=shop.workspace_id).update(credential_sealed=b"\x01nonsense")
        shop.work()

        refused, again = (shop.call("POST", f"payments/{payment['id']}/void", {}, key="v1") for _ in range(2))

        assert (first.status, refused.status, refused.code) == (202, 409, "void_refused")
        assert refused.error["details"]["payment"]["status"] == "authorized"
        assert again.content == refused.content


class TestOneAccountsTrouble:
    def unusable(self, shop: Shop) -> None:
        """As after a lost master key, or a provider whose adapter was taken out."""
        ProviderAccount.objects.filter(workspace_id=shop.workspace_id).update(credential_sealed=b"\x01nonsense")

    def test_does_not_keep_the_operations_of_others_waiting(self, shop: Shop, simulator: Simulator):
        other = open_shop(simulator)
        shop.pay(10_000)
        kept = other.pay(10_000).data
        Attempt.objects.filter(workspace_id=shop.workspace_id).update(state="conflicted")
        later(shop, timedelta(seconds=20))
        later(other, timedelta(seconds=10))

        sweeps.resume_unsent(clock=SYSTEM_CLOCK)

        assert other.get(f"payments/{kept['id']}").data["status"] == "captured"

    def test_does_not_keep_the_outcomes_of_others_unknown(self, shop: Shop, simulator: Simulator):
        other = open_shop(simulator)
        shop.pay(10_000, "accept_then_timeout")
        other.pay(10_000, "accept_then_timeout")
        Attempt.objects.filter(workspace_id=shop.workspace_id).update(provider_reference="x", operation="nonsense")
        later(shop, timedelta(seconds=20))
        later(other, timedelta(seconds=10))

        sweeps.resolve_unknown(clock=SYSTEM_CLOCK)

        assert only_payment(other).state == "authorized"

    def test_is_a_failed_payment_and_no_outcome_that_is_unknown_for_ever(self, shop: Shop):
        self.unusable(shop)

        reply = shop.pay(10_000)

        assert (reply.status, reply.code) == (402, "payment_failed")
        assert balance(shop, "9010") == balance(shop, "9020") == 0

    def test_leaves_an_unknown_outcome_to_a_person_in_the_end(self, shop: Shop):
        shop.pay(10_000, "accept_then_timeout")
        self.unusable(shop)

        for _ in range(8):
            shop.resolve(only_payment(shop).public_id)

        assert (attempt_of(shop).state, attempt_of(shop).needs_operator) == ("unknown", True)
        assert only_payment(shop).state == "processing"


class TestRefusedRefund:
    def test_of_a_written_off_capture_becomes_available_money(self, shop: Shop):
        shop.captured(10_000, token="refund_declined", reference="ORD_1")
        shop.refund("ORD_1", 4_000)
        capture = captures(shop)[0]
        with transaction.atomic():
            settling.explain_items(
                workspace_id=shop.workspace_id,
                item_ids=[("capture", capture.id)],
                chronicle=Chronicle(terms=terms_of(shop.workspace_id)),
                released_minor=6_000,
            )

        shop.work()

        capture.refresh_from_db()
        assert Refund.objects.get(workspace_id=shop.workspace_id).state == "failed"
        assert capture.pending_minor == 0
        assert balance(shop, "2020") == -4_000
        assert_books_balance(shop)

    def test_gives_back_as_money_what_of_the_debt_was_repaid_meanwhile(self, shop: Shop):
        """The merchant owed the refund, earned it back with the next settlement, and then the refund is refused."""
        desk = desk_of(shop)
        shop.captured(10_000, token="refund_declined", reference="ORD_1")
        desk.settle(line_of(captures(shop)[0]))
        pay_out(shop, 10_000)
        shop.refund("ORD_1", 10_000)
        assert (balance(shop, "1200"), balance(shop, "2020")) == (10_000, 0)
        shop.pay(7_000)
        run_capture(shop, captures(shop)[1])
        desk.settle(line_of(captures(shop)[1]), batch="bat_2")
        assert (balance(shop, "1200"), balance(shop, "2020")) == (3_000, 0)

        shop.work()

        assert Refund.objects.get(workspace_id=shop.workspace_id).state == "failed"
        assert (balance(shop, "1200"), balance(shop, "2020")) == (0, -7_000)
        assert_books_balance(shop)


def pay_out(shop: Shop, amount_minor: int) -> None:
    """Take available money away, as a payout does."""
    terms = terms_of(shop.workspace_id)
    posting = Posting(
        key="test:payout",
        kind="payout_created",
        currency="EUR",
        legs=legs_of(
            (merchant_account("2020", shop.tenant.merchant.id), amount_minor),
            (merchant_account("2040", shop.tenant.merchant.id), -amount_minor),
        ),
        effective_date=terms.today,
    )
    with transaction.atomic():
        post_journal(workspace_id=shop.workspace_id, posting=posting, clock=terms.clock)


class TestExplainItems:
    def test_touches_no_capture_of_another_workspace(self, shop: Shop, simulator: Simulator):
        other = open_shop(simulator)
        other.captured(10_000)

        with transaction.atomic():
            settling.explain_items(
                workspace_id=shop.workspace_id,
                item_ids=[("capture", captures(other)[0].id)],
                chronicle=Chronicle(terms=terms_of(shop.workspace_id)),
            )

        assert captures(other)[0].settled_at is None


class TestOddInput:
    @pytest.mark.parametrize("reference", ["ORD 1001", "Bestellung/ä-1", "#1", "注文1"])
    def test_a_reference_that_the_acquirer_would_not_take_is_no_reason_to_fail(self, shop: Shop, reference: str):
        reply = shop.pay(10_000, reference=reference)

        assert (reply.status, reply.data["reference"]) == (201, reference)
        assert shop.get(f"payments/charges/{quote(reference, safe='')}").data["id"] == reply.data["id"]

    @pytest.mark.parametrize("amount", [b"1e3", b"1.0", b"-1", b"0", b'"5"', b"true", b"9007199254740992", b"9" * 400])
    def test_an_amount_is_a_whole_number_in_its_bounds(self, shop: Shop, amount: bytes):
        reply = shop.call("POST", "payments", b'{"currency": "EUR", "amount_minor": ' + amount + b"}", key="k1")

        assert (reply.status, reply.code) == (422, "amount_invalid")
        assert not Payment.objects.filter(workspace_id=shop.workspace_id).exists()

    @pytest.mark.parametrize(
        "path",
        [
            "payments?page=99999999999999999999",
            "payments?page=%C2%B2",
            "payments?limit=-1",
            "payments?reference=%00",
            "payments?customer_id=%ED%A0%80",
            "payments?status=%00",
            "payments?start_date=0001-01-01T00:00:00%2B14:00",
            "payments?end_date=9999-12-31T23:59:59-14:00",
            "payments?start_date=99999999999999999999",
            "payments/charges/%00",
            "payments/charges/%FF",
            f"payments/charges/{'x' * 5000}",
            "payments/pay_7zzzzzzzzzzzzzzzzzzzzzzzzz",
            "payments/pay_٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣٣/trace",
            "payments/refunds/re_%00",
            "payments/pay_/captures",
        ],
    )
    def test_a_query_or_path_is_never_our_failure(self, shop: Shop, path: str):
        assert shop.get(path).status in (200, 404, 422)

    @pytest.mark.parametrize("key", ["ä", "a b", "x" * 256, "", '"', '""', "\x00", "٣"])
    def test_a_key_outside_its_form_is_refused(self, shop: Shop, key: str):
        reply = shop.call("POST", "payments", {"amount_minor": 1, "currency": "EUR", "idempotency_key": key})

        assert reply.status in (400, 422)
        assert not Payment.objects.filter(workspace_id=shop.workspace_id).exists()

    def test_a_length_that_only_looks_like_a_number_is_a_bad_request(self, shop: Shop):
        answer = shop.client.generic("POST", "/api/v1/payments", b"{}", CONTENT_LENGTH="²")

        assert answer.status_code == 400

    def test_a_workspace_without_any_rate_is_refused_and_not_failed(self, simulator: Simulator, db: None):
        shop = open_shop(simulator, requests_per_minute=0)

        reply = shop.pay(10_000)

        assert (reply.status, reply.code) == (429, "rate_limit_exceeded")

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PATCH", "PUT", "DELETE", "BREW"])
    def test_a_method_that_is_not_offered_is_never_our_failure(self, shop: Shop, method: str):
        assert shop.call(method, "payments").status in (200, 405)
        assert shop.call(method, "payments/pay_x/void").status == 405
