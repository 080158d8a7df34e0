from __future__ import annotations

from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories.shop import Shop

#: Statements of one approved automatic charge, savepoints and all. Lower it when the path gets shorter.
MOST_STATEMENTS = 33


class TestChargePath:
    def test_one_charge_keeps_to_a_bounded_number_of_statements(self, shop: Shop):
        shop.pay(1_000)

        with CaptureQueriesContext(connection) as caught:
            reply = shop.pay(1_000)

        assert reply.status == 201
        statements = [query["sql"].split("\n")[0][:90] for query in caught.captured_queries]
        assert len(statements) <= MOST_STATEMENTS, "\n".join(statements)
