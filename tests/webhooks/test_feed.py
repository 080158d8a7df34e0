from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import connection, transaction

from tests.conftest import CommittedDatabase
from tests.factories.tenancy import Tenant, make_tenant
from tests.factories.webhooks import publish_inside, publish_one
from webhooks import selectors
from zentra.core.errors import InvalidFormat


def read_all(tenant: Tenant, *, limit: int = 2, after: str = "") -> tuple[list[str], str]:
    found: list[str] = []
    while True:
        feed = selectors.event_feed(tenant.workspace.id, after=after, limit=limit)
        found += [event["object"]["id"] for event in feed.events]
        after = feed.cursor
        if not feed.has_more:
            return found, after


def read_until(tenant: Tenant, count: int, *, after: str = "") -> tuple[list[str], str]:
    """Read on until so many have come: transactions of other databases on the server hold the feed back too."""
    found: list[str] = []
    ends = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < ends, f"{len(found)} of {count} events came"
        more, after = read_all(tenant, after=after)
        found += more
    return found, after


class TestEventFeed:
    def test_gives_every_event_once_in_pieces_and_reads_on_from_the_cursor(self, committed_tenant: Tenant) -> None:
        for number in range(5):
            publish_one(committed_tenant, f"pay_{number}")
        publish_one(make_tenant("Other"), "pay_x")

        found, cursor = read_until(committed_tenant, 5)
        publish_one(committed_tenant, "pay_5")
        more, last = read_until(committed_tenant, 1, after=cursor)

        assert found == [f"pay_{number}" for number in range(5)]
        assert more == ["pay_5"]
        assert read_all(committed_tenant, after=last) == ([], last)

    def test_an_event_that_commits_late_is_not_missed(
        self, committed: CommittedDatabase, committed_tenant: Tenant, in_threads: Any
    ) -> None:
        early_is_open, late_is_read = threading.Event(), threading.Event()
        seen: dict[str, Any] = {}

        def early(_: None) -> None:
            with transaction.atomic():
                publish_inside(committed_tenant.workspace.id, "pay_early")
                early_is_open.set()
                late_is_read.wait(10)

        def late(_: None) -> None:
            early_is_open.wait(10)
            publish_one(committed_tenant, "pay_late")
            seen["while_open"], seen["cursor"] = read_all(committed_tenant)
            late_is_read.set()

        results = in_threads(lambda work: work(None), [early, late])
        after, _ = read_until(committed_tenant, 2, after=seen["cursor"])

        assert results == [None, None]
        assert seen["while_open"] == [], "a later event is held back until the earlier transaction has ended"
        assert sorted(after) == ["pay_early", "pay_late"]

    @pytest.mark.parametrize("cursor", ["x", "é", "AAAA", "!!!!", "A" * 32 + "B"])
    def test_a_cursor_that_is_not_ours_is_refused(self, committed: CommittedDatabase, cursor: str) -> None:
        with pytest.raises(InvalidFormat):
            selectors.event_feed(make_tenant().workspace.id, after=cursor)
        connection.close()
