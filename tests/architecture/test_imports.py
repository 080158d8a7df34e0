"""The house stands: the import contracts of pyproject.toml hold, and each of them notices when it is broken."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.architecture.source import APPS, ROOT

LINT = Path(sys.executable).parent / "lint-imports"


@dataclass(frozen=True)
class Report:
    exit_code: int
    text: str

    @property
    def broken(self) -> set[str]:
        return set(re.findall(r"^(.+) BROKEN$", self.text, re.MULTILINE))

    @property
    def kept(self) -> set[str]:
        return set(re.findall(r"^(.+) KEPT$", self.text, re.MULTILINE))


def lint(folder: Path) -> Report:
    """The linter's word on a source tree. Wide lines, so that no contract's name is broken in two."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"COLUMNS": "200"}
    ended = subprocess.run(
        [str(LINT), "--no-cache"], cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    return Report(ended.returncode, ended.stdout + ended.stderr)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The product's source, to be spoilt."""
    for package in (*APPS, "zentra"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


class TestTheHouse:
    def test_keeps_every_import_contract(self):
        report = lint(ROOT)

        assert report.exit_code == 0, report.text
        assert len(report.kept) >= 18
        assert report.broken == set()


STACK = "Apps form one downward stack"
WORDS = "Inside an app, edges call services and nothing calls edges"
PURE = "Decisions, states and values know neither database nor settings"

PLANTS = {
    "an import upward": ("payments/selectors.py", "from settlement import types as planted", STACK),
    "an import sideways": ("ledger/selectors.py", "from webhooks import types as planted", STACK),
    "an app imported by the kernel": ("zentra/core/jobs.py", "from payments import types as planted", STACK),
    "an app's models imported by another": (
        "payments/services/voids.py",
        "from routing.models import ProviderAccount as planted",
        "routing.models is private",
    ),
    "a service that imports a task": ("payments/services/voids.py", "from payments import tasks as planted", WORDS),
    "a service that imports the API": ("payments/services/voids.py", "from payments.api import urls as planted", WORDS),
    "the web framework in a service": (
        "ledger/services.py",
        "from rest_framework.response import Response as planted",
        "Business rules know no web framework",
    ),
    "a policy that reads the database": ("payments/policy.py", "from payments import models as planted", WORDS),
    "a decision that reads the settings": ("routing/rules.py", "from django.conf import settings as planted", PURE),
    "a module with a name of its own": ("payments/utils.py", "planted = 1", WORDS),
    "a new package of the kernel without a place": (
        "zentra/helpers.py",
        "planted = 1",
        "Every package of the kernel has its place",
    ),
    "a simulator that knows the product": (
        "zentra/simulator/store.py",
        "from routing import types as planted",
        "The simulator is a process of its own: it imports the kernel at most",
    ),
    "a product that knows the simulator": (
        "routing/providers/simulator.py",
        "from zentra.simulator import wire as planted",
        "Nobody imports the simulator",
    ),
    "an embedded server that knows Django": (
        "zentra/embedded/services.py",
        "from django.conf import settings as planted",
        "The embedded servers know nothing of the product",
    ),
}


class TestAPlantedViolation:
    @pytest.mark.parametrize("what", PLANTS)
    def test_breaks_the_contract_that_forbids_it(self, copy: Path, what: str):
        file, line, contract = PLANTS[what]
        with (copy / file).open("a", encoding="utf-8") as source:
            source.write(f"\n{line}\n")

        report = lint(copy)

        assert report.exit_code == 1, report.text
        assert contract in report.broken, report.text
