"""Locks, private directories and bounded log files. The kernel drops a lock when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from zentra.embedded.errors import EmbeddedServiceError

LOG_LIMIT_BYTES = 8 * 1024 * 1024
POLL_SECONDS = 0.05


@contextlib.contextmanager
def exclusive(path: Path, *, timeout: float, what: str, on_wait: Callable[[], None] | None = None) -> Iterator[int]:
    """
    Hold the lock file `path` alone, and yield its descriptor.

    A child that inherits the descriptor keeps the lock after this process was killed, so that whoever comes next
    waits for an orphaned child instead of working beside it.

    :param timeout: seconds to wait for another holder
    :param what: what the other holder is doing, for the message
    :param on_wait: called once when there is another holder
    :raises EmbeddedServiceError: the other holder did not finish in time
    """
    deadline = time.monotonic() + timeout
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            while not try_lock(descriptor):
                if on_wait is not None:
                    on_wait()
                    on_wait = None
                if time.monotonic() > deadline:
                    raise EmbeddedServiceError(
                        f"Another process has been {what} for more than {timeout:.0f} s and still holds {path}.\n"
                        "Wait for it or end it, then run the command again."
                    )
                time.sleep(POLL_SECONDS)
            # The former holder may have deleted the file: then this lock guards a name that nobody else can open.
            if _is_still_named(descriptor, path):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file without waiting; False when another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def make_passable(path: Path) -> None:
    """
    Make a directory that other accounts may pass through but not list, whatever the umask; one that exists stays as is.

    :raises EmbeddedServiceError: it cannot be made here
    """
    if path.is_dir():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True)
        path.chmod(0o711)
    except OSError as problem:
        raise EmbeddedServiceError(
            f"The embedded servers cannot keep their files in {path}: {problem.strerror}.\n"
            "Set ZENTRA_STATE_DIR to a directory that you can write, or DATABASE_URL and REDIS_URL to running servers."
        ) from problem


def make_private(path: Path, *, uid: int, gid: int) -> None:
    """
    Make `path` a directory of mode 0700 that belongs to `uid`.

    :raises EmbeddedServiceError: something that belongs to somebody else is in the way
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if path.is_symlink() or not path.is_dir() or found.st_uid not in (uid, os.geteuid()):
        raise EmbeddedServiceError(
            f"{path} belongs to somebody else (user id {found.st_uid}).\n"
            "Remove it, or set ZENTRA_STATE_DIR to a directory of your own."
        )
    if (found.st_uid, found.st_gid) != (uid, gid):
        os.chown(path, uid, gid)
    path.chmod(0o700)


def start_log(path: Path, *, uid: int = -1, gid: int = -1) -> int:
    """Make sure that a log file exists, belongs to `uid` and is bounded; return its size in bytes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchown(descriptor, uid, gid)
        if os.fstat(descriptor).st_size > LOG_LIMIT_BYTES:
            os.ftruncate(descriptor, 0)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def log_since(path: Path, offset: int, *, lines: int = 12) -> str:
    """The last lines that were written to a log after `offset` bytes."""
    try:
        with path.open("rb") as log:
            log.seek(offset)
            text = log.read(LOG_LIMIT_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


@contextlib.contextmanager
def explained(home: Path) -> Iterator[None]:
    """Turn a refusal of the file system below `home` into a message that names the remedy."""
    try:
        yield
    except PermissionError as problem:
        raise EmbeddedServiceError(
            f"{problem.filename or home} belongs to another user: the embedded server of this checkout is theirs.\n"
            "Set ZENTRA_STATE_DIR to a directory of your own, or DATABASE_URL and REDIS_URL to running servers."
        ) from problem
    except OSError as problem:
        raise EmbeddedServiceError(
            f"The embedded server cannot work in {home}: {problem.strerror} ({problem.filename}).\n"
            "Set ZENTRA_STATE_DIR to a directory that you can write, or DATABASE_URL and REDIS_URL to running servers."
        ) from problem
