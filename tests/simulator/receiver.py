"""A merchant's callback receiver: keeps what arrives and fails as often as a test asks."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class CallbackReceiver:
    """Listens on a port of its own; ``received`` holds (signature, body) in order of arrival."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.failures_left = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((self.headers["X-Acquirer-Signature"], body))
                failing = receiver.failures_left > 0
                receiver.failures_left -= failing
                self.send_response(500 if failing else 204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test output quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/callbacks"

    def wait_for(self, *texts: str, copies: int = 1, seconds: float = 5.0) -> list[tuple[str, bytes]]:
        """Return the callbacks that contain the texts, waiting until there are enough of them."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            received = list(self.received)
            found = [entry for entry in received if all(text.encode() in entry[1] for text in texts)]
            if len(found) >= copies:
                return found
            time.sleep(0.02)
        raise AssertionError(f"no {copies} callbacks with {texts} in {seconds} s")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
