"""Callbacks: signed, once or twice, retried, and still there after a kill."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator

import pytest
import urllib3

from tests.simulator.process import AcquirerClient, Simulator
from tests.simulator.receiver import CallbackReceiver

StartSimulator = Callable[..., Simulator]


@pytest.fixture(scope="module")
def receiver() -> Iterator[CallbackReceiver]:
    listening = CallbackReceiver()
    yield listening
    listening.close()


@pytest.fixture(scope="module")
def alpha(tmp_path_factory: pytest.TempPathFactory, receiver: CallbackReceiver) -> Iterator[AcquirerClient]:
    options = ("--callback", f"alpha={receiver.url}", "--callback-secret", "alpha=shared secret")
    running = Simulator(tmp_path_factory.mktemp("callbacks"), *options, acquirers=("alpha=0",))
    yield running.alpha
    running.terminate()


class TestCallback:
    def test_is_signed_over_time_and_body(self, alpha: AcquirerClient, receiver: CallbackReceiver) -> None:
        authorization = alpha.authorize().json

        [(signature, body)] = receiver.wait_for(authorization["id"])

        found = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", signature)
        assert found
        assert abs(int(found[1]) - time.time()) < 60
        expected = hmac.new(b"shared secret", f"{found[1]}.".encode() + body, hashlib.sha256).hexdigest()
        assert found[2] == expected

    def test_carries_the_operation(self, alpha: AcquirerClient, receiver: CallbackReceiver) -> None:
        authorization = alpha.authorize().json

        [(_, body)] = receiver.wait_for(authorization["id"])

        document = json.loads(body)
        assert document["id"].startswith("cbk_")
        assert (document["type"], document["acquirer"]) == ("authorization.authorized", "alpha")
        assert document["data"] == authorization

    def test_follows_each_kind_of_operation(self, alpha: AcquirerClient, receiver: CallbackReceiver) -> None:
        declined = alpha.authorize("declined_stolen_card").json
        voided = alpha.authorize().json
        alpha.void(voided["id"])
        capture = alpha.captured()
        refund = alpha.refund(capture["authorization_id"], 100).json
        challenged = alpha.authorize("action_required").json
        urllib3.request(
            "POST",
            challenged["next_action"]["url"],
            body="decision=approve",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )

        expected = {
            (declined["id"], "authorization.declined"),
            (voided["id"], "authorization.authorized"),
            (voided["id"], "authorization.voided"),
            (capture["authorization_id"], "authorization.authorized"),
            (capture["id"], "capture.captured"),
            (refund["id"], "refund.refunded"),
            (challenged["id"], "authorization.authorized"),
        }
        subjects = {subject for subject, _ in expected}
        for subject, kind in expected:
            receiver.wait_for(f'"type":"{kind}"', subject)
        documents = [json.loads(body) for _, body in receiver.received]
        heard = [(document["data"]["id"], document["type"]) for document in documents]
        assert sorted(entry for entry in heard if entry[0] in subjects) == sorted(expected)

    def test_comes_twice_for_the_token_that_says_so(self, alpha: AcquirerClient, receiver: CallbackReceiver) -> None:
        once = alpha.authorize().json
        twice = alpha.authorize("callback_twice").json

        copies = receiver.wait_for(twice["id"], copies=2)

        assert len({json.loads(body)["id"] for _, body in copies}) == 1
        assert len(receiver.wait_for(once["id"])) == 1

    def test_comes_also_when_the_answer_was_lost(self, alpha: AcquirerClient, receiver: CallbackReceiver) -> None:
        with pytest.raises(urllib3.exceptions.ProtocolError):
            alpha.authorize("accept_then_reset", reference="lost-answer")

        [(_, body)] = receiver.wait_for("lost-answer")

        assert json.loads(body)["data"]["status"] == "authorized"

    def test_is_sent_again_after_a_failure(self, alpha: AcquirerClient, receiver: CallbackReceiver) -> None:
        receiver.failures_left = 1

        authorization = alpha.authorize().json

        first, second = receiver.wait_for(authorization["id"], copies=2)
        assert first[1] == second[1]
        assert settled_counts(alpha)["failed"] == 0

    def test_survives_a_kill_before_it_was_sent(self, start: StartSimulator, receiver: CallbackReceiver) -> None:
        # Nothing listens on the discard port.
        killed = start("--callback", "alpha=http://127.0.0.1:9/")
        authorization = killed.alpha.authorize().json
        pending = killed.alpha.get("/_control/counters").json["callbacks"]["pending"]
        killed.kill()

        start("--callback", f"alpha={receiver.url}")

        assert pending == 1
        assert receiver.wait_for(authorization["id"])

    def test_target_can_be_set_while_running_and_outlives_a_restart(
        self, start: StartSimulator, receiver: CallbackReceiver
    ) -> None:
        running = start()
        silent = running.alpha.authorize().json
        running.alpha.control("callback", {"url": receiver.url})
        running.kill()

        heard = start().alpha.authorize().json

        assert receiver.wait_for(heard["id"])
        assert all(silent["id"].encode() not in body for _, body in receiver.received)


def settled_counts(client: AcquirerClient) -> dict[str, int]:
    """Wait for the queue to empty and return its counts."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        counts: dict[str, int] = client.get("/_control/counters").json["callbacks"]
        if not counts["pending"]:
            return counts
        time.sleep(0.02)
    raise AssertionError("callbacks stay pending")
