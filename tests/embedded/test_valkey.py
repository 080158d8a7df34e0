"""The private Valkey: real servers, real kills."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from redis import Redis

from tests.embedded.conftest import processes_with
from zentra.embedded.errors import EmbeddedServiceError
from zentra.embedded.valkey import EmbeddedValkey


@pytest.fixture
def server(state_dir: Path) -> EmbeddedValkey:
    started = EmbeddedValkey(state_dir)
    assert started.ensure_running() is True
    return started


def client_of(server: EmbeddedValkey) -> Redis:
    return Redis.from_url(server.url(), decode_responses=True)


def pid_of(server: EmbeddedValkey) -> int:
    return int((server.home / "server.pid").read_text())


class TestStarting:
    def test_a_second_start_finds_the_server_and_does_not_take_over(self, server):
        first = client_of(server).info("server")["run_id"]

        assert server.ensure_running() is False
        assert client_of(server).info("server")["run_id"] == first
        assert server.status().state == "running"

    def test_four_starts_at_once_start_exactly_one_server(self, state_dir, start_in_background):
        starters = [start_in_background(EmbeddedValkey, state_dir) for _ in range(4)]

        answers = sorted(starter.communicate(timeout=30)[0].strip() for starter in starters)

        server = EmbeddedValkey(state_dir)
        assert answers == ["False", "False", "False", "True"]
        assert processes_with(str(server.socket)) == [pid_of(server)]

    def test_a_server_that_does_not_answer_is_not_pushed_aside(self, server):
        client_of(server).set("kept", "yes")
        os.kill(pid_of(server), signal.SIGSTOP)
        try:
            with pytest.raises(EmbeddedServiceError, match="does not answer"):
                server.ensure_running(timeout=0.5)
            assert processes_with(str(server.socket)) == [pid_of(server)]
        finally:
            os.kill(pid_of(server), signal.SIGCONT)

        assert client_of(server).get("kept") == "yes"

    def test_writes_everything_down_and_refuses_to_forget_under_memory_pressure(self, server):
        settings = client_of(server).config_get("append*", "maxmemory-policy", "port", "unixsocketperm")

        assert settings["appendonly"] == "yes"
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["port"] == "0"
        assert settings["unixsocketperm"] == "700"

    def test_says_what_to_do_where_there_is_no_program(self, state_dir):
        with pytest.raises(EmbeddedServiceError, match=r"no Valkey server program at /nonexistent(.|\n)*REDIS_URL"):
            EmbeddedValkey(state_dir, binary="/nonexistent").ensure_running()

    def test_shows_the_end_of_the_log_where_the_server_ends_at_once(self, state_dir):
        server = EmbeddedValkey(state_dir, binary="/bin/false")

        with pytest.raises(EmbeddedServiceError, match=r"failed with exit code 1; see .*server\.log"):
            server.ensure_running(timeout=5)


class TestRecovering:
    def test_a_killed_server_is_replaced_with_its_data(self, server):
        client_of(server).set("kept", "yes")
        os.kill(pid_of(server), signal.SIGKILL)

        assert server.ensure_running() is True
        assert client_of(server).get("kept") == "yes"

    def test_a_write_cut_off_in_the_middle_costs_that_write_alone(self, server):
        client = client_of(server)
        client.set("first", "whole")
        client.set("last", "cut off")
        os.kill(pid_of(server), signal.SIGKILL)
        (log,) = (server.home / "data").glob("appendonlydir/*.incr.aof")
        os.truncate(log, log.stat().st_size - 3)

        assert server.ensure_running() is True
        assert client_of(server).mget("first", "last") == ["whole", None]

    def test_damaged_data_is_reported_with_the_remedy_and_kept(self, server):
        client_of(server).set("first", "whole")
        server.stop()
        (log,) = (server.home / "data").glob("appendonlydir/*.incr.aof")
        log.write_bytes(b"*3\r\nnonsense\r\n" + log.read_bytes())
        damaged = log.read_bytes()

        with pytest.raises(EmbeddedServiceError, match=r"ended while it started(.|\n)*services reset"):
            server.ensure_running()

        assert log.read_bytes() == damaged


class TestStopping:
    def test_keeps_the_data_and_ends_the_process(self, server):
        client_of(server).set("kept", "yes")
        pid = pid_of(server)

        assert server.stop() is True
        assert server.stop() is False
        assert pid not in processes_with(str(server.socket))
        assert server.status().state == "stopped"

        assert server.ensure_running() is True
        assert client_of(server).get("kept") == "yes"

    def test_removing_leaves_no_file_and_no_process(self, server):
        assert server.remove() is True

        assert not server.home.exists()
        assert processes_with(str(server.socket)) == []
        assert server.remove() is False
        assert server.status().state == "not created"
