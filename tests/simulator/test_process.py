"""The process: ready line, kill and restart, signals, and the faults of whole listeners."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from urllib3.exceptions import NewConnectionError, ProtocolError, ReadTimeoutError

from tests.simulator.process import ROOT, AcquirerClient, Simulator, new_reference
from zentra.simulator.callbacks import CallbackTarget
from zentra.simulator.config import ConfigurationError, read_configuration

StartSimulator = Callable[..., Simulator]


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A simulator whose acquirer alpha may be made to fail, as long as it works again afterwards."""
    running = Simulator(tmp_path_factory.mktemp("spare"))
    yield running
    running.terminate()


class TestStart:
    def test_prints_one_ready_line_with_the_chosen_ports(self, spare: Simulator) -> None:
        assert spare.ready["event"] == "ready"
        assert spare.ready["pid"] == spare.process.pid
        ports = [acquirer["port"] for acquirer in spare.ready["acquirers"].values()]
        assert len(set(ports)) == 2
        for port in ports:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()

    def test_keeps_acquirers_apart(self, spare: Simulator) -> None:
        reference, before = new_reference(), spare.beta.recorded()

        spare.alpha.authorize(reference=reference)

        assert spare.beta.by_reference(reference) == []
        assert spare.beta.recorded() == before

    def test_takes_its_options_from_the_environment(self, tmp_path: Path) -> None:
        environ = os.environ | {
            "ZENTRA_SIMULATOR_STATE_DIR": str(tmp_path / "state"),
            "ZENTRA_SIMULATOR_ACQUIRER": "gamma=0,delta=0",
            "ZENTRA_SIMULATOR_SECRET": "gamma=hidden",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "zentra.simulator"], cwd=ROOT, env=environ, stdout=subprocess.PIPE
        )
        try:
            ready = json.loads(process.stdout.readline())  # type: ignore[union-attr]
            gamma = AcquirerClient(ready["acquirers"]["gamma"]["url"], "hidden")
            assert gamma.get("/v1/balances").status == 200
            assert sorted(ready["acquirers"]) == ["delta", "gamma"]
        finally:
            process.kill()
            process.communicate()

    @pytest.mark.parametrize(
        "options",
        [
            "--acquirer alpha=0",
            "--state-dir x",
            "--state-dir x --acquirer alpha",
            "--state-dir x --acquirer alpha=70000",
            "--state-dir x --acquirer alpha=1 --acquirer alpha=2",
            "--state-dir x --acquirer ../alpha=0",
            "--state-dir x --acquirer alpha=0 --secret beta=x",
            "--state-dir x --acquirer alpha=0 --callback-url ftp://host/",
            "--state-dir x --acquirer alpha=0 --late-seconds soon",
        ],
    )
    def test_refuses_unusable_options(self, options: str) -> None:
        with pytest.raises(ConfigurationError):
            read_configuration(options.split(), {})

    @pytest.mark.parametrize(
        ("options", "url"),
        [
            ("--callback-url http://host/{name}", "http://host/alpha"),
            ("--callback-url http://host/{name} --callback alpha=http://other/", "http://other/"),
        ],
    )
    def test_points_callbacks_by_name(self, options: str, url: str) -> None:
        configuration = read_configuration(["--state-dir", "x", "--acquirer", "alpha=0", *options.split()], {})

        [alpha] = configuration.acquirers
        assert alpha.callback == CallbackTarget(url=url, secret="cbk_secret_alpha")

    def test_that_fails_says_why_and_ends_with_code_2(self) -> None:
        ended = run_to_the_end("--state-dir", "/dev/null/x", "--acquirer", "alpha=0")

        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith("simulator: ")
        assert "Traceback" not in ended.stderr

    def test_refuses_a_state_directory_in_use(self, start: StartSimulator, tmp_path: Path) -> None:
        start()

        ended = run_to_the_end("--state-dir", str(tmp_path / "state"), "--acquirer", "beta=0")

        assert ended.returncode == 2
        assert "in use" in ended.stderr


class TestKill:
    def test_loses_nothing_that_was_answered(self, start: StartSimulator) -> None:
        running, reference, key = start(), new_reference(), new_reference()
        first = running.alpha.authorize(reference=reference, key=key)
        capture = running.alpha.capture(first.json["id"], 500).json
        running.alpha.control("clock", {"offset_seconds": 86_400})
        [batch] = running.alpha.control("settlement")["batches"]
        file = running.alpha.get(batch["file"]).body
        running.kill()

        alpha = start().alpha

        replay = alpha.authorize(reference=reference, key=key)
        assert (replay.body, replay.headers["Idempotent-Replay"]) == (first.body, "true")
        assert alpha.recorded() == {"authorization": 1, "capture": 1, "void": 0, "refund": 0}
        assert alpha.get(f"/v1/operations/{capture['id']}").json == capture | {"batch_id": batch["batch_id"]}
        assert alpha.get(batch["file"]).body == file
        assert alpha.get("/v1/balances").json["as_of"][:10] > capture["created_at"][:10]

    def test_amid_sixteen_writers_loses_nothing_that_was_answered(self, start: StartSimulator) -> None:
        running = start()
        answered: list[str] = []

        def write() -> None:
            while True:
                try:
                    answered.append(running.alpha.authorize(timeout=2).json["reference"])
                except Exception:
                    return

        writers = [threading.Thread(target=write) for _ in range(16)]
        for writer in writers:
            writer.start()
        time.sleep(0.4)
        running.kill()
        for writer in writers:
            writer.join(timeout=5)

        alpha = start().alpha

        assert len(answered) >= 16
        assert [reference for reference in answered if len(alpha.by_reference(reference)) != 1] == []

    def test_during_a_silent_answer_leaves_the_record(self, start: StartSimulator) -> None:
        running, reference = start(), new_reference()
        with pytest.raises(ReadTimeoutError):
            running.alpha.authorize("accept_then_timeout", reference=reference, timeout=0.4)
        running.kill()

        assert [one["status"] for one in start().alpha.by_reference(reference)] == ["authorized"]


class TestSigterm:
    def test_ends_the_process_with_code_0(self, start: StartSimulator) -> None:
        running = start()
        running.alpha.authorize()

        assert running.terminate() == 0

    def test_ends_it_though_requests_hang(self, start: StartSimulator) -> None:
        running = start()
        running.alpha.control("hang", {"seconds": None})
        with ThreadPoolExecutor() as threads:
            silent = threads.submit(lost_request, running.alpha, timeout=10)
            time.sleep(0.2)
            started = time.monotonic()

            assert running.terminate() == 0
            assert time.monotonic() - started < 3
            assert silent.result() is ProtocolError


class TestDown:
    def test_refuses_connections_and_comes_back_on_the_same_port(self, spare: Simulator) -> None:
        alpha = spare.alpha
        before, recorded = alpha.authorize().json, alpha.recorded()

        alpha.control("down", {"seconds": 0.6})

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", alpha.port), timeout=1)
        with pytest.raises(NewConnectionError):
            alpha.authorize()
        wait_until_up(alpha)
        assert alpha.get(f"/v1/operations/{before['id']}").json == before
        assert alpha.recorded() == recorded

    def test_drops_connections_that_were_open(self, spare: Simulator) -> None:
        alpha = spare.alpha
        idle = socket.create_connection(("127.0.0.1", alpha.port), timeout=2)
        time.sleep(0.1)

        alpha.control("down", {"seconds": 0.2})

        assert idle.recv(1) == b""
        idle.close()
        wait_until_up(alpha)

    def test_leaves_the_other_acquirers_up(self, spare: Simulator) -> None:
        spare.alpha.control("down", {"seconds": 0.2})

        assert spare.beta.authorize().status == 201
        wait_until_up(spare.alpha)

    @pytest.mark.parametrize("seconds", [0, -1, 3601, "1", None])
    def test_refuses_a_time_out_of_bounds(self, alpha: AcquirerClient, seconds: object) -> None:
        assert alpha.call("POST", "/_control/down", {"seconds": seconds}).status == 400
        assert alpha.authorize().status == 201


class TestHang:
    def test_accepts_and_never_answers_until_it_is_lifted(self, spare: Simulator) -> None:
        alpha, reference = spare.alpha, new_reference()
        alpha.control("hang", {"seconds": None})

        with pytest.raises(ReadTimeoutError):
            alpha.authorize(reference=reference, timeout=0.4)
        with pytest.raises(ReadTimeoutError):
            alpha.call("GET", "/v1/balances", timeout=0.4)
        alpha.control("hang", {"seconds": 0})

        assert alpha.by_reference(reference) == []
        assert alpha.authorize(reference=reference).status == 201

    def test_of_many_requests_leaves_control_and_others_answering(self, spare: Simulator) -> None:
        spare.alpha.control("hang", {"seconds": 1.5})
        with ThreadPoolExecutor(8) as threads:
            hanging = [threads.submit(lost_request, spare.alpha, timeout=1) for _ in range(8)]
            started = time.monotonic()

            counters = spare.alpha.get("/_control/counters")
            other = spare.beta.authorize()

            assert (counters.status, other.status) == (200, 201)
            assert time.monotonic() - started < 0.8
            assert {lost.result() for lost in hanging} == {ReadTimeoutError}
        spare.alpha.control("hang", {"seconds": 0})

    def test_ends_by_itself(self, spare: Simulator) -> None:
        alpha = spare.alpha
        alpha.control("hang", {"seconds": 0.2})

        time.sleep(0.3)

        assert alpha.authorize().status == 201


class TestConnections:
    def test_beyond_the_bound_are_turned_away_with_an_answer(self, spare: Simulator) -> None:
        alpha = spare.alpha
        held = [socket.create_connection(("127.0.0.1", alpha.port), timeout=5) for _ in range(256)]
        time.sleep(0.3)

        refused = socket.create_connection(("127.0.0.1", alpha.port), timeout=5)

        answer = refused.recv(4096)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"nothing_authorized":true' in answer
        for connection in [*held, refused]:
            connection.close()
        newcomer = AcquirerClient(alpha.url, alpha.secret)
        wait_until_up(newcomer)
        assert newcomer.authorize().status == 201


class TestCounters:
    def test_tell_calls_from_recorded_operations(self, start: StartSimulator) -> None:
        alpha, key, reference = start().alpha, new_reference(), new_reference()
        for _ in range(3):
            alpha.authorize(key=key, reference=reference)

        counters = alpha.get("/_control/counters").json

        assert (counters["calls"]["authorizations"], counters["calls"]["replays"]) == (3, 2)
        assert counters["operations"] == {"authorization": 1, "capture": 0, "void": 0, "refund": 0}
        assert counters["operations_by_status"] == {"authorization.authorized": 1}


def lost_request(client: AcquirerClient, *, timeout: float) -> type[Exception]:
    """Send a request that must not be answered and return how it was lost."""
    with pytest.raises((ReadTimeoutError, ProtocolError)) as lost:
        client.authorize(timeout=timeout)
    return lost.type


def run_to_the_end(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zentra.simulator", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


def wait_until_up(client: AcquirerClient) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if client.get("/healthz").status == 200:
                return
        except (NewConnectionError, ProtocolError):
            pass
        time.sleep(0.05)
    raise AssertionError("the acquirer did not come back")
