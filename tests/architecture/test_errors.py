"""The error catalogue: a code means one thing, and says what to do."""

from __future__ import annotations

import importlib
import re

from tests.architecture.source import product
from zentra.core.errors import ZentraError, catalogue


def every_error() -> list[type[ZentraError]]:
    for module in product():
        if module.owner not in (
            "zentra.settings",
            "zentra.simulator",
            "zentra.embedded",
            "zentra.demo",
            "zentra.gunicorn",
        ):
            importlib.import_module(module.name)
    found, todo = [], [ZentraError]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if "code" in vars(kind) and kind.__module__.split(".")[0] != "tests":
            found.append(kind)
    return found


class TestTheCatalogue:
    def test_gives_every_code_one_meaning(self):
        """A class may sharpen its own category under the category's code; nobody else may use it."""
        by_code: dict[str, list[type[ZentraError]]] = {}
        for kind in every_error():
            by_code.setdefault(kind.code, []).append(kind)

        assert len(by_code) > 40
        for code, kinds in by_code.items():
            top = max(kinds, key=lambda kind: -len(kind.__mro__))
            assert all(issubclass(kind, top) for kind in kinds), f"{code}: {kinds}"

    def test_says_what_happened_and_what_to_do(self):
        for kind in every_error():
            assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", kind.code), kind
            assert kind.summary.endswith((".", "-")), kind
            assert kind.remedy.endswith("."), kind
            assert 400 <= kind.status <= 599, kind

    def test_describes_a_code_of_its_own_in_words_of_its_own(self):
        copied = [
            kind.__name__
            for kind in every_error()
            if any(
                base.code != kind.code and base.summary == kind.summary
                for base in kind.__mro__[1:]
                if issubclass(base, ZentraError)
            )
        ]

        assert copied == []

    def test_lists_them_all(self):
        assert {kind.code for kind in catalogue()} == {kind.code for kind in every_error() if kind is not ZentraError}
