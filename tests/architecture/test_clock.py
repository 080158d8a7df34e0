"""One clock: no business rule asks the machine what time it is, in Python or in SQL."""

from __future__ import annotations

import ast
import re

from tests.architecture.source import Module, dotted, product, sql_files

BARE = {
    "timezone.now",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.time_ns",
    "datetime.datetime.now",
    "datetime.date.today",
    "localdate",
    "Now",
}
SQL_NOW = re.compile(
    r"\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\s*\(\s*\)"
    r"|\b(CURRENT_TIMESTAMP|CURRENT_DATE|LOCALTIMESTAMP)\b",
    re.IGNORECASE,
)
#: Who may ask the machine, and why.
ALLOWED = {
    "zentra.core.clock": "is the clock",
    "zentra.api.throttling": "rates are counted in the machine's seconds; a test clock must not move them",
    "zentra.core.models": "when a scheduled run was claimed, for the operator's eyes; no rule reads it",
    "zentra.tenancy.models": "when a row of set-up was made, for the operator's eyes; no rule reads it",
    "zentra.core.http": "certificates and deadlines live in the machine's time",
}
#: Whole packages that are no business of the platform: a simulated acquirer has a clock of its own, servers have none.
OUTSIDE = ("zentra.simulator", "zentra.embedded", "zentra.demo")
#: SQL files that may.
ALLOWED_FILES = {"posting.sql": "ledger_new_id: the time in front of a UUIDv7 is an id's, not a business time"}
#: Where the machine's clock is chosen by name instead of being passed in.
CHOSEN = {
    "zentra.core.clock": "is the clock",
    "zentra.tenancy": "decides which clock a workspace has",
    "zentra.api": "the time of an answer and the age of a key are the machine's",
    "zentra.dashboard": "an edge: the operators' front page of this moment",
    "payments.services.callbacks": "the age of a provider's signature is the machine's",
    "webhooks.services": "delivery timers are infrastructure: a test clock must not move them (docs/decisions/0022)",
}
EDGES = ("api", "admin", "tasks", "management")


def bare_calls(module: Module) -> list[str]:
    calls = [call for call in module.calls() if dotted(call.func) in BARE]
    texts = [line for line, text in module.texts() if SQL_NOW.search(text) and "SELECT" in text.upper()]
    return [f"{module.name}:{call.lineno} {dotted(call.func)}()" for call in calls] + [
        f"{module.name}:{line} in SQL" for line in texts
    ]


class TestTheClock:
    def test_is_asked_by_its_own_module_alone(self):
        judged = [module for module in product() if module.owner not in OUTSIDE and module.name not in ALLOWED]

        assert [place for module in judged for place in bare_calls(module)] == []

    def test_is_not_asked_by_sql_files(self):
        asking = {path.name for path, text in sql_files().items() if SQL_NOW.search(text)}

        assert asking - set(ALLOWED_FILES) == set()

    def test_is_chosen_at_the_edges_and_passed_down(self):
        choosing = {
            module.name
            for module in product()
            if module.owner not in OUTSIDE and module.word not in EDGES
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ImportFrom) and any(name.name == "SYSTEM_CLOCK" for name in node.names)
        }

        assert {name for name in choosing if not name.startswith(tuple(CHOSEN))} == set()

    def test_the_check_notices_each_spelling(self):
        plain = product()[0]
        for line in (
            "at = timezone.now()",
            "at = datetime.now(UTC)",
            "day = date.today()",
            "seconds = time.time()",
            "cursor.execute('SELECT id FROM payments_payment WHERE created_at < now()')",
            "cursor.execute('SELECT 1 WHERE a < CURRENT_TIMESTAMP')",
        ):
            assert bare_calls(Module(plain.path, ast.parse(line))), line
        assert not bare_calls(Module(plain.path, ast.parse("at = clock.now()")))
