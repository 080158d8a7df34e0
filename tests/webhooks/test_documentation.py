from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories.tenancy import Tenant
from tests.factories.webhooks import make_endpoint, publish_one
from webhooks.models import Delivery
from webhooks.services import sending
from webhooks.services.endpoints import NewSecret
from webhooks.signing import new_secret, secret_text
from zentra.core.clock import SYSTEM_CLOCK

PAGE = Path(__file__).parent.parent.parent / "docs" / "webhooks.md"


@pytest.fixture
def registered(committed_tenant: Tenant) -> NewSecret:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return make_endpoint(committed_tenant, f"http://127.0.0.1:{port}/")


@pytest.fixture
def receiver(registered: NewSecret, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """The receiver of the page, run as it stands there."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "receiver.py").write_text(code, encoding="utf-8")
    port = registered.endpoint.url.rstrip("/").rpartition(":")[2]
    secret = getattr(request, "param", None) or registered.secret
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "receiver.py"), port],
        env={**os.environ, "WEBHOOK_SECRET": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    ends = time.monotonic() + 10
    while socket.socket().connect_ex(("127.0.0.1", int(port))):
        assert time.monotonic() < ends, "the receiver does not listen"
        time.sleep(0.05)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class TestTheReceiverOfThePage:
    def test_accepts_what_we_send_and_applies_a_repeat_once(
        self, committed_tenant: Tenant, receiver: subprocess.Popen[str]
    ) -> None:
        publish_one(committed_tenant, "pay_1")
        sending.deliver_due(clock=SYSTEM_CLOCK)
        first = Delivery.objects.get()
        Delivery.objects.filter(id=first.id).update(
            state="pending", next_at=first.created_at, finished_at=None, attempts=5
        )
        sending.deliver_due(clock=SYSTEM_CLOCK)

        assert (first.state, first.last_status) == ("delivered", 204)
        assert Delivery.objects.get().attempts == 6
        receiver.kill()
        assert receiver.stdout is not None
        assert receiver.stdout.read() == "1 payment.created pay_1\n"

    @pytest.mark.parametrize("receiver", [secret_text(new_secret())], indirect=True)
    def test_refuses_what_is_signed_with_another_secret(
        self, committed_tenant: Tenant, receiver: subprocess.Popen[str]
    ) -> None:
        publish_one(committed_tenant, "pay_1")
        sending.deliver_due(clock=SYSTEM_CLOCK)

        assert Delivery.objects.get().last_error == "status_400"
        receiver.kill()
        assert receiver.stdout is not None
        assert receiver.stdout.read() == ""
