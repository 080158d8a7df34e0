"""The product's own source as the architecture tests read it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
APPS = ("payments", "ledger", "routing", "settlement", "webhooks")
KERNEL_APPS = ("zentra.tenancy", "zentra.evidence", "zentra.idempotency")
#: Who owns the tables of a label.
OWNERS = {
    **{app: app for app in APPS},
    **{package.rpartition(".")[2]: package for package in (*KERNEL_APPS, "zentra.core")},
}
#: What stands for SQL in a string: a verb with what must follow it.
SQL = re.compile(
    r"\b(SELECT\s.+?\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+(?:\w+\s+)?SET|DELETE\s+FROM|TRUNCATE|WITH\s+\w+\s+AS"
    r"|SELECT\s+\w+\s*\(|(?:FROM|JOIN)\s+\w+_\w+)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Module:
    """One file of the product, parsed."""

    path: Path
    tree: ast.Module

    @property
    def name(self) -> str:
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def owner(self) -> str:
        """The app or the package of the kernel that it belongs to."""
        parts = self.name.split(".")
        return ".".join(parts[:2]) if parts[0] == "zentra" else parts[0]

    @property
    def word(self) -> str:
        """Its module word inside its owner: 'services', 'api', …; '' for the owner itself."""
        return (self.name.removeprefix(self.owner).lstrip(".").split(".") or [""])[0]

    def calls(self) -> Iterator[ast.Call]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    def texts(self) -> Iterator[tuple[int, str]]:
        """Every string with its line, docstrings left out; the fixed parts of an f-string count as one string."""
        documentation = {id(node) for node in _docstrings(self.tree)}
        inside = {id(part) for node in ast.walk(self.tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.JoinedStr):
                fixed = [part.value for part in node.values if isinstance(part, ast.Constant)]
                yield node.lineno, " ".join(str(part) for part in fixed)
            elif id(node) in documentation or id(node) in inside:
                continue
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.lineno, node.value


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


@lru_cache(maxsize=1)
def product() -> tuple[Module, ...]:
    """Every module of the apps and of the project package, migrations left out."""
    paths = [path for package in (*APPS, "zentra") for path in sorted((ROOT / package).rglob("*.py"))]
    return tuple(
        Module(path, ast.parse(path.read_text(encoding="utf-8"), str(path)))
        for path in paths
        if "migrations" not in path.relative_to(ROOT).parts
    )


def model_owners() -> tuple[Module, ...]:
    """The modules of the packages that own tables."""
    return tuple(module for module in product() if module.owner in OWNERS.values())


def sql_of(module: Module) -> Iterator[tuple[int, str]]:
    return ((line, text) for line, text in module.texts() if SQL.search(text))


def sql_files() -> dict[Path, str]:
    """The SQL files of the apps, without their comments."""
    found = [path for owner in OWNERS.values() for path in (ROOT / owner.replace(".", "/") / "sql").glob("*.sql")]
    return {path: re.sub(r"--[^\n]*", "", path.read_text(encoding="utf-8")) for path in sorted(found)}


def owner_of_path(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return ".".join(parts[:2]) if parts[0] == "zentra" else parts[0]


def dotted(node: ast.expr) -> str:
    """'timezone.now' for that expression; '' for what is no chain of names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""
