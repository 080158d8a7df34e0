from __future__ import annotations

from tests.factories.shop import Shop


class TestTrace:
    def test_it_tells_route_attempts_ledger_events_and_evidence_of_one_payment(self, shop: Shop):
        payment = shop.captured(125_000)

        trace = shop.get(f"payments/{payment['id']}/trace").data

        assert [step["stage"] for step in trace["runtime"]] == [
            "accepted",
            "controlled",
            "ledgered",
            "routed",
            "synchronized",
            "evidenced",
        ]
        assert trace["policy"] == ["limit_check.passed", "method_check.passed"]
        assert [item["name"] for item in trace["route"][0]["candidates"]] == ["alpha", "beta"]
        assert [(item["operation"], item["verdict"]) for item in trace["attempts"]] == [
            ("authorize", "approved"),
            ("capture", "approved"),
        ]
        assert [event["type"] for event in trace["events"]] == [
            "payment.created",
            "payment.authorized",
            "capture.succeeded",
            "payment.captured",
        ]
        assert all(len(record["content_hash"]) == 64 for record in trace["evidence"])

    def test_the_four_lines_of_the_product_stand_in_the_ledger(self, shop: Shop):
        payment = shop.captured(125_000)

        lines = shop.get(f"payments/{payment['id']}/trace").data["ledger"]

        told = [
            (line["side"], line["account"], line["amount_minor"])
            for line in lines
            if line["account"] in ("customer_balance", "reserved_balance", "settlement_account")
        ]
        assert told == [
            ("debit", "customer_balance", -125_000),
            ("credit", "reserved_balance", 125_000),
            ("debit", "reserved_balance", -125_000),
            ("credit", "settlement_account", 125_000),
        ]
