"""docs/sandbox.md says what the simulator does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.simulator.process import ROOT
from zentra.simulator.behaviours import BEHAVIOURS, DECLINES, DECLINING_AMOUNTS, Behaviour, Decline
from zentra.simulator.settlement import COLUMNS

DOCUMENT = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")
SOURCES = sorted((ROOT / "zentra" / "simulator").glob("*.py"))


class TestSandboxPage:
    @pytest.mark.parametrize("behaviour", BEHAVIOURS.values(), ids=lambda behaviour: behaviour.name)
    def test_describes_each_token(self, behaviour: Behaviour) -> None:
        assert f"| `{behaviour.name}` | {behaviour.summary} |\n" in DOCUMENT

    def test_names_no_token_that_does_not_exist(self) -> None:
        assert set(re.findall(r"tok_sandbox_[a-z_]+", DOCUMENT)) == set(BEHAVIOURS)

    @pytest.mark.parametrize("decline", DECLINES.values(), ids=lambda decline: decline.code)
    def test_lists_each_decline(self, decline: Decline) -> None:
        columns = (decline.category, decline.network_code, f"`{decline.retry_advice}`")
        assert f"| `{decline.code}` | {' | '.join(columns)} |\n" in DOCUMENT

    def test_lists_each_declining_amount(self) -> None:
        for digits, code in DECLINING_AMOUNTS.items():
            assert f"| {digits:03d} | `{code}` |\n" in DOCUMENT

    def test_describes_each_column_of_the_file_in_order(self) -> None:
        table = DOCUMENT[DOCUMENT.index("### The file") : DOCUMENT.index("### Anomalies")]

        assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == COLUMNS

    @pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
    def test_lists_each_error_code(self, source: Path) -> None:
        raised = re.findall(
            r'(?:RequestRefusedError|error_answer)\(\s*\d{3},\s*"(\w+)"', source.read_text(encoding="utf-8")
        )

        assert [code for code in raised if f"`{code}`" not in DOCUMENT] == []


class TestPackage:
    @pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
    def test_imports_nothing_of_the_platform(self, source: Path) -> None:
        imported = re.findall(r"^\s*(?:from|import) ([\w.]+)", source.read_text(encoding="utf-8"), re.MULTILINE)
        ours = ("zentra", "payments", "ledger", "routing", "settlement", "webhooks", "django")

        foreign = [name for name in imported if name.split(".")[0] in ours and not name.startswith("zentra.simulator")]

        assert foreign == []
