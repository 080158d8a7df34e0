"""Real servers in directories of their own. Nothing here needs Django, a running database or the network."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zentra.embedded.postgres import EmbeddedPostgres
from zentra.embedded.valkey import EmbeddedValkey

ROOT = Path(__file__).resolve().parents[2]
# An external server or another directory named by the caller's shell must not reach these tests.
OURS = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "ZENTRA_", "PIP_", "PYTHON", "DJANGO_")


def clean_environ(**extra: str) -> dict[str, str]:
    """The environment of a child process, without what would turn it to other servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)} | extra


def make_state_dir() -> Path:
    """A short path (a socket must fit) that an unprivileged account may pass through."""
    path = Path(tempfile.mkdtemp(prefix="zt-"))
    path.chmod(0o755)
    return path


def remove_state_dir(path: Path) -> None:
    for server in (EmbeddedPostgres(path), EmbeddedValkey(path)):
        server.remove()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def state_dir() -> Iterator[Path]:
    path = make_state_dir()
    yield path
    remove_state_dir(path)


@pytest.fixture(scope="module")
def shared_state_dir() -> Iterator[Path]:
    path = make_state_dir()
    yield path
    remove_state_dir(path)


@pytest.fixture
def start_in_background() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `ensure_running` of a server class in another process, which prints what it returned."""
    children: list[subprocess.Popen[str]] = []

    def start(server: type, state_dir: Path, **extra: str) -> subprocess.Popen[str]:
        code = (
            f"from pathlib import Path; from {server.__module__} import {server.__name__} as Server;"
            f"print(Server(Path({str(state_dir)!r})).ensure_running())"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=clean_environ(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.communicate()


def processes_with(text: str) -> list[int]:
    """The processes on whose command line `text` occurs."""
    listing = subprocess.run(["ps", "-ww", "-A", "-o", "pid=,command="], capture_output=True, text=True, check=True)
    rows = (line.split(None, 1) for line in listing.stdout.splitlines())
    return [int(pid) for pid, command in rows if text in command]
