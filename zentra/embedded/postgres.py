"""
A private PostgreSQL: one cluster per checkout, reached through a socket alone, with the two roles of the product.

Any number of processes may call `ensure_running()` at once. A lock serialises making and starting the cluster; whether
a server runs is asked of the server, because the pid file of a killed one stays behind; and a cluster is built aside
and renamed when it is whole, because `initdb` writes its version file early.

Connections are trusted: the directory of the socket is private to the account that runs the server (and to root).
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from zentra.embedded.accounts import Account, server_account
from zentra.embedded.errors import EmbeddedServiceError
from zentra.embedded.files import (
    POLL_SECONDS,
    exclusive,
    explained,
    log_since,
    make_passable,
    make_private,
    start_log,
)
from zentra.embedded.postgres_binaries import find_binaries, installed_version, major_of, usable_binaries
from zentra.embedded.types import ServerStatus

DATABASE = "zentra"
ROLES = {"app": "zentra_app", "owner": "zentra_owner", "admin": "zentra_admin"}
PORT = 5432  # names the socket file; nothing listens on the network
SERVER_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "timezone": "UTC",
    # The log is kept in the checkout: refused statements and the values of their keys do not belong in it.
    "log_min_error_statement": "fatal",
    "log_error_verbosity": "terse",
}
FIRST_STATEMENTS = f"""
CREATE ROLE {ROLES["owner"]} LOGIN CREATEDB NOSUPERUSER NOCREATEROLE NOBYPASSRLS
CREATE ROLE {ROLES["app"]} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION
CREATE DATABASE {DATABASE} OWNER {ROLES["owner"]}
""".lstrip()
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
# A socket's path has room for 104 bytes on some systems, and the file name takes 20 of them.
LONGEST_SOCKET_DIRECTORY = 80
TOOL_SECONDS = 180


class EmbeddedPostgres:
    """The private PostgreSQL below one state directory. Making the object touches nothing."""

    name = "postgres"

    def __init__(self, state_dir: Path, *, bindir: str | None = None) -> None:
        """
        :param state_dir: the state directory of the checkout
        :param bindir: ZENTRA_PG_BINDIR, if set
        """
        self._bindir = bindir
        self._state_dir = state_dir.resolve()
        self.home = _home_of(self._state_dir)
        self.data = self.home / "data"
        self.socket_dir = self.home / "socket"
        self.log = self.home / "server.log"
        if len(os.fsencode(self.socket_dir)) > LONGEST_SOCKET_DIRECTORY:
            self.socket_dir = Path("/tmp") / f"zentra-{_short_hash(self.home)}"  # noqa: S108 - private, owner checked

    def url(self, role: str) -> str:
        """
        The address for psycopg or libpq; starts nothing.

        :param role: `app` (no ownership), `owner` (migrations) or `admin` (superuser of the cluster)
        """
        return f"postgresql://{ROLES[role]}@/{DATABASE}?host={quote(str(self.socket_dir), safe='')}&port={PORT}"

    def running(self) -> bool:
        """Whether the server answers, asked of the server itself."""
        return self._ask() == "running"

    def ensure_running(self, timeout: float = 60) -> bool:
        """
        Make the cluster and start the server where needed; True when this call started it.

        :param timeout: seconds, for waiting on other starters and for the start
        :raises EmbeddedServiceError: it cannot be made or started; the message names the remedy
        """
        if self.running():
            return False
        deadline = time.monotonic() + timeout
        with explained(self.home):
            self._make_home()
            with exclusive(self.home / "lock", timeout=timeout, what="starting or stopping PostgreSQL") as lock:
                if self._wait_until_settled(deadline):
                    return False
                binaries = usable_binaries(
                    find_binaries(self._bindir), account=self._account(), copies=self.home / "binaries"
                )
                if not self.data.exists():
                    self._make_cluster(binaries, lock)
                self._check_version(binaries)
                self._start(binaries, deadline)
        return True

    def stop(self, mode: str = "fast", timeout: float = 30) -> bool:
        """
        Stop the server; True when it was running.

        :param mode: `smart`, `fast` or `immediate`, as PostgreSQL means them
        :raises EmbeddedServiceError: it did not stop in time
        """
        if not self.home.is_dir():
            return False
        with (
            explained(self.home),
            exclusive(self.home / "lock", timeout=timeout, what="starting or stopping PostgreSQL"),
        ):
            return self._stop(STOP_SIGNALS[mode], timeout)

    def remove(self, timeout: float = 30) -> bool:
        """Stop the server and delete the cluster with all its data; True when there was one."""
        if not self.home.is_dir():
            return False
        with (
            explained(self.home),
            exclusive(self.home / "lock", timeout=timeout, what="starting or stopping PostgreSQL"),
        ):
            self._stop(STOP_SIGNALS["immediate"], timeout)
            shutil.rmtree(self.socket_dir, ignore_errors=True)
            shutil.rmtree(self.home)
            if self.home.parent != self._state_dir:
                shutil.rmtree(self.home.parent)
        return True

    def status(self) -> ServerStatus:
        """What there is and whether it runs; starts nothing."""
        version = ""
        if self.home.is_dir() and not os.access(self.home, os.W_OK | os.X_OK):
            state = "not accessible"
        elif not (self.data / "PG_VERSION").exists():
            state = "not created"
        else:
            state = self._ask()
            version = (self.data / "PG_VERSION").read_text().strip()
        return ServerStatus(self.name, state, version, str(self.socket_dir), str(self.home))

    def _account(self) -> Account:
        return server_account(self.data)

    def _ask(self) -> str:
        """`running`, `starting` (or shutting down) or `stopped`."""
        if not self.socket_dir.is_dir():
            return "stopped"
        from psycopg import conninfo, pq

        address = conninfo.make_conninfo(
            host=str(self.socket_dir), port=PORT, user=ROLES["app"], dbname=DATABASE, connect_timeout=3
        )
        answer = pq.PGconn.ping(address.encode())
        if answer == pq.Ping.OK:
            return "running"
        return "starting" if answer == pq.Ping.REJECT else "stopped"

    def _wait_until_settled(self, deadline: float) -> bool:
        """Let a start or a shutdown in progress end; True when the server then runs."""
        while (state := self._ask()) == "starting" and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return state == "running"

    def _make_home(self) -> None:
        usual = self._state_dir / "postgres" / "data"
        if self.home.parent != self._state_dir and usual.is_dir() and not self.data.is_dir():
            raise EmbeddedServiceError(
                f"The data in {usual} can no longer be reached by the account that PostgreSQL runs under.\n"
                "Open the directories above it again (chmod o+x), or delete it to begin anew elsewhere."
            )
        make_passable(self.home.parent)
        if self.home.parent != self._state_dir:
            (self.home.parent / "origin").write_text(f"PostgreSQL of {self._state_dir}\n")
        make_passable(self.home)
        account = self._account()
        make_private(self.socket_dir, uid=account.uid, gid=account.gid)

    def _make_cluster(self, binaries: Path, lock: int) -> None:
        """
        Build a cluster with its roles and its database in a side directory, and rename it when it is whole.

        The programs inherit the lock: when this process is killed, the next starter waits for them to end.
        """
        for left in self.home.glob("init-*"):
            shutil.rmtree(left)
        account = self._account()
        aside = self.home / f"init-{os.getpid()}"
        make_private(aside, uid=account.uid, gid=account.gid)
        major = major_of(installed_version(binaries))
        # Byte order in every version, and from 17 on letters of all scripts have their upper and lower case.
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else []
        initdb = [
            str(binaries / "initdb"),
            "-D",
            str(aside),
            "-U",
            ROLES["admin"],
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        self._run([*initdb, "--locale=C", *locale, "--no-instructions"], lock=lock)
        single = [str(binaries / "postgres"), "--single", "-D", str(aside), "-c", "exit_on_error=on"]
        self._run([*single, "postgres"], lock=lock, typed=FIRST_STATEMENTS)
        aside.rename(self.data)

    def _check_version(self, binaries: Path) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        version = installed_version(binaries)
        if major_of(made_by) != major_of(version):
            raise EmbeddedServiceError(
                f"The data in {self.data} was made by PostgreSQL {made_by}; the programs in {binaries} are {version}.\n"
                f"Set ZENTRA_PG_BINDIR to the programs of PostgreSQL {made_by}, or delete the embedded data with "
                "`manage.py services reset`."
            )

    def _start(self, binaries: Path, deadline: float) -> None:
        """Start the server; after a kill its orphaned children and its lock files may be in the way for a moment."""
        account = self._account()
        settings = {**SERVER_SETTINGS, "unix_socket_directories": f'"{self.socket_dir}"'}
        options = shlex.join(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        start = [str(binaries / "pg_ctl"), "-D", str(self.data), "-l", str(self.log), "-s", "-w"]
        if set(str(self.data)) & set('"$`\\\n'):
            raise EmbeddedServiceError(
                f"PostgreSQL cannot be started in {self.data}: the path holds a quote, a dollar sign or a backslash.\n"
                "Set ZENTRA_STATE_DIR to a directory with a plainer name."
            )
        while True:
            offset = start_log(self.log, uid=account.uid, gid=account.gid)
            try:
                seconds = max(1, round(deadline - time.monotonic()))
                self._run([*start, "-t", str(seconds), "-o", f"{options} -p {PORT}", "start"])
            except EmbeddedServiceError as problem:
                if self._wait_until_settled(deadline):
                    return  # a long recovery, or the child of a killed starter came first
                written = log_since(self.log, offset)
                passing = "lock file" in written or "shared memory block" in written
                if not passing or time.monotonic() > deadline:
                    raise EmbeddedServiceError(f"{problem}\n{written}".rstrip()) from None
                self._remove_stale_lock_files()
                time.sleep(POLL_SECONDS * 2)
            else:
                return

    def _remove_stale_lock_files(self) -> None:
        """
        Remove lock files whose process is gone, not yet reaped, or somebody else's by now.

        PostgreSQL looks only at whether such a process exists. Children of the dead server still keep a new one out:
        it finds their shared memory by the data directory.
        """
        if self._live_postmaster() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            (self.socket_dir / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)

    def _live_postmaster(self) -> int | None:
        """The process that serves our data directory, recognised by its command line, which a zombie has not."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if pid > 0 and os.fsencode(self.data) in _command_line(pid) else None

    def _stop(self, how: signal.Signals, timeout: float) -> bool:
        pid = self._live_postmaster()
        if pid is None:
            return False
        deadline = time.monotonic() + timeout
        os.kill(pid, how)
        while self._live_postmaster() == pid:
            if time.monotonic() > deadline:
                raise EmbeddedServiceError(
                    f"PostgreSQL (process {pid}) did not stop within {timeout:.0f} s; see {self.log}.\n"
                    "End the programs that use it, then run the command again."
                )
            time.sleep(POLL_SECONDS)
        return True

    def _run(self, command: list[str], *, lock: int | None = None, typed: str = "") -> None:
        """
        Run one of PostgreSQL's programs under its account.

        Its output goes to a file and never to a pipe, which the server would hold open; nothing of our environment
        reaches it, because PGPORT, PGDATA and their like would change what it does.
        """
        log = self.home / "tool.log"
        offset = start_log(log)
        with log.open("ab") as output:
            try:
                done = subprocess.run(
                    command,
                    input=typed.encode(),
                    stdout=output,
                    stderr=output,
                    env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                    cwd="/",
                    start_new_session=True,
                    pass_fds=() if lock is None else (lock,),
                    timeout=TOOL_SECONDS,
                    check=False,
                    **self._account().spawn_options(),
                )
                outcome = f"failed with exit code {done.returncode}" if done.returncode else ""
            except subprocess.TimeoutExpired:
                outcome = f"did not end within {TOOL_SECONDS} s"
        if outcome:
            raise EmbeddedServiceError(
                f"{Path(command[0]).name} {outcome}; see {log} and {self.log}.\n{log_since(log, offset)}".rstrip()
            )


def _home_of(state_dir: Path) -> Path:
    """
    Where the cluster lives: in the state directory, or for root, where the server's account cannot get there (a home
    with mode 0700), in a directory of /var/lib named after the state directory. Once made there it stays there.
    """
    usual = state_dir / "postgres"
    if os.geteuid() != 0:
        return usual
    elsewhere = Path("/var/lib") / f"zentra-{_short_hash(state_dir)}" / "postgres"
    reachable = server_account(usual / "data").can_reach(usual / "data" / "PG_VERSION")
    return usual if reachable and not elsewhere.is_dir() else elsewhere


def _short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _command_line(pid: int) -> bytes:
    """The command line of a process; empty when there is none, or nothing but an unreaped rest of one."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return b""
    answer = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, timeout=10, check=False
    )
    return answer.stdout
