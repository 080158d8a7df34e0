"""Installing the pinned packages with pip, with progress, and with an explanation when it fails."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from zentra.embedded.errors import EmbeddedServiceError
from zentra.embedded.files import log_since

# Settings of pip that would send the packages somewhere else than into the environment.
MISLEADING_VARIABLES = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_DRY_RUN", "PYTHONHOME")
TICK_SECONDS = 0.5
NO_NETWORK = (
    "Failed to establish a new connection",
    "Name or service not known",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "Connection refused",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
)


def install_packages(python: Path, *, lock_file: Path, total: int, log: Path, keep_open: int) -> None:
    """
    Install what `lock_file` pins, hashes required, into the environment of `python`.

    :param total: how many packages that is, for the progress
    :param log: receives pip's output
    :param keep_open: a descriptor that pip inherits: a lock that lasts until an orphaned pip has ended
    :raises EmbeddedServiceError: pip failed; the message has the end of its output and a remedy
    """
    command = [
        str(python),
        "-m",
        "pip",
        "--no-input",
        "--disable-pip-version-check",
        "--retries",
        "2",
        "install",
    ]
    command += ["--require-hashes", "--progress-bar", "off", "-r", str(lock_file)]
    environ = {name: value for name, value in os.environ.items() if name not in MISLEADING_VARIABLES}
    environ["PYTHONUNBUFFERED"] = "1"
    there_before = _packages_beside(python)
    fetching = Progress(f"[2/3] fetching {total} pinned packages", total, sys.stderr)
    unpacking = Progress(f"[3/3] installing {total} packages", total, sys.stderr)
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            pass_fds=(keep_open,),
        ) as pip,
    ):
        fetched, current = 0, fetching
        current.show(0)
        for line in _lines_with_ticks(pip):
            output.write(line)
            output.flush()
            fetched += line.startswith((b"Collecting ", b"Requirement already satisfied: "))
            if line.startswith(b"Installing collected packages"):
                fetching.finish()
                current = unpacking
            current.show(fetched if current is fetching else _packages_beside(python) - there_before)
        current.finish(done=pip.wait() == 0)
    if pip.returncode != 0:
        raise EmbeddedServiceError(_explain(log))


def _lines_with_ticks(pip: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """The lines that pip prints, and an empty one whenever it says nothing for a moment."""
    assert pip.stdout is not None  # noqa: S101 - it was opened as a pipe above
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pip.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(TICK_SECONDS):
                yield b""
                continue
            chunk = os.read(pip.stdout.fileno(), 65536)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line + b"\n" for line in lines)
    yield rest


def _packages_beside(python: Path) -> int:
    """How many packages lie in the environment of `python` by now."""
    return sum(1 for _ in python.parent.parent.glob("lib/python3.*/site-packages/*.dist-info"))


class Progress:
    """One line that counts: rewritten in place on a terminal, and repeated four times elsewhere."""

    def __init__(self, label: str, total: int, stream: TextIO) -> None:
        self._label, self._total, self._stream = label, total, stream
        self._terminal = stream.isatty()
        self._shown = -1

    def show(self, count: int) -> None:
        """Say how many are done, where that is news."""
        count = min(max(count, 0), self._total)
        step = 1 if self._terminal else max(self._total // 4, 1)
        is_news = count // step > self._shown // step or count == self._total
        if self._shown >= 0 and (count <= self._shown or not is_news):
            return
        self._shown = count
        start, end = ("\r", "") if self._terminal else ("", "\n")
        self._stream.write(f"{start}{self._label} ... {count}/{self._total}{end}")
        self._stream.flush()

    def finish(self, *, done: bool = True) -> None:
        """End the line, with the full count when everything went well."""
        if done:
            self.show(self._total)
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()


def _explain(log: Path) -> str:
    """What pip said at the end, where the rest is, and what to do about it."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if "DO NOT MATCH THE HASHES" in text or "Hashes are required" in text:
        remedy = (
            "A package is not the one that requirements.lock pins, by its hash. Do not use it: look at the mirror or "
            "proxy it came from, and at the origin of this checkout."
        )
    elif any(sign in text for sign in NO_NETWORK):
        remedy = (
            "The package index could not be reached. Connect to the network, or name a mirror (PIP_INDEX_URL), a proxy "
            "(PIP_PROXY) or a directory of packages (PIP_FIND_LINKS), and run the same command again."
        )
    elif "No space left" in text:
        remedy = "The disk is full: the environment needs about 500 MB. Make room, or set ZENTRA_VENV to another disk."
    elif "No matching distribution" in text:
        remedy = (
            f"The index has no such package for Python {sys.version_info[0]}.{sys.version_info[1]} on this system. "
            "Try Python 3.12, or look at the mirror that pip is set to use."
        )
    else:
        remedy = "Mend what it names and run the same command again."
    return f"The packages could not be installed. The end of pip's output ({log}):\n{log_since(log, 0)}\n{remedy}"
