"""Captures, voids, refunds and balances: what may be taken, given back and when."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.simulator.process import AcquirerClient, Simulator, new_reference
from zentra.simulator.behaviours import fee_minor

AUTHORIZED = 12_500


@pytest.fixture
def authorization(alpha: AcquirerClient) -> Any:
    return alpha.authorize().json


class TestCapture:
    def test_names_the_fee_and_both_ids(self, alpha: AcquirerClient, authorization: Any) -> None:
        reference = new_reference()

        reply = alpha.capture(authorization["id"], 10_000, reference=reference)

        document = reply.json
        assert reply.status == 201
        assert document["id"].startswith("cap_psp_")
        assert (document["object"], document["status"], document["final"]) == ("capture", "captured", False)
        assert (document["reference"], document["authorization_id"]) == (reference, authorization["id"])
        # 1.4 % of 10000 is 140, plus 25.
        assert (document["amount_minor"], document["fee_minor"]) == (10_000, 165)

    def test_in_parts_never_exceeds_the_authorization(self, alpha: AcquirerClient, authorization: Any) -> None:
        alpha.capture(authorization["id"], 12_000)

        refused = alpha.capture(authorization["id"], 501)
        rest = alpha.capture(authorization["id"], 500)

        assert (refused.status, refused.code) == (409, "capture_exceeds_authorized")
        assert rest.status == 201
        assert current(alpha, authorization)["captured_minor"] == AUTHORIZED

    def test_by_many_threads_never_exceeds_the_authorization(self, alpha: AcquirerClient, authorization: Any) -> None:
        with ThreadPoolExecutor(8) as threads:
            statuses = list(threads.map(lambda _: alpha.capture(authorization["id"], 5000).status, range(8)))

        assert sorted(statuses) == [201, 201] + [409] * 6
        assert current(alpha, authorization)["captured_minor"] == 10_000

    def test_marked_final_is_the_last_one(self, alpha: AcquirerClient, authorization: Any) -> None:
        alpha.capture(authorization["id"], 100, final=True)

        reply = alpha.capture(authorization["id"], 100)

        assert (reply.status, reply.code) == (409, "authorization_closed")
        assert current(alpha, authorization)["captured_minor"] == 100

    def test_in_another_currency_is_refused(self, alpha: AcquirerClient, authorization: Any) -> None:
        reply = alpha.capture(authorization["id"], 100, currency="USD")

        assert (reply.status, reply.json["error"]["field"]) == (400, "currency")
        assert current(alpha, authorization)["captured_minor"] == 0

    def test_of_an_unknown_authorization_is_not_found(self, alpha: AcquirerClient) -> None:
        assert alpha.capture("psp_nobody").code == "operation_not_found"


class TestVoid:
    def test_closes_the_authorization(self, alpha: AcquirerClient, authorization: Any) -> None:
        reply = alpha.void(authorization["id"])

        assert (reply.status, reply.json["object"], reply.json["status"]) == (201, "void", "voided")
        assert reply.json["original_reference"] == authorization["reference"]
        voided = current(alpha, authorization)
        assert (voided["voided"], voided["status"]) == (True, "voided")
        assert alpha.capture(authorization["id"]).code == "authorization_not_capturable"

    def test_repeated_names_the_first_void(self, alpha: AcquirerClient, authorization: Any) -> None:
        first = alpha.void(authorization["id"])

        second = alpha.void(authorization["id"])

        assert (second.status, second.json) == (200, first.json)

    def test_after_a_capture_is_refused(self, alpha: AcquirerClient, authorization: Any) -> None:
        alpha.capture(authorization["id"], 1)

        reply = alpha.void(authorization["id"])

        assert (reply.status, reply.code) == (409, "authorization_captured")
        assert current(alpha, authorization)["voided"] is False

    def test_of_a_declined_authorization_is_refused(self, alpha: AcquirerClient) -> None:
        declined = alpha.authorize("declined_stolen_card").json

        assert alpha.void(declined["id"]).code == "authorization_not_voidable"

    def test_works_by_our_own_reference(self, alpha: AcquirerClient, authorization: Any) -> None:
        reply = void_by_reference(alpha, authorization["reference"])

        assert (reply.status, reply.json["authorization_id"]) == (201, authorization["id"])
        assert current(alpha, authorization)["voided"] is True

    def test_by_a_reference_without_authorization_is_not_found(self, alpha: AcquirerClient) -> None:
        reply = void_by_reference(alpha, new_reference())

        assert (reply.status, reply.code) == (404, "operation_not_found")

    def test_by_a_reference_with_two_open_authorizations_is_refused(self, alpha: AcquirerClient) -> None:
        reference = new_reference()
        both = [alpha.authorize(reference=reference).json for _ in range(2)]

        reply = void_by_reference(alpha, reference)

        assert (reply.status, reply.code) == (409, "reference_ambiguous")
        assert [current(alpha, one)["voided"] for one in both] == [False, False]


class TestRefund:
    def test_never_exceeds_what_is_captured_and_not_refunded(self, alpha: AcquirerClient, authorization: Any) -> None:
        alpha.capture(authorization["id"], 1000)
        first = alpha.refund(authorization["id"], 600)

        refused = alpha.refund(authorization["id"], 401)

        assert (first.status, first.json["status"], first.json["object"]) == (201, "refunded", "refund")
        assert first.json["id"].startswith("ref_psp_")
        assert (refused.status, refused.code) == (409, "refund_exceeds_captured")
        assert current(alpha, authorization)["refunded_minor"] == 600

    def test_by_many_threads_never_exceeds_the_captures(self, alpha: AcquirerClient, authorization: Any) -> None:
        alpha.capture(authorization["id"], 1000)

        with ThreadPoolExecutor(8) as threads:
            statuses = list(threads.map(lambda _: alpha.refund(authorization["id"], 400).status, range(8)))

        assert sorted(statuses) == [201, 201] + [409] * 6
        assert current(alpha, authorization)["refunded_minor"] == 800

    def test_of_one_capture_never_exceeds_it(self, alpha: AcquirerClient, authorization: Any) -> None:
        small = alpha.capture(authorization["id"], 300).json
        alpha.capture(authorization["id"], 700)

        refused = alpha.refund(authorization["id"], 301, capture_id=small["id"])
        taken = alpha.refund(authorization["id"], 300, capture_id=small["id"])

        assert (refused.status, taken.status) == (409, 201)
        assert taken.json["capture_id"] == small["id"]
        assert current(alpha, small)["refunded_minor"] == 300

    def test_of_a_capture_of_another_authorization_is_not_found(
        self, alpha: AcquirerClient, authorization: Any
    ) -> None:
        alpha.capture(authorization["id"], 1000)
        foreign = alpha.captured()

        reply = alpha.refund(authorization["id"], 10, capture_id=foreign["id"])

        assert (reply.status, reply.code) == (404, "operation_not_found")
        assert current(alpha, authorization)["refunded_minor"] == 0

    def test_before_a_capture_is_refused(self, alpha: AcquirerClient, authorization: Any) -> None:
        assert alpha.refund(authorization["id"], 1).code == "refund_exceeds_captured"


class TestFee:
    @pytest.mark.parametrize(
        ("amount_minor", "fee"), [(1, 25), (35, 25), (36, 26), (100, 26), (12_500, 200), (12_536, 201)]
    )
    def test_is_rounded_half_up_plus_a_fixed_part(self, amount_minor: int, fee: int) -> None:
        # 36 × 0.014 = 0.504 rounds up, 35 × 0.014 = 0.49 down; 12536 × 0.014 = 175.504.
        assert fee_minor(amount_minor) == fee

    def test_rounds_an_exact_half_up(self) -> None:
        assert fee_minor(250) == 4 + 25  # 3.5
        assert fee_minor(750) == 11 + 25  # 10.5


class TestBalances:
    def test_add_up_from_capture_to_payout(self, start: Callable[..., Simulator]) -> None:
        alpha = start().alpha
        capture = alpha.captured(10_000)
        alpha.captured(5000, currency="JPY")
        alpha.refund(capture["authorization_id"], 2500)

        before = alpha.get("/v1/balances").json["balances"]
        alpha.control("settlement", {"currency": "EUR"})
        after = alpha.get("/v1/balances").json["balances"]

        euros = {"captured_minor": 10_000, "refunded_minor": 2500, "fees_minor": 165}
        assert before["EUR"] == euros | {"unsettled_minor": 7335, "paid_out_minor": 0}
        assert after["EUR"] == euros | {"unsettled_minor": 0, "paid_out_minor": 7335}
        assert after["JPY"] == before["JPY"]
        assert after["JPY"]["unsettled_minor"] == 5000 - 95


def void_by_reference(client: AcquirerClient, original: str) -> Any:
    body = {"reference": new_reference(), "original_reference": original}
    return client.call("POST", "/v1/voids", body, key=new_reference())


def current(client: AcquirerClient, operation: Any) -> Any:
    return client.get(f"/v1/operations/{operation['id']}").json
