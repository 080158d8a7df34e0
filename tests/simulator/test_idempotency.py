"""One key, one operation: also for sixteen threads, for refusals, and for answers that were faults."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.simulator.process import AcquirerClient, Simulator, new_reference
from zentra.simulator.api import AcquirerApi
from zentra.simulator.config import AcquirerConfig
from zentra.simulator.store import Operation, Store, StoredAnswer
from zentra.simulator.wire import Request

THREADS = 16


class TestOneKey:
    def test_makes_one_operation_for_sixteen_threads(self, alpha: AcquirerClient) -> None:
        reference, key, gate = new_reference(), new_reference(), threading.Barrier(THREADS)

        def post() -> tuple[int, bytes, str | None]:
            gate.wait()
            reply = alpha.authorize(reference=reference, key=key)
            return reply.status, reply.body, reply.headers.get("Idempotent-Replay")

        with ThreadPoolExecutor(THREADS) as threads:
            replies = [future.result() for future in [threads.submit(post) for _ in range(THREADS)]]

        assert {(status, body) for status, body, _ in replies} == {(201, replies[0][1])}
        assert sorted(replayed or "" for _, _, replayed in replies) == [""] + ["true"] * (THREADS - 1)
        assert len(alpha.by_reference(reference)) == 1

    def test_captures_once_for_sixteen_threads(self, alpha: AcquirerClient) -> None:
        authorization, reference, key = alpha.authorize().json, new_reference(), new_reference()

        with ThreadPoolExecutor(THREADS) as threads:
            list(
                threads.map(
                    lambda _: alpha.capture(authorization["id"], 100, reference=reference, key=key),
                    range(THREADS),
                )
            )

        assert len(alpha.by_reference(reference)) == 1
        assert alpha.get(f"/v1/operations/{authorization['id']}").json["captured_minor"] == 100

    @pytest.mark.parametrize(
        "card",
        ["approved", "declined_stolen_card", "accept_then_server_error", "garbled_answer", "fault_at_alpha"],
    )
    def test_replays_the_first_status_and_bytes(self, alpha: AcquirerClient, card: str) -> None:
        reference, key = new_reference(), new_reference()

        first = alpha.authorize(card, reference=reference, key=key)
        second = alpha.authorize(card, reference=reference, key=key)

        assert "Idempotent-Replay" not in first.headers
        assert second.headers["Idempotent-Replay"] == "true"
        assert (second.status, second.body) == (first.status, first.body)
        assert second.headers["Content-Type"] == first.headers["Content-Type"]
        assert len(alpha.by_reference(reference)) <= 1

    def test_replays_the_refusal_of_a_rule(self, alpha: AcquirerClient) -> None:
        authorization, key, reference = alpha.authorize().json, new_reference(), new_reference()
        first = alpha.capture(authorization["id"], 12_501, key=key, reference=reference)

        second = alpha.capture(authorization["id"], 12_501, key=key, reference=reference)

        assert (first.status, second.status) == (409, 409)
        assert second.body == first.body
        assert second.headers["Idempotent-Replay"] == "true"

    def test_with_another_body_is_refused_and_records_nothing(self, alpha: AcquirerClient) -> None:
        reference, key = new_reference(), new_reference()
        alpha.authorize(reference=reference, key=key)

        reply = alpha.authorize(reference=reference, key=key, amount_minor=12_501)

        assert (reply.status, reply.code) == (422, "idempotency_key_reused")
        assert len(alpha.by_reference(reference)) == 1

    def test_with_another_address_is_refused_and_records_nothing(self, alpha: AcquirerClient) -> None:
        first, second = alpha.authorize().json, alpha.authorize().json
        reference, key = new_reference(), new_reference()
        alpha.capture(first["id"], 100, reference=reference, key=key)

        reply = alpha.capture(second["id"], 100, reference=reference, key=key)

        assert (reply.status, reply.code) == (422, "idempotency_key_reused")
        assert alpha.get(f"/v1/operations/{second['id']}").json["captured_minor"] == 0

    def test_is_compared_by_value_not_by_spelling(self, alpha: AcquirerClient) -> None:
        key = new_reference()
        body = '{"reference":"%s","amount_minor":100,"currency":"EUR","payment_token":"tok_sandbox_approved"}'
        compact = (body % new_reference()).encode()

        first = alpha.call("POST", "/v1/authorizations", compact, key=key)
        second = alpha.call("POST", "/v1/authorizations", compact.replace(b",", b" ,\n"), key=key)

        assert (second.status, second.body) == (201, first.body)

    def test_of_a_request_that_never_executed_is_free_again(self, alpha: AcquirerClient) -> None:
        key, reference = new_reference(), new_reference()
        alpha.authorize("server_error", key=key, reference=reference)

        reply = alpha.authorize("approved", key=key, reference=reference)

        assert (reply.status, len(alpha.by_reference(reference))) == (201, 1)

    @pytest.mark.parametrize("key", ["", "x" * 65, "with blank", "tab\tkey"])
    def test_of_the_wrong_form_is_refused(self, alpha: AcquirerClient, key: str) -> None:
        reference = new_reference()
        body = {"reference": reference, "amount_minor": 100, "currency": "EUR"}

        reply = alpha.call("POST", "/v1/authorizations", body | {"payment_token": "tok_sandbox_approved"}, key=key)

        assert (reply.status, reply.code) == (400, "idempotency_key_required")
        assert alpha.by_reference(reference) == []

    def test_that_was_forgotten_charges_again(self, start: Callable[..., Simulator]) -> None:
        alpha, reference, key = start().alpha, new_reference(), new_reference()
        first = alpha.authorize(reference=reference, key=key).json

        forgotten = alpha.control("forget_keys")["forgotten"]
        second = alpha.authorize(reference=reference, key=key).json

        assert forgotten == 1
        assert second["id"] != first["id"]
        assert len(alpha.by_reference(reference)) == 2


class TestTheStore:
    def test_undoes_an_operation_whose_key_is_taken(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "acquirer.sqlite3")
        answer = StoredAnswer(fingerprint=b"", status=201, content_type="", body=b"")
        with store.transaction() as tx:
            tx.keep_answer("key", answer)

        def record_under_the_same_key() -> None:
            with store.transaction() as tx:
                tx.insert(authorization_row())
                tx.keep_answer("key", answer)

        with pytest.raises(sqlite3.IntegrityError):
            record_under_the_same_key()

        with store.transaction() as tx:
            assert tx.by_reference("ref", limit=10) == []

    @pytest.mark.parametrize(("captured_minor", "refunded_minor"), [(101, 0), (-1, 0), (50, 51), (0, 1), (100, -1)])
    def test_refuses_sums_that_money_cannot_have(
        self, tmp_path: Path, captured_minor: int, refunded_minor: int
    ) -> None:
        store = Store(tmp_path / "acquirer.sqlite3")
        with store.transaction() as tx:
            tx.insert(authorization_row())

        with pytest.raises(sqlite3.IntegrityError), store.transaction() as tx:
            tx.update("psp_1", captured_minor=captured_minor, refunded_minor=refunded_minor)

    def test_in_use_for_too_long_answers_in_progress(self, tmp_path: Path) -> None:
        config = AcquirerConfig(
            name="alpha",
            host="127.0.0.1",
            port=0,
            secret="secret",
            callback=None,
            callback_secret="",
            public_url=None,
            late_seconds=0,
        )
        api = AcquirerApi(config, tmp_path, public_url=lambda: "")
        api.store._lock_wait_seconds = 0.05
        request = Request(
            method="POST",
            path="/v1/authorizations",
            query={},
            headers={"authorization": "Bearer secret", "idempotency-key": "key"},
            body=b"{}",
        )

        with api.store.transaction():
            answer = api.answer(request)

        assert (answer.status, b"request_in_progress" in answer.body) == (409, True)


def authorization_row() -> Operation:
    return Operation(
        id="psp_1",
        type="authorization",
        reference="ref",
        status="authorized",
        amount_minor=100,
        currency="EUR",
        created_at="2026-01-01T00:00:00.000Z",
        requested_minor=100,
    )
