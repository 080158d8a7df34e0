from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.core.raw_server import make_certificate, says, serving
from zentra.core import http

LOOPBACK = ("127.0.0.1/32",)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def send(url: str, **changes: Any) -> http.HttpAnswer:
    arguments: dict[str, Any] = {
        "method": "POST",
        "url": url,
        "headers": {"content-type": "application/json"},
        "body": b'{"amount_minor":125000}',
        "connect_timeout_seconds": 1.0,
        "total_deadline_seconds": 1.0,
        "max_response_bytes": 1024,
        "allow_private": LOOPBACK,
    }
    return http.send(**{**arguments, **changes})


def silence() -> Any:
    def behave(connection: socket.socket, _request: bytes) -> None:
        connection.settimeout(10)
        connection.recv(1)

    return behave


def stands_still(_connection: socket.socket, _request: bytes) -> None:
    """Neither read nor answer for longer than any deadline of these tests."""
    time.sleep(2)


def resolves_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Replace the system's resolver at its own door; the n-th look-up gets the n-th answer. Returns hosts asked."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_args: Any, **_options: Any) -> list[Any]:
        answer = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [
            (socket.AF_INET6 if ":" in text else socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port))
            for text in answer
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


class TestSend:
    def test_gives_status_headers_and_body(self) -> None:
        with serving(says(b"HTTP/1.1 402 No\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 4\r\n\r\nbody")) as server:
            answer = send(server.url)

        assert (answer.status, answer.body, answer.headers["x-a"]) == (402, b"body", "1, 2")

    def test_sends_the_bytes_as_given_under_the_host_of_the_url(self) -> None:
        with serving(says(OK)) as server:
            send(server.url, body=b'{ "b" : 1,\n"a":2}')

        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /hook?a=1 HTTP/1.1\r\n")
        assert f"Host: 127.0.0.1:{server.port}".encode() in head
        assert b"Accept-Encoding: identity" in head
        assert head.lower().count(b"\r\nhost:") == 1
        assert body == b'{ "b" : 1,\n"a":2}'

    def test_reads_a_chunked_answer(self) -> None:
        with serving(says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")) as server:
            assert send(server.url).body == b"abc"

    def test_skips_the_interim_answer_continue(self) -> None:
        with serving(says(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)) as server:
            assert send(server.url).status == 200

    def test_does_not_follow_a_redirect(self) -> None:
        with serving(says(OK)) as inner:
            location = f"HTTP/1.1 302 Found\r\nLocation: {inner.url}\r\nContent-Length: 0\r\n\r\n".encode()
            with serving(says(location)) as outer:
                answer = send(outer.url)

        assert answer.status == 302
        assert inner.connections == 0

    def test_ignores_the_proxies_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(says(OK)) as proxy, serving(says(OK)) as server:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")

            send(server.url)

        assert (proxy.connections, server.connections) == (0, 1)

    def test_opens_a_connection_for_every_request(self) -> None:
        with serving(says(OK)) as server:
            send(server.url)
            send(server.url)

        assert server.connections == 2

    def test_may_be_called_from_many_threads(self) -> None:
        def echo(connection: socket.socket, request: bytes) -> None:
            body = request.partition(b"\r\n\r\n")[2]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

        answers: dict[int, bytes] = {}
        with serving(echo) as server:
            threads = [
                threading.Thread(
                    target=lambda n=number: answers.update(
                        {n: send(server.url, body=b"%d" % n, total_deadline_seconds=10.0).body}
                    )
                )
                for number in range(32)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)

        assert answers == {number: b"%d" % number for number in range(32)}

    def test_goes_on_to_the_next_address_when_one_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(says(OK)) as server:
            resolves_to(monkeypatch, ["127.0.0.3", "127.0.0.1"])

            answer = send(f"http://two.example:{server.port}/", allow_private=("127.0.0.0/8",))

        assert answer.status == 200


class TestNothingWasSent:
    def test_when_the_connection_is_refused(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]

        with pytest.raises(http.NotSent) as failure:
            send(f"http://127.0.0.1:{port}/")

        assert failure.value.kind == "connect_refused"

    def test_when_the_name_does_not_exist(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def nobody(*_args: Any, **_options: Any) -> list[Any]:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")

        monkeypatch.setattr(socket, "getaddrinfo", nobody)

        with pytest.raises(http.NotSent) as failure:
            send("http://nobody.example/")

        assert failure.value.kind == "dns_failed"

    def test_when_the_resolver_hangs_and_the_caller_waits_no_longer_than_its_limit(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: time.sleep(3) or [])
        started = time.monotonic()

        with pytest.raises(http.NotSent) as failure:
            send("http://slow.example/", connect_timeout_seconds=0.3)

        assert failure.value.kind == "dns_timeout"
        assert time.monotonic() - started < 1.0

    def test_when_nobody_accepts_the_connection(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = listener.getsockname()
            # With the queue full the kernel drops further connection requests.
            waiting = [socket.socket() for _ in range(4)]
            for client in waiting:
                client.setblocking(False)
                client.connect_ex(address)
            time.sleep(0.1)

            with pytest.raises(http.NotSent) as failure:
                send(f"http://127.0.0.1:{address[1]}/", connect_timeout_seconds=0.3)
            for client in waiting:
                client.close()

        assert failure.value.kind == "connect_timeout"
        assert 250 <= failure.value.elapsed_ms < 1000

    def test_when_the_tls_handshake_hangs(self) -> None:
        with serving(stands_still, reads=False) as server, pytest.raises(http.NotSent) as failure:
            send(server.url.replace("http:", "https:"), connect_timeout_seconds=0.3)

        assert failure.value.kind == "connect_timeout"

    def test_when_the_peer_does_not_speak_tls(self) -> None:
        with serving(says(OK), reads=False) as server, pytest.raises(http.NotSent) as failure:
            send(server.url.replace("http:", "https:"))

        assert failure.value.kind == "tls_failed"

    @pytest.mark.parametrize("headers", [{"x-a": "1\r\nx-b: 2"}, {"x-a": "ä"}, {"Host": "other"}, {"x a": "1"}])
    def test_when_a_header_could_split_or_reframe_the_message(self, headers: dict[str, str]) -> None:
        with serving(says(OK)) as server:
            with pytest.raises(http.NotSent) as failure:
                send(server.url, headers=headers)
            time.sleep(0.05)

        assert failure.value.kind == "invalid_request"
        assert server.requests == []

    def test_when_the_deadline_is_over_before_it_begins(self) -> None:
        with serving(says(OK)) as server, pytest.raises(http.NotSent):
            send(server.url, total_deadline_seconds=0.0)

        assert server.requests == []


class TestCertificates:
    @pytest.fixture(autouse=True)
    def _fresh_context(self) -> Iterator[None]:
        http._tls_context.cache_clear()
        yield
        http._tls_context.cache_clear()

    def test_a_trusted_certificate_of_the_urls_host_is_accepted_although_the_address_was_chosen_before(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context, chain = make_certificate(tmp_path, host="hooks.example")
        names: list[str | None] = []
        context.sni_callback = lambda _socket, name, _context: names.append(name)
        monkeypatch.setenv("SSL_CERT_FILE", str(chain))
        asked = resolves_to(monkeypatch, ["127.0.0.1"])
        with serving(says(OK), tls=context) as server:
            answer = send(f"https://hooks.example:{server.port}/x")

        assert answer.status == 200
        assert names == ["hooks.example"]
        assert asked == ["hooks.example"]
        assert f"Host: hooks.example:{server.port}".encode() in server.requests[0]

    def test_a_certificate_of_another_host_is_refused_before_anything_is_sent(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context, chain = make_certificate(tmp_path, host="other.example")
        monkeypatch.setenv("SSL_CERT_FILE", str(chain))
        resolves_to(monkeypatch, ["127.0.0.1"])
        with serving(says(OK), tls=context) as server:
            with pytest.raises(http.NotSent) as failure:
                send(f"https://hooks.example:{server.port}/x")
            time.sleep(0.05)

        assert failure.value.kind == "tls_failed"
        assert server.requests == []

    def test_a_certificate_that_nobody_vouches_for_is_refused(self, tmp_path: Path) -> None:
        context, _ = make_certificate(tmp_path, host="127.0.0.1")
        with serving(says(OK), tls=context) as server:
            with pytest.raises(http.NotSent):
                send(server.url)
            time.sleep(0.05)

        assert server.requests == []


class TestSentAndNoAnswer:
    """Here the peer may have acted: money must take these for unknown."""

    def test_when_the_peer_stays_silent_until_the_deadline(self) -> None:
        with serving(silence()) as server, pytest.raises(http.NoAnswer) as failure:
            send(server.url, total_deadline_seconds=0.5)

        assert failure.value.kind == "deadline"
        assert 450 <= failure.value.elapsed_ms < 900
        assert server.requests != []

    @pytest.mark.parametrize("reset", [False, True])
    def test_when_the_peer_reads_and_hangs_up(self, reset: bool) -> None:
        with serving(says(reset=reset)) as server, pytest.raises(http.NoAnswer) as failure:
            send(server.url)

        assert failure.value.kind == "connection_lost"
        assert server.requests != []

    def test_when_the_peer_hangs_up_while_the_body_is_on_its_way(self) -> None:
        def reads_a_little(connection: socket.socket, _request: bytes) -> None:
            connection.recv(1000)
            says(reset=True)(connection, b"")

        with serving(reads_a_little, reads=False) as server, pytest.raises(http.NoAnswer):
            send(server.url, body=b"x" * 8_000_000, total_deadline_seconds=5.0)

    def test_when_the_peer_takes_the_connection_and_never_reads(self) -> None:
        with serving(stands_still, reads=False) as server, pytest.raises(http.NoAnswer) as failure:
            send(server.url, body=b"x" * 20_000_000, total_deadline_seconds=0.5)

        assert failure.value.kind == "deadline"

    def test_when_the_headers_drip_the_deadline_still_holds(self) -> None:
        drips = [bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX-A: 1"]
        started = time.monotonic()
        with serving(says(*drips, pause_seconds=0.1)) as server, pytest.raises(http.NoAnswer) as failure:
            send(server.url, total_deadline_seconds=0.6)

        assert failure.value.kind == "deadline"
        assert time.monotonic() - started < 1.0


class TestUnreadableAnswer:
    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (b"hello there\r\n\r\n", "malformed"),
            (b"HTTP/1.1 abc OK\r\n\r\n", "malformed"),
            (b"HTTP/1.1 99 OK\r\n\r\n", "malformed"),
            (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, "malformed"),
            (b"HTTP/1.1 101 Switching\r\n\r\n", "malformed"),
            (b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 200 + b"\r\n", "malformed"),
            (b"HTTP/1.1 200 OK\r\nContent-Le", "truncated"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "truncated"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "truncated"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab", "truncated"),
        ],
    )
    def test_says_so_and_never_that_nothing_was_sent(self, answer: bytes, kind: str) -> None:
        with serving(says(answer)) as server, pytest.raises(http.UnreadableAnswer) as failure:
            send(server.url)

        assert failure.value.kind == kind

    def test_a_dripping_body_ends_at_the_deadline_with_the_status_that_was_read(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
        dripping = says(head, *[b"x"] * 50, pause_seconds=0.05)
        with serving(dripping) as server, pytest.raises(http.UnreadableAnswer) as failure:
            send(server.url, total_deadline_seconds=0.5)

        assert (failure.value.kind, failure.value.status) == ("deadline", 200)
        assert failure.value.elapsed_ms < 900

    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.1 201 Created\r\nContent-Length: 4000000\r\n\r\n",
            b"HTTP/1.1 201 Created\r\n\r\n",
            b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3d0900\r\n",
        ],
    )
    def test_a_body_over_the_cap_is_cut_and_said_to_be_too_large(self, head: bytes) -> None:
        with serving(says(head + b"x" * 4_000_000)) as server, pytest.raises(http.AnswerTooLarge) as failure:
            send(server.url, max_response_bytes=1000)

        assert (failure.value.status, failure.value.body) == (201, b"x" * 1000)

    def test_endless_headers_are_cut_too(self) -> None:
        endless = says(b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * 4_000_000)
        with serving(endless) as server, pytest.raises(http.UnreadableAnswer):
            send(server.url)

    def test_a_body_of_exactly_the_cap_is_fine(self) -> None:
        with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)) as server:
            assert len(send(server.url, max_response_bytes=1000).body) == 1000


LOOPBACK_SPELLINGS = [
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",  # noqa: S104 - a target, nothing is bound
    "localhost",
    "LOCALHOST",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::127.0.0.1]",
]

REFUSED_ADDRESSES = [
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::ffff:10.0.0.1",
    "::ffff:0:10.0.0.1",
    "::10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
]

PUBLIC_ADDRESSES = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "2606:4700:4700::1111",
    "2a00:1450::1",
]

MALFORMED_URLS = [
    "",
    "example.com",
    "//example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "http://",
    "http:///path",
    "http://./",
    "http://user@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1:80@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com/\r\nHost: x",
    "http://example.com/ a",
    "http://example.com/#@127.0.0.1/",
    "http://exämple.com/",
    "http://１２７.0.0.1/",
    "http://example。com/",
    "http://example.com:0/",
    "http://example.com:99999/",
    "http://example.com:8o/",
    "http://[::1/",
    "http://[fe80::1%25lo]/",
    "http://ex%61mple.com/",
    "http://example.com,127.0.0.1/",
    "http://" + "a" * 3000 + ".com/",
]


class TestHostileTargets:
    @pytest.mark.parametrize("host", LOOPBACK_SPELLINGS)
    def test_no_spelling_of_this_machine_reaches_a_real_listener(self, host: str) -> None:
        with serving(says(OK)) as server:
            with pytest.raises(http.AddressRefused):
                send(f"http://{host}:{server.port}/", allow_private=())
            time.sleep(0.01)

        assert server.connections == 0

    @pytest.mark.parametrize("address", REFUSED_ADDRESSES)
    def test_a_name_that_resolves_to_a_special_address_is_refused(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolves_to(monkeypatch, [address])

        with pytest.raises(http.AddressRefused):
            send("http://hooks.example/", allow_private=())

    @pytest.mark.parametrize("address", REFUSED_ADDRESSES)
    def test_our_own_list_refuses_it_whatever_the_python_version_thinks_of_it(self, address: str) -> None:
        assert http.in_networks(http.unwrapped_address(address), http._REFUSED_NETWORKS)

    @pytest.mark.parametrize("address", REFUSED_ADDRESSES)
    def test_one_bad_address_among_good_ones_is_enough_wherever_it_stands(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for answer in (["1.1.1.1", address], [address, "1.1.1.1"], ["1.1.1.1", "8.8.8.8", address]):
            resolves_to(monkeypatch, answer)

            with pytest.raises(http.AddressRefused):
                send("http://hooks.example/", allow_private=())

    @pytest.mark.parametrize("url", MALFORMED_URLS)
    def test_a_url_that_two_readers_could_understand_differently_is_refused(self, url: str) -> None:
        with pytest.raises(http.AddressRefused):
            send(url)

    def test_a_name_without_an_address_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        resolves_to(monkeypatch, [])

        with pytest.raises(http.AddressRefused):
            send("http://hooks.example/")

    @pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
    def test_public_addresses_are_allowed(self, address: str) -> None:
        assert http.address_allowed(address, ())

    def test_a_resolver_that_changes_its_mind_is_asked_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(says(OK)) as server:
            asked = resolves_to(monkeypatch, ["127.0.0.1"], ["127.0.0.9"])

            answer = send(f"http://rebinding.example:{server.port}/")

        assert answer.status == 200
        assert len(asked) == 1

    def test_a_host_that_was_public_is_refused_when_it_resolves_to_this_machine(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(says(OK)) as server:
            resolves_to(monkeypatch, ["127.0.0.1"])

            with pytest.raises(http.AddressRefused):
                send(f"http://rebinding.example:{server.port}/", allow_private=())

        assert server.connections == 0

    def test_the_operators_networks_open_themselves_and_nothing_beside_them(self) -> None:
        networks = http.allowed_networks(["10.1.0.0/16", "fd12::/32"])

        assert http.address_allowed("10.1.2.3", networks)
        assert http.address_allowed("::ffff:10.1.2.3", networks)
        assert http.address_allowed("fd12::1", networks)
        assert not http.address_allowed("10.2.0.1", networks)
        assert not http.address_allowed("127.0.0.1", networks)

    def test_without_a_list_the_settings_decide(self, settings: Any) -> None:
        settings.OUTGOING_ALLOWED_NETWORKS = []
        with serving(says(OK)) as server:
            with pytest.raises(http.AddressRefused):
                send(server.url, allow_private=None)
            settings.OUTGOING_ALLOWED_NETWORKS = ["127.0.0.1/32"]
            answer = send(server.url, allow_private=None)

        assert answer.status == 200
