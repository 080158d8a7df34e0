"""What only a real server can show: chunked bodies, and rate limits that hold across processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.api.refusals import require_typed
from tests.conftest import CommittedDatabase
from tests.factories.shop import Reply, Shop, open_shop
from tests.factories.tenancy import make_tenant
from tests.rows import everything_stored
from tests.servers import LiveShop, WebServer, web_server
from tests.simulator.process import Simulator

BODY = json.dumps({"amount_minor": 1000, "currency": "EUR"}).encode()
TWO_MB = b'{"amount_minor": 1000, "currency": "EUR", "metadata": {"a": "' + b"x" * 2_000_000 + b'"}}'


@pytest.fixture
def server(committed_database: CommittedDatabase) -> Iterator[WebServer]:
    with web_server(committed_database.environment(), threads=4) as running:
        yield running


def head(shop: Shop, *lines: str) -> bytes:
    fixed = [
        "POST /api/v1/payments HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        "Idempotency-Key: k",
    ]
    return "\r\n".join([*fixed, f"Authorization: Bearer {shop.tenant.secret_key}", *lines, "", ""]).encode()


def chunks(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"


class TestABodyOfTwoMegabytes:
    def test_is_413_declared_and_chunked_and_a_small_chunked_one_is_taken(
        self, committed_database: CommittedDatabase, simulator: Simulator, server: WebServer
    ):
        shop = open_shop(simulator)
        before = everything_stored()

        declared = server.exchange(head(shop, f"Content-Length: {len(TWO_MB)}") + TWO_MB)
        chunked = server.exchange(head(shop, "Transfer-Encoding: chunked") + chunks(TWO_MB, 65_536))
        in_crumbs = server.exchange(head(shop, "Transfer-Encoding: chunked") + chunks(TWO_MB[:300_000], 100))

        for reply in (declared, chunked, in_crumbs):
            require_typed(reply, 413, "payload_too_large")
        assert everything_stored() == before

        taken = server.exchange(head(shop, "Transfer-Encoding: chunked") + chunks(BODY, 7))
        assert taken.status == 201, taken.content
        assert taken.data["amount_minor"] == 1000

    def test_that_is_announced_twice_or_not_at_all_writes_nothing(
        self, committed_database: CommittedDatabase, simulator: Simulator, server: WebServer
    ):
        """Two lengths are how one request is smuggled inside another (RFC 9112 §6.3)."""
        shop = open_shop(simulator)
        before = everything_stored()

        both = server.exchange(
            head(shop, f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked", "Connection: close")
            + chunks(BODY, 9)
        )
        neither = server.exchange(head(shop, "Connection: close"))
        no_number = server.exchange(head(shop, "Content-Length: ten", "Connection: close") + BODY)

        assert both.status in (400, 422)
        assert neither.status == 422
        assert no_number.status == 400
        assert everything_stored() == before


class TestARateLimit:
    def test_holds_across_processes(self, committed_database: CommittedDatabase):
        """20 a minute with a burst of half as many again: 30 at once, however many processes answer them."""
        tenant = make_tenant(requests_per_minute=20)
        with ExitStack() as running:
            servers = [running.enter_context(web_server(committed_database.environment())) for _ in range(2)]
            shops = [LiveShop(tenant, server=server) for server in servers]
            with ThreadPoolExecutor(8) as threads:
                replies = list(threads.map(lambda number: shops[number % 2].get("payments"), range(60)))
            before = everything_stored()
            late = [shop.pay() for shop in shops]

        passed = [reply for reply in replies if reply.status == 200]
        refused = [reply for reply in replies if reply.status != 200]
        # Three seconds a token: a slow machine may earn one or two while it asks.
        assert 30 <= len(passed) <= 32
        for reply in [*refused, *late]:
            require_typed(reply, 429, "rate_limit_exceeded")
            assert 1 <= int(reply.headers["Retry-After"]) <= 3
            assert reply.error["details"]["limit"] == 20
        require_headers(passed[0])
        assert sorted({int(reply.headers["X-RateLimit-Remaining"]) for reply in passed})[0] == 0
        with_row = everything_stored()
        assert with_row == before


def require_headers(reply: Reply) -> None:
    assert int(reply.headers["X-RateLimit-Limit"]) == 20
    assert 0 <= int(reply.headers["X-RateLimit-Remaining"]) <= 30
    assert int(reply.headers["X-RateLimit-Reset"]) > 1_700_000_000
