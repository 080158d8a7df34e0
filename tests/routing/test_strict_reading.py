"""Answers that the real acquirer never gives, from a server that a test scripts: only explicit statements count."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from routing.providers.calls import call_provider
from routing.providers.wire import MAX_ANSWER_BYTES
from routing.types import Operation, RetryAdvice, Transport, Verdict
from tests.factories.routing import endpoint, provider_request

V, T, A = Verdict, Transport, RetryAdvice
REQUEST = provider_request(reference="ours", amount_minor=500)
APPROVED = {
    "id": "psp_1",
    "object": "authorization",
    "reference": "ours",
    "status": "authorized",
    "amount_minor": 500,
    "currency": "EUR",
}
DECLINE = {"code": "no", "category": "soft", "network_code": "05", "message": "No.", "retry_advice": "retry_later"}


@pytest.fixture
def answering():
    """Start a server that gives one answer to everything; returns the account that it is reached by."""
    servers = []

    def start(status, document):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_):
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return endpoint(f"http://127.0.0.1:{server.server_address[1]}")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def without(name):
    return {key: value for key, value in APPROVED.items() if key != name}


class TestAnAnswerThatSaysNothingReliable:
    @pytest.mark.parametrize(
        ("status", "document"),
        [
            (200, b""),
            (200, b"null"),
            (200, [APPROVED]),
            (200, {}),
            (201, without("id")),
            (201, without("reference")),
            (201, without("status")),
            (201, without("amount_minor")),
            (201, without("currency")),
            (201, without("object")),
            (201, APPROVED | {"amount_minor": 500.0}),
            (201, APPROVED | {"amount_minor": True}),
            (201, APPROVED | {"amount_minor": "500"}),
            (201, APPROVED | {"amount_minor": -1}),
            (201, APPROVED | {"object": "capture"}),
            (201, APPROVED | {"status": "blessed"}),
            (201, APPROVED | {"status": "captured"}),
            (201, APPROVED | {"status": "action_required"}),
            (201, APPROVED | {"status": "action_required", "next_action": {"type": "redirect"}}),
            (201, APPROVED | {"status": "declined", "decline": DECLINE}),
            (402, APPROVED),
            (402, APPROVED | {"status": "declined"}),
            (402, APPROVED | {"status": "declined", "decline": DECLINE | {"category": "cosmic"}}),
            (402, APPROVED | {"status": "declined", "decline": {"category": "soft"}}),
            (302, {}),
            (404, {"error": {"code": "route_not_found", "message": ""}}),
            (404, {"error": "no"}),
            (418, {"error": {"code": "teapot", "message": ""}}),
            (429, {"error": {"code": "slow_down", "message": ""}}),
            (500, {"error": {"code": "internal", "message": "", "nothing_authorized": True}}),
            (502, b"<html>"),
            (503, {"error": {"code": "busy", "message": ""}}),
            (503, {"error": {"code": "busy", "message": "", "nothing_authorized": "true"}}),
            (503, {"error": {"code": "busy", "message": "", "nothing_authorized": 1}}),
            (201, b'{"padding": "' + b"x" * MAX_ANSWER_BYTES + b'"}'),
            (200, b"[" * 100_000),
        ],
    )
    def test_leaves_the_outcome_unknown(self, answering, status, document):
        result = call_provider(endpoint=answering(status, document), request=REQUEST)

        assert (result.transport, result.verdict) == (T.ANSWERED_UNREADABLE, V.UNKNOWN)
        assert (result.nothing_authorized, result.retry_advice) == (False, A.RESOLVE_FIRST)
        assert result.raw_status == str(status)

    @pytest.mark.parametrize("code", ["request_in_progress", "reference_ambiguous", "anything_else"])
    def test_of_a_conflict_that_may_hide_an_operation_is_unknown(self, answering, code):
        result = call_provider(endpoint=answering(409, {"error": {"code": code, "message": ""}}), request=REQUEST)

        assert (result.transport, result.verdict, result.nothing_authorized) == (T.ANSWERED, V.UNKNOWN, False)

    @pytest.mark.parametrize(
        "document",
        [
            {},
            {"operations": {}},
            {"operations": ["x"]},
            {"operations": [without("amount_minor")]},
            {"operations": None},
        ],
    )
    def test_to_a_query_is_unknown(self, answering, document):
        result = call_provider(endpoint=answering(200, document), request=REQUEST.as_query())

        assert (result.transport, result.verdict) == (T.ANSWERED_UNREADABLE, V.UNKNOWN)
        assert not result.is_not_found


class TestAnExplicitStatement:
    def test_that_nothing_was_authorized_is_believed(self, answering):
        document = {"error": {"code": "down", "message": "", "nothing_authorized": True}}

        result = call_provider(endpoint=answering(503, document), request=REQUEST)

        assert (result.verdict, result.nothing_authorized) == (V.PROVIDER_FAULT, True)

    @pytest.mark.parametrize(("status", "verdict"), [(400, V.INVALID_REQUEST), (401, V.CONFIG), (403, V.CONFIG)])
    def test_of_a_refused_request_is_believed(self, answering, status, verdict):
        document = {"error": {"code": "no", "message": "", "field": "x"}}

        result = call_provider(endpoint=answering(status, document), request=REQUEST)

        assert (result.verdict, result.nothing_authorized) == (verdict, True)

    @pytest.mark.parametrize(
        ("given", "advice"),
        [
            ("retry_later", A.SAME_PROVIDER_LATER),
            ("retry_with_customer", A.STEP_UP),
            ("do_not_retry", A.NEVER),
            ("retry_at_the_full_moon", A.NEVER),
            (None, A.NEVER),
        ],
    )
    def test_of_advice_is_followed_and_unknown_advice_is_the_strictest(self, answering, given, advice):
        document = APPROVED | {"status": "declined", "decline": DECLINE | {"retry_advice": given}}

        result = call_provider(endpoint=answering(402, document), request=REQUEST)

        assert (result.verdict, result.retry_advice) == (V.SOFT_DECLINE, advice)


class TestAnAnswerToAnotherRequest:
    @pytest.mark.parametrize(
        ("changes", "conflicts"),
        [
            ({"reference": "theirs"}, ("reference",)),
            ({"currency": "USD"}, ("currency",)),
            ({"amount_minor": 501}, ("amount_minor",)),
        ],
    )
    def test_is_conflicted(self, answering, changes, conflicts):
        result = call_provider(endpoint=answering(201, APPROVED | changes), request=REQUEST)

        assert (result.verdict, result.conflicts) == (V.APPROVED, conflicts)

    def test_of_another_kind_is_not_taken_for_the_operation_asked_about(self, answering):
        capture_query = provider_request(Operation.CAPTURE, reference="ours", amount_minor=500).as_query()

        result = call_provider(endpoint=answering(200, {"operations": [APPROVED]}), request=capture_query)

        assert result.is_not_found
