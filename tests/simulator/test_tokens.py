"""Each published token and each declining amount, over real HTTP."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

import pytest
import urllib3
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from tests.simulator.process import AcquirerClient, Simulator, new_reference

EUR_125 = 12_500


class TestApproval:
    def test_names_amount_currency_and_both_references(self, alpha: AcquirerClient) -> None:
        reference = new_reference()

        reply = alpha.authorize(reference=reference)

        document = reply.json
        assert reply.status == 201
        assert document["id"].startswith("psp_")
        assert len(document["network_transaction_id"]) == 15
        assert {
            name: document[name] for name in document if name not in ("id", "network_transaction_id", "created_at")
        } == {
            "object": "authorization",
            "reference": reference,
            "status": "authorized",
            "amount_minor": EUR_125,
            "currency": "EUR",
            "requested_amount_minor": EUR_125,
            "captured_minor": 0,
            "refunded_minor": 0,
            "voided": False,
            "merchant_reference": "order-1",
        }

    @pytest.mark.parametrize(
        ("currency", "amount_minor"), [("JPY", 1), ("KWD", 1000), ("CLP", 1), ("ISK", 1), ("UGX", 1)]
    )
    def test_takes_any_currency_in_minor_units(self, alpha: AcquirerClient, currency: str, amount_minor: int) -> None:
        document = alpha.authorize(currency=currency, amount_minor=amount_minor).json

        assert (document["currency"], document["amount_minor"]) == (currency, amount_minor)

    def test_of_a_wrong_amount_is_one_lower_and_recorded_so(self, alpha: AcquirerClient) -> None:
        document = alpha.authorize("wrong_amount").json

        assert document["status"] == "authorized"
        assert document["amount_minor"] == EUR_125 - 1
        assert alpha.capture(document["id"], EUR_125).code == "capture_exceeds_authorized"

    def test_in_part_is_half_of_what_was_asked(self, alpha: AcquirerClient) -> None:
        document = alpha.authorize("partial_approval", amount_minor=3001).json

        assert document["status"] == "partially_authorized"
        assert (document["amount_minor"], document["requested_amount_minor"]) == (1500, 3001)

    def test_is_refused_when_the_amount_leaves_nothing_to_approve(self, alpha: AcquirerClient) -> None:
        reference = new_reference()

        reply = alpha.authorize("partial_approval", amount_minor=1, reference=reference)

        assert (reply.status, reply.json["error"]["field"]) == (400, "amount_minor")
        assert alpha.by_reference(reference) == []


class TestDecline:
    @pytest.mark.parametrize(
        ("token", "code", "category", "network_code"),
        [
            ("declined_insufficient_funds", "insufficient_funds", "soft", "51"),
            ("declined_do_not_honor", "do_not_honor", "soft", "05"),
            ("declined_stolen_card", "stolen_card", "hard", "43"),
            ("risk_blocked", "risk_blocked", "risk", "59"),
        ],
    )
    def test_by_token(self, alpha: AcquirerClient, token: str, code: str, category: str, network_code: str) -> None:
        reply = alpha.authorize(token)

        assert (reply.status, reply.json["status"]) == (402, "declined")
        assert_declined(reply.json, code, category, network_code)
        assert alpha.capture(reply.json["id"]).code == "authorization_not_capturable"

    @pytest.mark.parametrize(
        ("amount_minor", "code", "category", "network_code"),
        [
            (1051, "insufficient_funds", "soft", "51"),
            (12_005, "do_not_honor", "soft", "05"),
            (7043, "stolen_card", "hard", "43"),
            (1_000_091, "issuer_unavailable", "soft", "91"),
        ],
    )
    def test_by_the_last_three_digits_of_the_amount(
        self, alpha: AcquirerClient, amount_minor: int, code: str, category: str, network_code: str
    ) -> None:
        reply = alpha.authorize(amount_minor=amount_minor)

        assert reply.status == 402
        assert_declined(reply.json, code, category, network_code)

    @pytest.mark.parametrize("amount_minor", [51, 5, 43, 91, 1050, 1151])
    def test_spares_small_amounts_and_other_digits(self, alpha: AcquirerClient, amount_minor: int) -> None:
        assert alpha.authorize(amount_minor=amount_minor).status == 201

    def test_can_be_lost_on_its_way_like_an_approval(self, alpha: AcquirerClient) -> None:
        reference = new_reference()

        with pytest.raises(ProtocolError):
            alpha.authorize("accept_then_reset", amount_minor=1051, reference=reference)

        [operation] = alpha.by_reference(reference)
        assert operation["status"] == "declined"


class TestLostAnswers:
    def test_after_a_timeout_query_and_replay_find_the_one_authorization(self, alpha: AcquirerClient) -> None:
        reference, key = new_reference(), new_reference()
        with pytest.raises(ReadTimeoutError):
            alpha.authorize("accept_then_timeout", reference=reference, key=key, timeout=0.5)

        [operation] = alpha.by_reference(reference)
        replay = alpha.authorize("accept_then_timeout", reference=reference, key=key)

        assert operation["status"] == "authorized"
        assert (replay.status, replay.headers["Idempotent-Replay"]) == (201, "true")
        assert replay.json["id"] == operation["id"]
        assert len(alpha.by_reference(reference)) == 1

    def test_a_late_answer_comes_after_the_record(self, alpha: AcquirerClient) -> None:
        started = time.monotonic()

        reply = alpha.authorize("late_answer")

        assert reply.status == 201
        assert time.monotonic() - started >= 0.5

    def test_a_reset_before_the_record_leaves_nothing(self, alpha: AcquirerClient) -> None:
        reference = new_reference()

        with pytest.raises(ProtocolError) as lost:
            alpha.authorize("connection_reset", reference=reference)

        assert type(lost.value.args[1]) is ConnectionResetError
        assert alpha.get(f"/v1/operations?reference={reference}").code == "operation_not_found"

    def test_a_reset_after_the_record_leaves_the_authorization(self, alpha: AcquirerClient) -> None:
        reference = new_reference()

        with pytest.raises(ProtocolError) as lost:
            alpha.authorize("accept_then_reset", reference=reference)

        assert type(lost.value.args[1]) is ConnectionResetError
        assert [operation["status"] for operation in alpha.by_reference(reference)] == ["authorized"]

    @pytest.mark.parametrize(("token", "recorded"), [("server_error", 0), ("accept_then_server_error", 1)])
    def test_a_server_error_says_nothing_about_the_outcome(
        self, alpha: AcquirerClient, token: str, recorded: int
    ) -> None:
        reference = new_reference()

        reply = alpha.authorize(token, reference=reference)

        assert reply.status == 500
        with pytest.raises(json.JSONDecodeError):
            json.loads(reply.body)
        assert len(alpha.by_reference(reference)) == recorded

    def test_a_garbled_answer_is_201_without_json(self, alpha: AcquirerClient) -> None:
        reference = new_reference()

        reply = alpha.authorize("garbled_answer", reference=reference)

        assert reply.status == 201
        with pytest.raises(json.JSONDecodeError):
            json.loads(reply.body)
        assert len(alpha.by_reference(reference)) == 1

    def test_the_socket_stays_open_without_a_byte(self, alpha: AcquirerClient) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", alpha.port, timeout=0.6)
        body = {"reference": new_reference(), "amount_minor": 100, "currency": "EUR"}
        body["payment_token"] = "tok_sandbox_accept_then_timeout"
        headers = {"Authorization": f"Bearer {alpha.secret}", "Idempotency-Key": new_reference()}

        connection.request("POST", "/v1/authorizations", json.dumps(body), headers)

        with pytest.raises(TimeoutError):
            connection.sock.recv(1)
        connection.close()


class TestFaultAtAlpha:
    def test_is_a_fault_at_alpha_that_authorized_nothing(self, alpha: AcquirerClient) -> None:
        reference = new_reference()

        reply = alpha.authorize("fault_at_alpha", reference=reference)

        assert (reply.status, reply.code) == (503, "acquirer_unavailable")
        assert reply.json["error"]["nothing_authorized"] is True
        assert alpha.by_reference(reference) == []

    def test_is_approved_at_every_other_acquirer(self, simulator: Simulator) -> None:
        assert simulator.beta.authorize("fault_at_alpha").json["status"] == "authorized"


class TestLaterFaults:
    def test_a_declined_capture_captures_nothing(self, alpha: AcquirerClient) -> None:
        authorization = alpha.authorize("capture_declined").json

        reply = alpha.capture(authorization["id"])

        assert (reply.status, reply.json["status"], reply.json["object"]) == (402, "declined", "capture")
        assert_declined(reply.json, "capture_refused", "hard", "57")
        assert current(alpha, authorization)["captured_minor"] == 0

    def test_a_capture_timeout_has_captured(self, alpha: AcquirerClient) -> None:
        authorization, reference = alpha.authorize("capture_timeout").json, new_reference()

        with pytest.raises(ReadTimeoutError):
            alpha.capture(authorization["id"], reference=reference, timeout=0.4)

        assert [operation["status"] for operation in alpha.by_reference(reference)] == ["captured"]
        assert current(alpha, authorization)["captured_minor"] == EUR_125

    def test_a_declined_refund_refunds_nothing(self, alpha: AcquirerClient) -> None:
        capture = alpha.captured(card="refund_declined")

        reply = alpha.refund(capture["authorization_id"], 100)

        assert (reply.status, reply.json["decline"]["code"]) == (402, "refund_refused")
        assert current(alpha, {"id": capture["authorization_id"]})["refunded_minor"] == 0

    def test_a_refund_timeout_has_refunded(self, alpha: AcquirerClient) -> None:
        capture, reference = alpha.captured(card="refund_timeout"), new_reference()

        with pytest.raises(ReadTimeoutError):
            alpha.refund(capture["authorization_id"], 100, reference=reference, timeout=0.4)

        assert [operation["status"] for operation in alpha.by_reference(reference)] == ["refunded"]

    @pytest.mark.parametrize(("outcome", "refunded_minor"), [("refunded", 100), ("failed", 0)])
    def test_a_pending_refund_is_ended_by_control(
        self, alpha: AcquirerClient, outcome: str, refunded_minor: int
    ) -> None:
        capture = alpha.captured(card="refund_pending")
        pending = alpha.refund(capture["authorization_id"], 100).json
        held_minor = current(alpha, {"id": capture["authorization_id"]})["refunded_minor"]

        ended = alpha.control("refunds", {"id": pending["id"], "status": outcome})

        assert (pending["status"], ended["status"], held_minor) == ("pending", outcome, 100)
        assert current(alpha, {"id": capture["authorization_id"]})["refunded_minor"] == refunded_minor


class TestChallenge:
    @pytest.mark.parametrize(("decision", "status"), [("approve", "authorized"), ("decline", "declined")])
    def test_page_decides_once(self, alpha: AcquirerClient, decision: str, status: str) -> None:
        authorization = alpha.authorize("action_required").json
        url = authorization["next_action"]["url"]
        page = urllib3.request("GET", url)

        decided = decide(url, decision)
        again = decide(url, "approve")

        assert authorization["status"] == "action_required"
        assert page.status == 200
        assert b"Approve" in page.data
        assert b"Decline" in page.data
        assert decided.status == 200
        assert again.status == 409
        assert current(alpha, authorization)["status"] == status

    def test_sends_the_customer_back_to_the_shop(self, alpha: AcquirerClient) -> None:
        authorization = alpha.authorize("action_required", return_url="https://shop.example/back").json
        url = authorization["next_action"]["url"]

        decided = decide(url, "approve")

        assert (decided.status, decided.headers["Location"]) == (303, "https://shop.example/back")

    def test_must_be_passed_before_a_capture(self, alpha: AcquirerClient) -> None:
        authorization = alpha.authorize("action_required").json

        reply = alpha.capture(authorization["id"])

        assert (reply.status, reply.code) == (409, "authorization_not_capturable")
        assert current(alpha, authorization)["captured_minor"] == 0

    def test_of_an_unknown_id_is_not_found(self, alpha: AcquirerClient) -> None:
        assert urllib3.request("GET", f"{alpha.url}/challenge/psp_nobody").status == 404


def decide(url: str, decision: str) -> urllib3.BaseHTTPResponse:
    """Press a button of the challenge page."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return urllib3.request("POST", url, body=f"decision={decision}", headers=form, redirect=False)


def assert_declined(document: Any, code: str, category: str, network_code: str) -> None:
    decline = document["decline"]
    assert (decline["code"], decline["category"], decline["network_code"]) == (code, category, network_code)
    assert decline["message"]
    assert decline["retry_advice"] in ("retry_later", "do_not_retry", "retry_with_customer")


def current(client: AcquirerClient, authorization: Any) -> Any:
    return client.get(f"/v1/operations/{authorization['id']}").json
