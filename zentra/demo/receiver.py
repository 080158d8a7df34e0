"""A merchant's webhook endpoint: verifies every signature, keeps what it received once per event."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from webhooks.signing import parse_secret, verify_own


class Receiver:
    """An HTTP server on 127.0.0.1. ``secret`` is set once the endpoint is registered."""

    def __init__(self) -> None:
        self.secret = ""
        self.events: list[dict[str, Any]] = []
        self.refused = 0
        self._seen: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/webhooks"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, object_id: str, *types: str, seconds: float = 20) -> list[dict[str, Any]]:
        """The verified events of one object, once every type has arrived. :raises TimeoutError:"""
        deadline = time.monotonic() + seconds
        while True:
            found = [event for event in list(self.events) if event["object"]["id"] == object_id]
            if set(types) <= {event["type"] for event in found}:
                return sorted(found, key=lambda event: event["sequence"])
            if time.monotonic() > deadline:
                missing = sorted(set(types) - {event["type"] for event in found})
                raise TimeoutError(f"no {', '.join(missing)} for {object_id} within {seconds:.0f} s")
            time.sleep(0.05)

    def _accept(self, headers: Any, body: bytes) -> int:
        header = headers.get("x-zentra-signature", "")
        if not verify_own(header=header, body=body, secrets=[parse_secret(self.secret)], now=int(time.time())):
            self.refused += 1
            return 400
        event = json.loads(body)
        if event["id"] not in self._seen:
            self._seen.add(event["id"])
            self.events.append(event)
        return 204

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                status = receiver._accept(self.headers, body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                return

        return Handler
