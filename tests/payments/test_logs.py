from __future__ import annotations

import structlog

from tests.factories.shop import Shop


class TestLogs:
    def test_every_line_after_the_intake_names_workspace_and_payment(self, shop: Shop):
        payment = shop.pay(token="accept_then_timeout").data

        bound = structlog.contextvars.get_contextvars()

        assert bound["payment_id"] == payment["id"]
        assert bound["workspace_id"] == shop.tenant.workspace.public_id
        assert bound["request_id"].startswith("req_")

    def test_the_next_request_starts_without_them(self, shop: Shop):
        shop.pay()

        shop.get("payments")

        assert "payment_id" not in structlog.contextvars.get_contextvars()
