"""One process tree: simulator, web, worker, scheduler and relay, started in order and taken down together."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

STOP_SECONDS: Final = 12
READY_SECONDS: Final = 40
_PR_SET_PDEATHSIG: Final = 1


class ProcessFailed(RuntimeError):
    """A process of the tree did not come up, or ended by itself."""


def free_port(preferred: int) -> int:
    """The preferred port of 127.0.0.1 if it is free, otherwise any free one."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ProcessFailed("no free port on 127.0.0.1")


@dataclass
class ProcessTree:
    """The running children, by name. Their output goes to one log file each under ``log_dir``."""

    log_dir: Path
    environment: Mapping[str, str]
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: list[str], **more: Any) -> subprocess.Popen[bytes]:
        """Start a child in a session of its own; it dies with this process even if that is killed (on Linux)."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        with (self.log_dir / f"{name}.log").open("ab") as log:
            more.setdefault("stdout", log)
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **more,
            )
        self.children[name] = child
        return child

    def start_announcing(self, name: str, command: list[str]) -> dict[str, Any]:
        """Start a child that prints one line of JSON when it is ready, and read that line."""
        child = self.start(name, command, stdout=subprocess.PIPE)
        assert child.stdout is not None  # noqa: S101  (given by PIPE)
        line = child.stdout.readline()
        if not line:
            raise ProcessFailed(f"{name} did not start; see {self.log_dir / name}.log")
        return json.loads(line)

    def wait_for_port(self, name: str, port: int) -> None:
        """Wait until a child accepts connections. :raises ProcessFailed: it ended, or took too long"""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self.check()
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise ProcessFailed(f"{name} does not listen on port {port}; see {self.log_dir / name}.log")

    def check(self) -> None:
        """:raises ProcessFailed: a child has ended by itself"""
        for name, child in self.children.items():
            if child.poll() is not None:
                raise ProcessFailed(f"{name} ended with code {child.returncode}; see {self.log_dir / name}.log")

    def stop(self) -> None:
        """Ask every child to end, newest first, and kill what does not."""
        for child in reversed(self.children.values()):
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in self.children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(child, signal.SIGKILL)
                child.wait()
        self.children.clear()


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    """To the whole session of a child; a worker's own children must not outlive it. Celery wants TERM once."""
    if child.poll() is not None:
        return
    if number == signal.SIGKILL:
        os.killpg(child.pid, number)
    else:
        child.send_signal(number)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
