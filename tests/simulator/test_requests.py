"""What a request must look like; every refusal records nothing."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

import pytest

from tests.simulator.process import AcquirerClient, new_reference

LIMIT_BYTES = 256 * 1024


class TestAuthorization:
    @pytest.mark.parametrize(
        ("change", "code", "field"),
        [
            ({"reference": None}, "missing_field", "reference"),
            ({"reference": ""}, "invalid_field", "reference"),
            ({"reference": "x" * 65}, "invalid_field", "reference"),
            ({"reference": "=cmd"}, "invalid_field", "reference"),
            ({"reference": 7}, "invalid_field", "reference"),
            ({"amount_minor": None}, "missing_field", "amount_minor"),
            ({"amount_minor": 0}, "invalid_field", "amount_minor"),
            ({"amount_minor": -1}, "invalid_field", "amount_minor"),
            ({"amount_minor": 12.5}, "invalid_field", "amount_minor"),
            ({"amount_minor": 12.0}, "invalid_field", "amount_minor"),
            ({"amount_minor": True}, "invalid_field", "amount_minor"),
            ({"amount_minor": "125"}, "invalid_field", "amount_minor"),
            ({"amount_minor": 2**53}, "invalid_field", "amount_minor"),
            ({"currency": "eur"}, "invalid_field", "currency"),
            ({"currency": "EURO"}, "invalid_field", "currency"),
            ({"payment_token": "tok_sandbox_nothing"}, "unknown_payment_token", "payment_token"),
            ({"capture": True}, "invalid_field", "capture"),
            ({"allow_partial": "yes"}, "invalid_field", "allow_partial"),
            ({"return_url": "javascript:alert(1)"}, "invalid_field", "return_url"),
            ({"merchant_reference": "two words"}, "invalid_field", "merchant_reference"),
        ],
    )
    def test_names_the_field_that_is_wrong(
        self, alpha: AcquirerClient, change: dict[str, Any], code: str, field: str
    ) -> None:
        before = alpha.recorded()

        reply = alpha.authorize(**change)

        assert (reply.status, reply.code, reply.json["error"]["field"]) == (400, code, field)
        assert reply.json["error"]["message"]
        assert alpha.recorded() == before

    def test_takes_the_largest_amount(self, alpha: AcquirerClient) -> None:
        assert alpha.authorize(amount_minor=2**53 - 1).json["amount_minor"] == 2**53 - 1


class TestSecret:
    @pytest.mark.parametrize("secret", ["", "wrong", "acq_secret_beta", "acq_secret_alpha2", "ä"])
    @pytest.mark.parametrize("path", ["/v1/balances", "/v1/operations?reference=x", "/_control/counters"])
    def test_is_checked(self, alpha: AcquirerClient, path: str, secret: str) -> None:
        reply = alpha.call("GET", path, secret=secret)

        assert (reply.status, reply.code) == (401, "unauthorized")

    def test_is_checked_before_a_mutation(self, alpha: AcquirerClient) -> None:
        before = alpha.recorded()

        replies = [
            alpha.call("POST", path, {}, key="key", secret="wrong").status
            for path in ("/v1/authorizations", "/v1/refunds", "/_control/forget_keys", "/_control/down")
        ]

        assert replies == [401] * 4
        assert alpha.recorded() == before

    def test_is_not_asked_for_by_the_health_check(self, alpha: AcquirerClient) -> None:
        reply = alpha.call("GET", "/healthz", secret="")

        assert reply.json == {"status": "ok", "acquirer": "alpha"}


class TestBody:
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"{", "invalid_json"),
            (b'{"amount_minor": NaN}', "invalid_json"),
            (b"\xff\xfe{}", "invalid_json"),
            (b"[" * 100_000, "invalid_json"),
            (b"9" * 5000, "invalid_json"),
            (b"[]", "invalid_body"),
            (b"null", "invalid_body"),
        ],
    )
    def test_that_is_no_object_is_refused(self, alpha: AcquirerClient, body: bytes, code: str) -> None:
        reply = alpha.call("POST", "/v1/authorizations", body, key=new_reference())

        assert (reply.status, reply.code) == (400, code)

    @pytest.mark.parametrize("size", [LIMIT_BYTES + 1, 2 * 1024 * 1024])
    def test_over_the_limit_is_read_away_and_refused(self, alpha: AcquirerClient, size: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", alpha.port, timeout=5)
        headers = {"Authorization": f"Bearer {alpha.secret}", "Idempotency-Key": "key"}

        # In pieces: a connection that is closed after the headers would break under the later ones.
        connection.request("POST", "/v1/authorizations", headers=headers | {"Content-Length": str(size)})
        for _ in range(4):
            connection.send(b" " * (size // 4))
            time.sleep(0.05)
        connection.send(b" " * (size % 4))

        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "payload_too_large")
        connection.close()

    def test_at_the_limit_is_read(self, alpha: AcquirerClient) -> None:
        reply = alpha.call("POST", "/v1/authorizations", b" " * (LIMIT_BYTES - 2) + b"{}", key=new_reference())

        assert reply.code == "missing_field"

    def test_in_chunks_is_refused(self, alpha: AcquirerClient) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", alpha.port, timeout=5)
        headers = {"Authorization": f"Bearer {alpha.secret}", "Idempotency-Key": "key"}

        connection.request("POST", "/v1/authorizations", iter([b"{}"]), headers, encode_chunked=True)

        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (411, "length_required")
        connection.close()

    @pytest.mark.parametrize("length", ["-1", "1e3", "9" * 20])
    def test_with_a_length_that_is_no_number_is_refused(self, alpha: AcquirerClient, length: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", alpha.port, timeout=5)
        connection.putrequest("POST", "/v1/authorizations")
        connection.putheader("Content-Length", length)
        connection.endheaders()

        assert connection.getresponse().status == 400
        connection.close()


class TestAddress:
    def test_that_does_not_exist_is_not_found(self, alpha: AcquirerClient) -> None:
        assert alpha.get("/v2/authorizations").code == "route_not_found"

    @pytest.mark.parametrize(("method", "path"), [("GET", "/v1/refunds"), ("DELETE", "/v1/balances")])
    def test_with_another_method_is_refused(self, alpha: AcquirerClient, method: str, path: str) -> None:
        reply = alpha.call(method, path)

        assert (reply.status, reply.code) == (405, "method_not_allowed")

    def test_with_too_many_parameters_is_refused(self, alpha: AcquirerClient) -> None:
        reply = alpha.get("/v1/operations?" + "&".join(f"p{number}=1" for number in range(50)))

        assert (reply.status, reply.code) == (400, "invalid_address")

    def test_of_operations_without_reference_is_refused(self, alpha: AcquirerClient) -> None:
        assert alpha.get("/v1/operations").code == "invalid_field"


class TestOperationsQuery:
    def test_lists_each_operation_under_a_reference_with_its_present_state(self, alpha: AcquirerClient) -> None:
        reference = new_reference()
        authorization = alpha.authorize(reference=reference).json
        alpha.capture(authorization["id"], 500, reference=reference)
        alpha.authorize("declined_stolen_card", reference=reference)

        operations = alpha.by_reference(reference)

        assert [(one["object"], one["status"]) for one in operations] == [
            ("authorization", "authorized"),
            ("capture", "captured"),
            ("authorization", "declined"),
        ]
        assert operations[0]["captured_minor"] == 500
        assert alpha.get(f"/v1/operations/{authorization['id']}").json == operations[0]
