"""The web process as tests, demos and browsers see it: real gunicorn on a free port, and a client of plain HTTP."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.factories.shop import Reply, Shop

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30
STOP_SECONDS = 10


@dataclass
class WebServer:
    """A running web process."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body or None, dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def exchange(self, request: bytes) -> Reply:
        """Send bytes as they are and read one answer: for what no HTTP library would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(request)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())


@contextmanager
def web_server(environ: Mapping[str, str], *, threads: int = 16) -> Iterator[WebServer]:
    """Start the web process in an environment (see `CommittedDatabase.environment`), wait until it answers, stop it."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "python:zentra.gunicorn", "zentra.wsgi"]
    settings = {**environ, "WEB_BIND": f"127.0.0.1:{port}", "WEB_THREADS": str(threads), "WEB_WORKERS": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=False
    )
    server = WebServer(port, process)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        _stop(process)


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_until_ready(server: WebServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            status = server.call("GET", "/api/v1/payments").status
            if status == 401:
                return
            raise AssertionError(f"the web process answers {status} to a request without a key")
        except OSError:
            time.sleep(0.05)
    _stop(server.process)
    said = server.process.stderr.read().decode(errors="replace") if server.process.stderr else ""
    raise AssertionError(f"the web process did not start:\n{said[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class LiveShop(Shop):
    """A merchant's backend that calls a running web process; usable from many threads at once."""

    server: WebServer = field(kw_only=True)

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str) -> Reply:
        sent = {**self.tenant.headers, "Content-Type": "application/json", **headers}
        if key is not None:
            sent["Idempotency-Key"] = key
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.server.call(method, f"/api/v1/{path}", data, sent)
