"""The documentation: what it links to and names exists, what it lists is complete, and it tells nothing it must not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.urls import URLPattern, URLResolver, get_resolver

from ledger.rules import CHART
from payments.states import AttemptState, OperationState, PaymentState
from routing.types import Transport, Verdict
from settlement.states import BatchState, CaseState
from settlement.types import DriftClass
from settlement.types import Verdict as LineVerdict
from tests.architecture.source import APPS, ROOT, product
from webhooks.states import DeliveryState
from zentra.tenancy.types import Scope

PAGES = sorted([*ROOT.glob("docs/**/*.md"), *(ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md"))])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
#: A path inside the project, as prose names it.
NAMED_FILE = re.compile(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|md|sql|sh|svg|toml|yml|lock))`")
NAMED_TEST = re.compile(r"`(Test\w+)`")
#: Names of files that are not the project's.
NOT_OURS = {"receiver.py", "openapi.yaml", "settlement.csv", "states.py"}
#: Hosts that pages may name: where forms and rules that we follow are published, names reserved for examples, and the
#: machine itself.
KNOWN_HOSTS = {"keepachangelog.com", "semver.org"}
HOST = re.compile(r"\b((?:[a-z0-9-]+\.)+(?:com|org|net|io|dev|ai|cloud))\b", re.IGNORECASE)
#: First parts of absolute paths that are no place on somebody's machine: routes of here, planned ones, the simulator's.
KNOWN_ROOTS = {"api", "admin", "v1", "_control", "challenge", "runtime", "var", "dev"}
ABSOLUTE_PATH = re.compile(r"(?<![\w.~/:<>)}\]*-])/([a-zA-Z_][\w.-]*)/[\w.{-]")
PLACEHOLDER = re.compile(r"\b(TODO|FIXME|TBD|lorem)\b")
RECORD_PARTS = ("Context", "Decision", "Consequences", "Alternatives", "Enforced by")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def page(name: str) -> str:
    return text_of(ROOT / name)


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return CODE_BLOCK.sub("", text)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as code forges make them."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(path: Path, text: str) -> list[str]:
    found = []
    for link in LINK.findall(prose(text)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        if not file.is_file() or (anchor and anchor not in anchors(text_of(file))):
            found.append(link)
    return found


def missing_files(path: Path, text: str) -> list[str]:
    """Files that a page names and that are neither below the root, nor beside the page, nor the name of one of ours."""
    names = {file.name for file in project_files()}
    return [
        name
        for name in NAMED_FILE.findall(prose(text))
        if name not in NOT_OURS
        and not (ROOT / name).exists()
        and not (path.parent / name).exists()
        and ("/" in name or name not in names)
    ]


def strange_hosts(text: str) -> set[str]:
    return {host.lower() for host in HOST.findall(text)} - KNOWN_HOSTS


def strange_places(text: str) -> set[str]:
    """First parts of absolute paths that are neither routes nor known."""
    return set(ABSOLUTE_PATH.findall(text)) - KNOWN_ROOTS - {route.split("/")[1] for route in routes()}


def project_files() -> list[Path]:
    return [*(module.path for module in product()), *(ROOT / "tests").rglob("*.py"), *ROOT.glob("*/sql/*.sql")]


class TestThePages:
    def test_link_to_what_exists(self):
        assert len(PAGES) > 15
        assert {path.name: dead for path in PAGES if (dead := dead_links(path, text_of(path)))} == {}

    def test_name_files_that_exist(self):
        assert {path.name: lost for path in PAGES if (lost := missing_files(path, text_of(path)))} == {}

    def test_name_tests_that_exist(self):
        tests = "\n".join(text_of(path) for path in (ROOT / "tests").rglob("test_*.py"))
        named = {name for path in PAGES for name in NAMED_TEST.findall(text_of(path))}

        assert len(named) > 5
        assert {name for name in named if not re.search(rf"class {name}\b", tests)} == set()

    def test_name_no_host_but_known_ones(self):
        assert {path.name: hosts for path in PAGES if (hosts := strange_hosts(text_of(path)))} == {}

    def test_name_no_place_on_somebodys_machine(self):
        assert {path.name: places for path in PAGES if (places := strange_places(text_of(path)))} == {}

    def test_leave_nothing_to_be_written(self):
        assert {path.name: found for path in PAGES if (found := PLACEHOLDER.findall(text_of(path)))} == {}

    def test_are_reachable_from_the_readme(self):
        seen, todo = set(), [ROOT / "README.md"]
        while todo:
            path = todo.pop()
            if path in seen or path.suffix != ".md":
                continue
            seen.add(path)
            links = [link.partition("#")[0] for link in LINK.findall(text_of(path)) if not re.match(r"[a-z]+:|#", link)]
            todo += [(path.parent / link).resolve() for link in links]

        assert set(PAGES) - seen == set()

    def test_the_checks_notice_each_fault(self):
        readme = ROOT / "README.md"

        assert dead_links(readme, "[a](docs/gone.md) [b](docs/api.md#gone) ![c](gone.svg) [d](#gone)") == [
            "docs/gone.md",
            "docs/api.md#gone",
            "gone.svg",
            "#gone",
        ]
        assert dead_links(readme, "[a](docs/api.md#routes) [b](https://www.rfc-editor.org/)") == []
        assert missing_files(readme, "`payments/gone.py` and `gone.md`, but `payments/models.py`") == [
            "payments/gone.py",
            "gone.md",
        ]
        assert strange_hosts("from packages.elsewhere.io and semver.org") == {"packages.elsewhere.io"}
        assert strange_places("in /home/me/zentra, not /api/v1/payments nor `/ledger/accounts`") == {"home"}
        assert PLACEHOLDER.search("TODO: write")


class TestTheErrorPage:
    def test_is_current(self):
        """Refresh it with: python3 manage.py errors > docs/errors.md"""
        made = StringIO()
        call_command("errors", stdout=made)

        assert page("docs/errors.md") == made.getvalue()


class TestTheDecisionRecords:
    RECORDS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))

    def test_are_all_in_the_index(self):
        index = LINK.findall(page("docs/decisions/README.md"))

        assert sorted(index) == [path.name for path in self.RECORDS]

    def test_have_every_part(self):
        assert len(self.RECORDS) > 15
        assert {
            path.name: lacking
            for path in self.RECORDS
            if (lacking := [part for part in RECORD_PARTS if f"**{part}" not in text_of(path)])
        } == {}

    def test_that_code_refers_to_exist(self):
        numbers = {path.name[:4] for path in self.RECORDS}
        referred = {
            (number, module.name)
            for module in product()
            for number in re.findall(r"docs/decisions/(\d{4})", text_of(module.path))
        }

        assert {(number, name) for number, name in referred if number not in numbers} == set()


def routes() -> set[str]:
    """The API's routes as the documentation writes them."""
    return {
        path.removeprefix("api/v1") for path in _paths(get_resolver().url_patterns, "") if path.startswith("api/v1")
    }


def _paths(patterns: list[URLPattern | URLResolver], before: str) -> Iterator[str]:
    for item in patterns:
        here = before + re.sub(r"<\w+:(\w+)>", r"{\1}", str(item.pattern))
        if isinstance(item, URLResolver):
            yield from _paths(item.url_patterns, here)
        else:
            yield here


def event_types() -> set[str]:
    """The event types that the code publishes. A type that is put together stands here for each of its values."""
    found = set()
    for module in product():
        for call in module.calls():
            if isinstance(call.func, ast.Attribute) and call.func.attr in ("announce", "announce_payment"):
                found |= _values_of(call.args[0])
    return found | {"webhook.test", "webhook.endpoint.disabled"}


def _values_of(node: ast.expr) -> set[str]:
    if isinstance(node, ast.Constant):
        return {str(node.value)}
    if isinstance(node, ast.Name):
        return set()  # handed on from a caller, who is looked at as well
    return {
        "f'payment.{payment.state}'": {"payment.declined", "payment.failed"},
        "f'settlement.batch.{batch.state}'": {"settlement.batch.matched", "settlement.batch.partially_matched"},
    }.get(ast.unparse(node), {ast.unparse(node)})


class TestTheApiPage:
    TEXT = page("docs/api.md")

    def test_lists_every_route(self):
        table = self.TEXT.partition("## Routes")[2].partition("## ")[0]

        assert set(re.findall(r"`(/[^`]*)`", table)) == routes()

    def test_lists_every_event_type(self):
        table = self.TEXT.partition("## Events")[2].partition("## ")[0]
        listed = {
            name
            for row in re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
            for name in re.findall(r"`([a-z_.]+)`", row)
        }

        assert listed == event_types()

    def test_names_every_scope_that_opens_something(self):
        opening = {scope.value for name in APPS for scope in Scope if f"Scope.{scope.name}" in views_of(name)}

        assert len(opening) > 8
        assert set(re.findall(r"`([a-z]+:(?:read|write))`", self.TEXT)) == opening


def views_of(app: str) -> str:
    return text_of(ROOT / app / "api" / "views.py")


class TestTheConceptsPage:
    TEXT = page("docs/concepts.md")

    @pytest.mark.parametrize(
        "kind",
        [
            PaymentState,
            AttemptState,
            OperationState,
            DeliveryState,
            BatchState,
            CaseState,
            Transport,
            Verdict,
            LineVerdict,
            DriftClass,
        ],
    )
    def test_names_every_value(self, kind: type[StrEnum]):
        assert [item.value for item in kind if f"`{item.value}`" not in self.TEXT] == []

    def test_names_accounts_as_the_chart_does(self):
        rows = re.findall(r"^\| (\d{4}) \| `(\w+)` \|", self.TEXT, re.MULTILINE)

        assert len(rows) > 10
        assert [(code, name) for code, name in rows if CHART[code].shown_as != name] == []


class TestTheSettingsTable:
    #: Not settings of an operator: the shell's own, and what the tests tell their child processes.
    FOREIGN = {"PATH", "PYTHONUNBUFFERED", "CELERY_KEY_PREFIX"}
    READ = re.compile(r"""(?:environ|ENVIRON)(?:\.get|\.setdefault)?[(\[]["']([A-Z_]+)["']|_required\("([A-Z_]+)"\)""")

    def test_lists_every_variable_that_is_read(self):
        table = page("docs/operating.md").partition("## Settings")[2].partition("\n## ")[0]
        listed = set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE))
        files = [*(module.path for module in product() if module.owner != "zentra.simulator"), ROOT / "manage.py"]
        read = {first or second for path in files for first, second in self.READ.findall(text_of(path))}

        assert listed == read - self.FOREIGN
