"""The relay as what it is: a process of its own, beside a real database, with no Celery anywhere."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from tests.conftest import CommittedDatabase, administrator
from tests.factories.tenancy import Tenant
from tests.factories.webhooks import make_endpoint, publish_one
from tests.webhooks.receiver import Receiver
from webhooks.management.commands import relay as command
from webhooks.models import Delivery, DeliveryAttempt
from webhooks.services import claims
from zentra.core.clock import SYSTEM_CLOCK


def no_broker() -> str:
    """The address of a Redis that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"redis://127.0.0.1:{closed.getsockname()[1]}/0"


def start(committed: CommittedDatabase, *options: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "django", "relay", *options],
        env={**committed.environment(), "REDIS_URL": no_broker(), "LOG_LEVEL": "INFO", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def relay(committed: CommittedDatabase, *options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = start(committed, *options, **environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def until(true: Callable[[], bool], *, seconds: float = 15.0) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, f"not within {seconds} s"
        time.sleep(0.05)


def works_on(committed: CommittedDatabase) -> bool:
    """Whether another process has looked into the database."""
    with administrator() as admin, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        found = admin.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND pid <> %s AND query LIKE %s",
            [committed.name, cursor.fetchone()[0], "%webhooks_delivery%"],
        )
        return found.fetchone() is not None


def delivered() -> int:
    return Delivery.objects.filter(state="delivered").count()


class TestInlineRelay:
    def test_delivers_without_broker_and_worker_and_ends_cleanly_on_sigterm(
        self, committed: CommittedDatabase, committed_tenant: Tenant, receiver: Receiver
    ) -> None:
        make_endpoint(committed_tenant, receiver.url)
        publish_one(committed_tenant, "pay_before")
        with relay(committed, "--inline") as process:
            receiver.wait_for(1, seconds=20)
            publish_one(committed_tenant, "pay_during")
            receiver.wait_for(2)
            until(lambda: delivered() == 2)

            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0

    def test_once_delivers_what_is_due_and_ends(
        self, committed: CommittedDatabase, committed_tenant: Tenant, receiver: Receiver
    ) -> None:
        make_endpoint(committed_tenant, receiver.url)
        publish_one(committed_tenant)

        with relay(committed, "--inline", "--once") as process:
            assert process.wait(20) == 0

        assert (len(receiver.got), delivered()) == (1, 1)

    def test_takes_over_the_deliveries_of_a_sender_that_was_killed(
        self, committed: CommittedDatabase, committed_tenant: Tenant, receiver: Receiver
    ) -> None:
        make_endpoint(committed_tenant, receiver.url)
        publish_one(committed_tenant)
        # What a killed sender leaves behind: a lease that nobody will end.
        claims.claim_due(clock=SYSTEM_CLOCK, limit=1, lease_seconds=3)

        with relay(committed, "--inline"):
            receiver.wait_for(1, seconds=20)
            until(lambda: delivered() == 1)

        assert DeliveryAttempt.objects.get().number == 1

    def test_survives_the_loss_of_its_database_connections(
        self, committed: CommittedDatabase, committed_tenant: Tenant, receiver: Receiver
    ) -> None:
        make_endpoint(committed_tenant, receiver.url)
        with relay(committed, "--inline") as process:
            publish_one(committed_tenant, "pay_1")
            receiver.wait_for(1, seconds=20)
            connection.close()
            with administrator() as admin:
                admin.execute("ALTER DATABASE " + committed.name + " ALLOW_CONNECTIONS false")
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [committed.name]
                )
                time.sleep(1.5)
                still_running = process.poll() is None
                admin.execute("ALTER DATABASE " + committed.name + " ALLOW_CONNECTIONS true")
            publish_one(committed_tenant, "pay_2")
            receiver.wait_for(2, seconds=25)

        assert still_running


class TestHintingRelay:
    def test_survives_a_broker_that_is_away_and_ends_cleanly(
        self, committed: CommittedDatabase, committed_tenant: Tenant, receiver: Receiver
    ) -> None:
        make_endpoint(committed_tenant, receiver.url)
        publish_one(committed_tenant)
        process = start(committed)
        try:
            until(lambda: works_on(committed), seconds=30)
            time.sleep(2)
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=10)
        finally:
            process.kill()

        assert process.returncode == 0
        assert receiver.got == []

    def test_hints_ever_more_rarely_and_sends_by_itself_when_nobody_does(
        self, committed_tenant: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hints: list[str] = []
        monkeypatch.setattr(command, "send_hint", lambda name, **_ids: hints.append(name))
        make_endpoint(committed_tenant)
        look = command.Look(inline=False, stop=command.threading.Event())

        look.work()
        assert hints == [], "nothing is due"
        publish_one(committed_tenant)
        after_looks = []
        for number in range(1, command.LOOKS_BEFORE_SENDING + 1):
            before = len(hints)
            look.work()
            if len(hints) > before:
                after_looks.append(number)
        assert hints[0] == "webhooks.deliver_due"
        assert after_looks == [1, 2, 4, 8]
        assert Delivery.objects.get().attempts == 0

        look.work()
        assert Delivery.objects.get().attempts == 1, "no worker took it, so the relay did"

        Delivery.objects.update(next_at=None, state="delivered", finished_at=SYSTEM_CLOCK.now())
        publish_one(committed_tenant)
        look.work()
        assert len(hints) == 5, "another delivery is hinted at once"
