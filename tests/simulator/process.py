"""The simulator as the tests see it: a real process and a plain HTTP client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 20


@dataclass(frozen=True)
class Reply:
    """One HTTP answer."""

    status: int
    headers: urllib3.HTTPHeaderDict
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error document."""
        return self.json["error"]["code"]


class AcquirerClient:
    """Calls one acquirer the way a platform would, with fresh references and keys unless a test names them."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url
        self.port = int(url.rsplit(":", 1)[1])
        self.secret = secret
        self.pool = urllib3.PoolManager(maxsize=20, retries=False)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        secret: str | None = None,
        timeout: float = 10.0,
    ) -> Reply:
        headers = {"Authorization": f"Bearer {self.secret if secret is None else secret}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        answer = self.pool.request(method, self.url + path, body=body, headers=headers, timeout=timeout, redirect=False)
        return Reply(status=answer.status, headers=answer.headers, body=answer.data)

    def get(self, path: str) -> Reply:
        return self.call("GET", path)

    def control(self, action: str, body: Any = None) -> Any:
        reply = self.call("POST", f"/_control/{action}", body or {})
        assert reply.status == 200, reply
        return reply.json

    def authorize(self, card: str = "approved", *, key: str | None = None, **changes: Any) -> Reply:
        timeout = changes.pop("timeout", 10.0)
        body = {
            "reference": new_reference(),
            "amount_minor": 12_500,
            "currency": "EUR",
            "payment_token": f"tok_sandbox_{card}",
            "capture": False,
            "merchant_reference": "order-1",
        } | changes
        return self.call("POST", "/v1/authorizations", body, key=key or new_reference(), timeout=timeout)

    def capture(self, authorization_id: str, amount_minor: int = 12_500, **changes: Any) -> Reply:
        key, timeout = changes.pop("key", new_reference()), changes.pop("timeout", 10.0)
        body = {"reference": new_reference(), "amount_minor": amount_minor, "currency": "EUR"} | changes
        path = f"/v1/authorizations/{authorization_id}/captures"
        return self.call("POST", path, body, key=key, timeout=timeout)

    def refund(self, authorization_id: str, amount_minor: int, **changes: Any) -> Reply:
        key, timeout = changes.pop("key", new_reference()), changes.pop("timeout", 10.0)
        body = {
            "reference": new_reference(),
            "authorization_id": authorization_id,
            "amount_minor": amount_minor,
            "currency": "EUR",
        } | changes
        return self.call("POST", "/v1/refunds", body, key=key, timeout=timeout)

    def void(self, authorization_id: str) -> Reply:
        path = f"/v1/authorizations/{authorization_id}/void"
        return self.call("POST", path, {"reference": new_reference()}, key=new_reference())

    def captured(self, amount_minor: int = 12_500, *, card: str = "approved", currency: str = "EUR") -> Any:
        """Authorize and capture in full; return the document of the capture."""
        authorization = self.authorize(card, amount_minor=amount_minor, currency=currency).json
        reply = self.capture(authorization["id"], amount_minor, currency=currency)
        assert reply.status == 201, reply
        return reply.json

    def by_reference(self, reference: str) -> list[Any]:
        reply = self.get(f"/v1/operations?reference={reference}")
        return reply.json["operations"] if reply.status == 200 else []

    def recorded(self) -> dict[str, int]:
        return self.get("/_control/counters").json["operations"]


class Simulator:
    """The simulator process on ports of its own choice."""

    def __init__(self, state_dir: Path, *options: str, acquirers: tuple[str, ...] = ("alpha=0", "beta=0")) -> None:
        command = [sys.executable, "-m", "zentra.simulator", "--state-dir", str(state_dir), *options]
        for acquirer in acquirers:
            command += ["--acquirer", acquirer]
        environ = {name: value for name, value in os.environ.items() if "ZENTRA" not in name}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        self.ready = json.loads(self.process.stdout.readline())
        self.clients = {
            name: AcquirerClient(acquirer["url"], f"acq_secret_{name}")
            for name, acquirer in self.ready["acquirers"].items()
        }

    @property
    def alpha(self) -> AcquirerClient:
        return self.clients["alpha"]

    @property
    def beta(self) -> AcquirerClient:
        return self.clients["beta"]

    def kill(self) -> None:
        self.process.kill()
        self._reap()

    def terminate(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> int:
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(timeout=START_SECONDS)


def new_reference() -> str:
    return uuid.uuid4().hex
