"""
The listener of one acquirer: sockets, bounds, and the faults that only a socket can show.

A thread per connection of the standard library is enough here: a hanging request costs one sleeping thread,
their number is capped, and the process needs no web server and starts at once.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import structlog

from zentra.simulator.api import AcquirerApi
from zentra.simulator.behaviours import Delivery
from zentra.simulator.config import AcquirerConfig
from zentra.simulator.wire import Answer, Request, RequestRefusedError, error_answer

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 256 * 1024
MAX_CONNECTIONS = 256
# Above this the rest of a refused body is not even read away before the connection closes.
MAX_DRAINED_BYTES = 4 * 1024 * 1024
IDLE_SECONDS = 60.0
# How long a request without an answer keeps its connection when the client stays.
SILENCE_SECONDS = 120.0
POLL_SECONDS = 0.1
REOPEN_TRIES = 100

# Linger on, zero seconds: closing then sends RST instead of FIN.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Listener:
    """The TCP listener of one acquirer, which can be closed and reopened on the same port."""

    def __init__(self, config: AcquirerConfig, state_dir: Path) -> None:
        self._config = config
        self._address = (config.host, config.port)
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._reopening: threading.Timer | None = None
        self._closed = threading.Event()
        self.api = AcquirerApi(config, state_dir, public_url=lambda: self.public_url)
        self.api.control.go_down = self._go_down

    @property
    def port(self) -> int:
        """The port in use, also when it was chosen by the system."""
        return self._address[1]

    @property
    def public_url(self) -> str:
        """Where a browser reaches the challenge pages."""
        # Listening on every interface is not an address that a browser can go to.
        everywhere = _is_unspecified(self._config.host)
        host = "127.0.0.1" if everywhere else self._config.host
        return self._config.public_url or f"http://{host}:{self.port}"

    def open(self) -> None:
        """
        Listen and answer.

        :raises OSError: the address cannot be bound
        """
        with self._lock:
            self._open()
        self.api.callbacks.start()

    def close(self) -> None:
        """Stop listening, drop every connection, close the books."""
        self._closed.set()
        with self._lock:
            if self._reopening:
                self._reopening.cancel()
            server, self._server = self._server, None
        if server:
            server.stop(spare=None)
        self.api.close()

    def _open(self) -> None:
        server = _Server(self._address, self.api, late_seconds=self._config.late_seconds)
        self._address = (self._address[0], server.server_address[1])
        self._server = server
        threading.Thread(
            target=server.serve_forever, args=(POLL_SECONDS,), name=f"accept-{self._config.name}", daemon=True
        ).start()

    def _go_down(self, seconds: float) -> None:
        """Close the listening socket now and open it again later; connections in between are refused."""
        with self._lock:
            server, self._server = self._server, None
            if server is None:
                return
            self._reopening = threading.Timer(seconds, self._reopen)
            self._reopening.daemon = True
            self._reopening.start()
        server.stop(spare=threading.get_ident())

    def _reopen(self) -> None:
        for _ in range(REOPEN_TRIES):
            try:
                with self._lock:
                    if not self._closed.is_set():
                        self._open()
                return
            except OSError:
                # Somebody may hold the port for a moment.
                time.sleep(POLL_SECONDS)
        log.error("listener_not_reopened", acquirer=self._config.name, port=self.port)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], api: AcquirerApi, *, late_seconds: float) -> None:
        self.api = api
        self.late_seconds = late_seconds
        self.stopping = threading.Event()
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._connections: dict[socket.socket, int] = {}
        self._tracking = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The base class asks the name service for the host's name, which can take seconds, for nothing.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = (str(self.server_address[0]), int(self.server_address[1]))

    def stop(self, *, spare: int | None) -> None:
        """Stop accepting, close the listening socket, drop all connections but the one of thread ``spare``."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._tracking:
            dropped = [connection for connection, thread in self._connections.items() if thread != spare]
        for connection in dropped:
            _quietly_shut(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            _refuse_connection(request)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._tracking:
            self._connections[request] = threading.get_ident()
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._tracking:
                self._connections.pop(request, None)
            self._slots.release()

    def shutdown_request(self, request: Any) -> None:
        linger = request.fileno() != -1 and request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
        if linger == RESET_ON_CLOSE:
            # The base class would send a FIN first: the client would see an empty answer, not a reset.
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that goes away in the middle is everyday life here.
        log.debug("connection_failed", acquirer=self.api.name, error=type(sys.exception()).__name__)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "sandbox-acquirer"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    do_PUT = do_PATCH = do_DELETE = do_POST

    def _serve(self) -> None:
        try:
            request = self._read_request()
        except RequestRefusedError as refusal:
            self.close_connection = True
            self._send(refusal.answer())
            self._drain()
            return
        if self._hangs(request.path):
            self._stay_silent(while_hanging=True)
            return
        self._deliver(self.server.api.answer(request))

    def _read_request(self) -> Request:
        if self.headers.get("Transfer-Encoding"):
            raise RequestRefusedError(411, "length_required", "Send the body with a Content-Length.")
        lengths = self.headers.get_all("Content-Length", ["0"])
        if len(lengths) != 1 or not (lengths[0].isascii() and lengths[0].isdigit() and len(lengths[0]) < 16):
            raise RequestRefusedError(400, "invalid_content_length", "Content-Length must be one number.")
        length = int(lengths[0])
        if length > MAX_BODY_BYTES:
            raise RequestRefusedError(413, "payload_too_large", f"At most {MAX_BODY_BYTES} bytes are taken.")
        body = self.rfile.read(length)
        if len(body) != length:
            raise RequestRefusedError(400, "incomplete_body", "The body is shorter than its Content-Length.")
        try:
            target = urlsplit(self.path)
            query = dict(parse_qsl(target.query, max_num_fields=20))
        except ValueError:
            raise RequestRefusedError(400, "invalid_address", "The address cannot be read.") from None
        return Request(
            method=self.command,
            path=target.path,
            query=query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
        )

    def _hangs(self, path: str) -> bool:
        return self.server.api.control.hanging() and not path.startswith("/_control/") and path != "/healthz"

    def _deliver(self, answer: Answer) -> None:
        if answer.delivery is Delivery.NEVER:
            self._stay_silent(while_hanging=False)
        elif answer.delivery is Delivery.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.close_connection = True
        else:
            if answer.delivery is Delivery.LATE:
                self.server.stopping.wait(self.server.late_seconds)
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        if self.server.stopping.is_set():
            self.close_connection = True
        self.send_response(answer.status, HTTPStatus(answer.status).phrase)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def _stay_silent(self, *, while_hanging: bool) -> None:
        """Send nothing until the client leaves, the hang ends or the bound is reached; then close."""
        self.close_connection = True
        deadline = time.monotonic() + SILENCE_SECONDS
        self.connection.settimeout(POLL_SECONDS)
        while time.monotonic() < deadline and not self.server.stopping.is_set():
            if while_hanging and not self.server.api.control.hanging():
                return
            try:
                if not self.connection.recv(1, socket.MSG_PEEK):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
            self.server.stopping.wait(POLL_SECONDS)

    def _drain(self) -> None:
        """Read away a refused body: closing over unread bytes would reset and lose the answer."""
        _quietly_shut(self.connection, how=socket.SHUT_WR)
        self.connection.settimeout(2.0)
        left = MAX_DRAINED_BYTES
        try:
            while left > 0 and (chunk := self.rfile.read1(64 * 1024)):
                left -= len(chunk)
        except OSError:
            return

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing per request: calls are counted, failures are logged where they happen."""


def _refuse_connection(connection: socket.socket) -> None:
    answer = error_answer(
        503, "too_many_connections", "The simulator is full; nothing was read.", nothing_authorized=True
    )
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
    )
    try:
        connection.settimeout(POLL_SECONDS)
        connection.sendall(head.encode() + answer.body)
    except OSError:
        return


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _quietly_shut(connection: socket.socket, *, how: int = socket.SHUT_RDWR) -> None:
    try:
        connection.shutdown(how)
    except OSError:
        return
