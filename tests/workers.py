"""The background processes as tests see them: a Celery worker and the relay, for as long as a block."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 15


@contextmanager
def _running(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


@contextmanager
def celery_worker(environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with two processes, as in production."""
    options = ["worker", "--loglevel", "WARNING", "--concurrency", "2", "--without-gossip", "--without-mingle"]
    with _running([sys.executable, "-m", "celery", "-A", "zentra.celery", *options], environment) as child:
        yield child


@contextmanager
def relay(environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The relay, which hints the worker about due deliveries."""
    with _running([sys.executable, "manage.py", "relay"], environment) as child:
        yield child
