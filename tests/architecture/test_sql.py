"""SQL keeps to the tables of its app; what it may use of another is published by the owner as a door."""

from __future__ import annotations

import re
from functools import lru_cache

from django.apps import apps

from tests.architecture.source import OWNERS, model_owners, owner_of_path, product, sql_files, sql_of

#: What an app publishes as SQL, and what it is for.
DOORS = {
    "ledger_post": "books one posting, in the caller's transaction",
    "ledger_post_batch": "books many",
    "ledger_lock_balance": "locks what a merchant has before it is spent",
    "payments_settlement_item": "what a settlement line may be about, in one shape",
    "tenancy_workspaceclock": "due times are judged by the workspace's own clock",
}
NAME = re.compile(rf"\b({'|'.join(OWNERS)})_[a-z_]+\b")
CREATED = re.compile(r"CREATE (?:OR REPLACE )?(?:MATERIALIZED )?(?:FUNCTION|VIEW|TABLE) (\w+)")


@lru_cache(maxsize=1)
def known_names() -> frozenset[str]:
    """The tables, views and functions of the project."""
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    return frozenset(tables.union(*(CREATED.findall(text) for text in sql_files().values())))


def foreign_names(owner: str, text: str) -> list[str]:
    """The names of other packages' tables and functions in a piece of SQL, published ones left out."""
    return [
        found.group(0)
        for found in NAME.finditer(text)
        if OWNERS[found.group(1)] != owner and found.group(0) not in DOORS and found.group(0) in known_names()
    ]


class TestSql:
    def test_in_python_names_no_table_of_another_app(self):
        statements = [(module, line, text) for module in model_owners() for line, text in sql_of(module)]
        found = [
            f"{module.name}:{line} {name}"
            for module, line, text in statements
            for name in foreign_names(module.owner, text)
        ]

        assert len(statements) > 10
        assert found == []

    def test_in_files_names_no_table_of_another_app(self):
        files = sql_files()

        assert len(files) >= 6
        assert {
            path.name: names for path, text in files.items() if (names := foreign_names(owner_of_path(path), text))
        } == {}

    def test_publishes_no_door_that_is_gone(self):
        assert set(DOORS) - known_names() == set()

    def test_the_check_notices_a_foreign_table(self):
        assert foreign_names("settlement", "SELECT 1 FROM payments_payment") == ["payments_payment"]
        assert foreign_names("settlement", "SELECT 1 FROM payments_settlement_item") == []
        assert foreign_names("payments", "SELECT 1 FROM payments_payment") == []

    def test_is_run_by_the_packages_that_own_tables_alone(self):
        others = [
            f"{module.name}:{line}"
            for module in product()
            if module.owner not in (*OWNERS.values(), "zentra.simulator", "zentra.embedded")
            for line, text in sql_of(module)
            if NAME.search(text)
        ]

        assert others == []


class TestAFunctionOfTheOwner:
    def test_fixes_its_search_path(self):
        """Without it, a caller could put tables of its own in front of the ones that the owner means."""
        for path, text in sql_files().items():
            for function in re.findall(r"CREATE (?:OR REPLACE )?FUNCTION.+?\bAS\b", text, re.DOTALL):
                if "SECURITY DEFINER" in function:
                    assert "SET search_path = pg_catalog, public" in function, f"{path.name}: {function[:60]}"
