"""Outgoing HTTP: the only client of the project, for provider calls and webhook deliveries alike.

It answers one question that money depends on: **can the peer have received any byte of this request?**
``NotSent`` says no and nothing else says no. Every call opens a connection of its own (docs/decisions/0021),
so an idle connection that the peer closed can never blur the answer.

It also refuses to be turned against a network: a host is resolved once, every address of the answer is
checked, the connection goes to a checked address while Host, SNI and the certificate name stay those of the
URL, redirects are answers and not followed, proxies of the environment are ignored, the answer is capped, and
one monotonic deadline runs over resolving, connecting, sending and every single read, so that a dripping peer
holds nobody.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from urllib3.connection import HTTPConnection
from urllib3.response import BaseHTTPResponse

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL_LENGTH = 2048
MAX_ADDRESSES_TRIED = 4
#: Room for the status line and headers, above the cap on the body.
MAX_HEADER_BYTES = 64 * 1024
_READ_BYTES = 16 * 1024
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110 §5.6.2
_RESERVED_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "expect", "upgrade", "te"}
)

# The special-purpose registries (RFC 6890, RFC 8190 and IANA's later entries) and every form that carries an
# IPv4 address inside IPv6: `ipaddress` calls several of them global, and which ones depends on the Python
# version.
_REFUSED_NETWORKS: tuple[IpNetwork, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's host agent on a public address
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete answer. Header names are lower case; a repeated header is joined with ', '."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_ms: int


class HttpFailure(Exception):
    """No complete answer. ``kind`` is a stable word for logs and delivery records; nothing secret is in it."""

    meaning: ClassVar[str] = "the call failed"

    def __init__(self, kind: str, *, elapsed_ms: int = 0) -> None:
        self.kind = kind
        self.elapsed_ms = elapsed_ms
        super().__init__(f"{self.meaning}: {kind}")


class NotSent(HttpFailure):
    """No byte of the request can have reached the peer.

    Kinds: invalid_request, address_refused, dns_failed, dns_timeout, connect_refused, connect_timeout,
    connect_failed, tls_failed.
    """

    meaning = "nothing was sent"


class AddressRefused(NotSent):
    """The URL, or an address that its host resolves to, is not one that the platform calls."""

    def __init__(self, reason: str, *, elapsed_ms: int = 0) -> None:
        self.reason = reason
        super().__init__("address_refused", elapsed_ms=elapsed_ms)


class NoAnswer(HttpFailure):
    """Sending began and no status came back: the peer may or may not have acted. Kinds: deadline,
    connection_lost.
    """

    meaning = "sent, and no answer came"


class UnreadableAnswer(HttpFailure):
    """The peer answered something that is not a complete HTTP answer; it has most likely acted.

    :param status: the status code, where one was read. Kinds: malformed, truncated, deadline, too_large
    """

    meaning = "the answer cannot be read"

    def __init__(self, kind: str, *, status: int | None = None, elapsed_ms: int = 0) -> None:
        self.status = status
        super().__init__(kind, elapsed_ms=elapsed_ms)


class AnswerTooLarge(UnreadableAnswer):
    """The answer is larger than the caller takes. ``body`` is its beginning, up to the cap."""

    def __init__(self, *, status: int | None, headers: Mapping[str, str], body: bytes, elapsed_ms: int = 0) -> None:
        self.headers = headers
        self.body = body
        super().__init__("too_large", status=status, elapsed_ms=elapsed_ms)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart once; nothing reads the URL text again. ``path`` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


def send(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    connect_timeout_seconds: float,
    total_deadline_seconds: float,
    max_response_bytes: int,
    allow_private: Iterable[str] | None = None,
) -> HttpAnswer:
    """Make one request on one fresh connection and read the whole answer. Safe to call from many threads.

    Never call it with a database transaction open (`zentra.core.db.release_connection` first).

    :param headers: without Host, Content-Length and the other headers that frame the message
    :param connect_timeout_seconds: for resolving, connecting and the TLS handshake together
    :param total_deadline_seconds: for everything, measured on a monotonic clock
    :param max_response_bytes: cap on the body as it comes over the wire (no content coding is asked for)
    :param allow_private: networks in CIDR form that may be reached although they are not public; left out,
        those of ``settings.OUTGOING_ALLOWED_NETWORKS``
    :raises NotSent: no byte of the request can have reached the peer (AddressRefused: the target is not
        allowed)
    :raises NoAnswer: sending began and no status was read
    :raises UnreadableAnswer: a status or part of one was read, and then nothing usable (AnswerTooLarge: over
        the cap)
    """
    started = time.monotonic()
    call = _Call(started=started, deadline=started + total_deadline_seconds)
    try:
        target = parse_target(url)
        lines = _request_headers(target, headers)
        networks = allowed_networks(allow_private)
        connect_by = min(call.deadline, started + connect_timeout_seconds)
        wire = _Wire(_connect(target, networks, connect_by), call.deadline, max_response_bytes + MAX_HEADER_BYTES)
    except NotSent as failure:
        failure.elapsed_ms = call.elapsed_ms()
        raise
    try:
        return _exchange(call, wire, target, method, lines, body, max_response_bytes)
    finally:
        wire.hang_up()


def parse_target(url: str) -> Target:
    """Take a URL apart, strictly: http or https, a plain ASCII host, no user, no fragment, a usable port.

    :raises AddressRefused: anything that two readers might understand differently
    """
    if len(url) > MAX_URL_LENGTH or not all("!" <= character <= "~" for character in url) or "\\" in url:
        raise AddressRefused("the URL is too long, or has characters other than printable ASCII")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise AddressRefused("the URL cannot be parsed") from None
    if parts.scheme not in ("http", "https"):
        raise AddressRefused("the scheme is not http or https")
    if "@" in parts.netloc:
        raise AddressRefused("the URL names a user")
    if "#" in url:
        raise AddressRefused("the URL has a fragment")
    if not host or host.strip(".") == "" or set("%[]<>^`{|}\"'(),;*$&!=+") & set(host):
        raise AddressRefused("the host is missing or malformed")
    if port is None:
        port = {"http": 80, "https": 443}[parts.scheme]
    if port == 0:
        raise AddressRefused("port 0")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(scheme=parts.scheme, host=host, port=port, path=path)


def resolve_checked(target: Target, networks: tuple[IpNetwork, ...], *, timeout_seconds: float) -> list[Any]:
    """Resolve a target once; every address of the answer must be allowed.

    :returns: `socket.getaddrinfo` entries, in the resolver's order
    :raises AddressRefused: one address is not allowed, or there is none
    :raises NotSent: the name does not resolve, or not in time
    """
    entries = _lookup(target.host, target.port, timeout_seconds)
    for entry in entries:
        if not address_allowed(str(entry[4][0]), networks):
            raise AddressRefused("the host has an address outside the public internet")
    if not entries:
        raise AddressRefused("the host has no address")
    return entries


def address_allowed(text: str, networks: tuple[IpNetwork, ...]) -> bool:
    """Whether the platform may call an IP address: a public unicast one, or one inside the operator's
    networks.
    """
    try:
        address = unwrapped_address(text)
    except ValueError:
        return False
    if in_networks(address, networks):
        return True
    special = address.is_multicast or address.is_reserved or getattr(address, "is_site_local", False)
    return address.is_global and not special and not in_networks(address, _REFUSED_NETWORKS)


def unwrapped_address(text: str) -> IpAddress:
    """The address, an IPv4 one where the text is its IPv6-mapped form (RFC 4291 §2.5.5.2). :raises
    ValueError:
    """
    address = ipaddress.ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def in_networks(address: IpAddress, networks: Iterable[IpNetwork]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def allowed_networks(texts: Iterable[str] | None = None) -> tuple[IpNetwork, ...]:
    """The operator's networks, parsed; without an argument those of the settings. :raises ValueError: not
    CIDR
    """
    return _parse_networks(tuple(settings.OUTGOING_ALLOWED_NETWORKS if texts is None else texts))


@lru_cache(maxsize=16)
def _parse_networks(texts: tuple[str, ...]) -> tuple[IpNetwork, ...]:
    return tuple(ipaddress.ip_network(text.strip()) for text in texts)


@dataclass(slots=True)
class _Call:
    """The time of one call."""

    started: float
    deadline: float

    def elapsed_ms(self) -> int:
        return int((time.monotonic() - self.started) * 1000)


def _request_headers(target: Target, headers: Mapping[str, str]) -> dict[str, str]:
    """The caller's headers and ours. :raises NotSent: a header that frames the message, or text that could
    split it
    """
    for name, value in headers.items():
        well_formed = _HEADER_NAME.fullmatch(name) and value.isascii() and value.isprintable()
        if name.lower() in _RESERVED_HEADERS or not well_formed:
            raise NotSent("invalid_request")
    return {"Host": target.host_header, **headers, "Accept-Encoding": "identity", "Connection": "close"}


def _lookup(host: str, port: int, timeout_seconds: float) -> list[Any]:
    """`getaddrinfo` with an end. A resolver cannot be interrupted, so it runs aside and is left behind when
    late.

    A thread per look-up, not a pool: names that hang must not use up the look-ups of others. What is left
    behind ends by the resolver's own limit of some seconds.
    """
    found: list[Any] = []
    failed: list[BaseException] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP))
        except (OSError, UnicodeError) as error:
            failed.append(error)

    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        family = socket.AF_INET if literal.version == 4 else socket.AF_INET6
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
    thread = threading.Thread(target=look_up, name="resolve", daemon=True)
    thread.start()
    thread.join(max(timeout_seconds, 0.0))
    if thread.is_alive():
        raise NotSent("dns_timeout")
    if failed:
        raise NotSent("dns_failed")
    return found


def _connect(target: Target, networks: tuple[IpNetwork, ...], connect_by: float) -> socket.socket:
    """A connected socket (inside TLS for https) to one of the checked addresses. :raises NotSent:"""
    entries = resolve_checked(target, networks, timeout_seconds=connect_by - time.monotonic())
    connection = _connect_first(entries[:MAX_ADDRESSES_TRIED], connect_by)
    if target.scheme == "http":
        return connection
    try:
        connection.settimeout(_left(connect_by))
        return _tls_context().wrap_socket(connection, server_hostname=target.host.rstrip("."))
    except TimeoutError:
        connection.close()
        raise NotSent("connect_timeout") from None
    except (OSError, ValueError):
        # ssl.SSLError is an OSError; a server name that cannot be one is a ValueError.
        connection.close()
        raise NotSent("tls_failed") from None


def _connect_first(entries: list[Any], connect_by: float) -> socket.socket:
    """Try the addresses in turn, within one limit of time. :raises NotSent: with the last address's reason"""
    kind = "connect_failed"
    for family, kind_of_socket, protocol, _name, address in entries:
        connection: socket.socket | None = None
        try:
            connection = socket.socket(family, kind_of_socket, protocol)
            connection.settimeout(_left(connect_by))
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except TimeoutError:
            kind = "connect_timeout"
        except ConnectionRefusedError:
            kind = "connect_refused"
        except OSError:
            kind = "connect_failed"
        if connection is not None:
            connection.close()
    raise NotSent(kind)


@lru_cache(maxsize=1)
def _tls_context() -> ssl.SSLContext:
    """One verifying context for the process: loading the trust store takes far longer than a call may."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _left(until: float) -> float:
    """Seconds left. :raises TimeoutError: none (a timeout of 0 would mean "do not block" to a socket)"""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _WireLimit(Exception):
    """More bytes than any acceptable answer has."""


class _Wire(io.RawIOBase):
    """The socket as the HTTP parser sees it: each send and each receive gets only the time that is left.

    A timeout on the socket alone would start anew with every byte. It also keeps the facts that the outcome
    of the call is judged by: whether sending began, whether time ran out, and whether the peer ended the
    stream.
    """

    def __init__(self, connection: socket.socket, deadline: float, limit_bytes: int) -> None:
        self._connection = connection
        self._deadline = deadline
        self._room = limit_bytes
        self.sending_began = False
        self.timed_out = False
        self.ended = False

    def sendall(self, data: Any) -> None:
        view = memoryview(data).cast("B")
        while view:
            self._arm()
            self.sending_began = True
            try:
                view = view[self._connection.send(view) :]
            except TimeoutError:
                self.timed_out = True
                raise

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._arm()
        try:
            count = self._connection.recv_into(buffer)
        except TimeoutError:
            self.timed_out = True
            raise
        self.ended = count == 0
        self._room -= count
        if self._room < 0:
            raise _WireLimit
        return count

    def makefile(self, *_mode: Any, **_options: Any) -> io.BufferedReader:
        return io.BufferedReader(self, _READ_BYTES)

    def settimeout(self, _seconds: float | None) -> None:
        """The deadline rules; the parser's own idea of a timeout is ignored."""

    def close(self) -> None:
        """Ignored: the parser closes as soon as it has read "Connection: close", with the body still to come."""

    def hang_up(self) -> None:
        """End the connection; for its owner alone."""
        self._connection.close()

    def _arm(self) -> None:
        try:
            self._connection.settimeout(_left(self._deadline))
        except TimeoutError:
            self.timed_out = True
            raise


def _exchange(
    call: _Call,
    wire: _Wire,
    target: Target,
    method: str,
    lines: Mapping[str, str],
    body: bytes,
    max_response_bytes: int,
) -> HttpAnswer:
    """Send and read over a connected wire, and judge a failure by what the wire saw."""
    connection = HTTPConnection(target.host, target.port)
    connection.sock = wire  # type: ignore[assignment]
    response: BaseHTTPResponse | None = None
    content = bytearray()
    try:
        connection.request(method, target.path, body=body, headers=lines, preload_content=False, decode_content=False)
        response = connection.getresponse()
        if wire.ended or response.status < 200:
            # The stream ended inside the header block, or an interim status stood where the final one
            # belongs.
            raise UnreadableAnswer("truncated" if wire.ended else "malformed", status=response.status)
        _read_body(response, content, max_response_bytes)
    except Exception as error:
        raise _judged(error, call, wire, response, bytes(content[:max_response_bytes])) from error
    return HttpAnswer(response.status, _header_map(response), bytes(content), call.elapsed_ms())


def _read_body(response: BaseHTTPResponse, content: bytearray, max_response_bytes: int) -> None:
    """Append the body to ``content``. :raises _WireLimit: it is longer than the cap"""
    while chunk := response.read(_READ_BYTES):
        content += chunk
        if len(content) > max_response_bytes:
            raise _WireLimit


def _judged(
    error: Exception, call: _Call, wire: _Wire, response: BaseHTTPResponse | None, content: bytes
) -> HttpFailure:
    """The failure in the caller's terms. Only a wire that never began to send may say NotSent."""
    elapsed_ms = call.elapsed_ms()
    if isinstance(error, HttpFailure):
        error.elapsed_ms = elapsed_ms
        return error
    if not wire.sending_began:
        # The request could not be put into words (its method, path or a header), or time ran out before it.
        return NotSent("connect_timeout" if wire.timed_out else "invalid_request", elapsed_ms=elapsed_ms)
    status = response.status if response is not None else None
    if isinstance(error, _WireLimit):
        headers = _header_map(response) if response is not None else {}
        return AnswerTooLarge(status=status, headers=headers, body=content, elapsed_ms=elapsed_ms)
    if response is not None:
        kind = "deadline" if wire.timed_out else "truncated"
        return UnreadableAnswer(kind, status=status, elapsed_ms=elapsed_ms)
    if wire.timed_out:
        return NoAnswer("deadline", elapsed_ms=elapsed_ms)
    if isinstance(error, OSError):
        # RemoteDisconnected, the parser's word for an end before any status, is one of these too.
        return NoAnswer("connection_lost", elapsed_ms=elapsed_ms)
    if isinstance(error, http.client.HTTPException):
        return UnreadableAnswer("malformed", elapsed_ms=elapsed_ms)
    return NoAnswer("connection_lost", elapsed_ms=elapsed_ms)


def _header_map(response: BaseHTTPResponse) -> dict[str, str]:
    return {name.lower(): response.headers[name] for name in response.headers}
