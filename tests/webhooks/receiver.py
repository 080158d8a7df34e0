"""A merchant's receiver: a real HTTP server that keeps what it got and answers as told."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Answer = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Got:
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    answer: Callable[[Got], Answer] = lambda _got: (200, {}, b"ok")
    got: list[Got] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def ids(self) -> list[str]:
        return [got.headers["webhook-id"] for got in self.got]

    def wait_for(self, count: int, *, seconds: float = 10.0) -> None:
        """Until so many requests have come. Fails the test when they do not."""
        ends = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < ends, f"{len(self.got)} of {count} deliveries came within {seconds} s"
            time.sleep(0.02)

    def take(self, got: Got) -> Answer:
        with self._lock:
            self.got.append(got)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return self.answer(got)
        finally:
            with self._lock:
                self.at_once -= 1


def _handler(receiver: Receiver) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got = Got({name.lower(): value for name, value in self.headers.items()}, body)
            status, headers, answer = receiver.take(got)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_arguments: object) -> None:
        """A sender that hangs up in the middle is part of the tests."""


@contextmanager
def receiving(answer: Callable[[Got], Answer] | None = None) -> Iterator[Receiver]:
    receiver = Receiver(answer) if answer else Receiver()
    server = _Server(("127.0.0.1", 0), _handler(receiver))
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


def always(status: int, body: bytes = b"", **headers: str) -> Callable[[Got], Answer]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _got: (status, named, body)
