"""
What requirements.lock pins, and whether a set of installed packages has it. Standard library alone: this runs on a
Python with nothing installed.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

LOCK_FILE = "requirements.lock"
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)\s*(?:;\s*(?P<marker>[^\\]+?))?\s*\\?$")
_CLAUSE = re.compile(r"^(?P<variable>\w+)\s*(?P<operator>==|!=|<=|>=|<|>)\s*'(?P<value>[^']*)'$")
_DIST_INFO = re.compile(r"^(?P<name>.+?)-(?P<version>[^-]+)\.dist-info$")


@dataclass(frozen=True)
class Requirements:
    """The pins that apply to this machine, and the names that must be there."""

    pins: Mapping[str, str]
    runtime: frozenset[str]
    tests: frozenset[str]

    def unmet_by(self, installed: Mapping[str, str], *, with_tests: bool) -> list[str]:
        """
        What keeps a set of installed packages from being used, as `name==version` lines; empty when nothing does.

        Packages that the project names itself must be there, and whatever the lock pins must not be there in another
        version. A production image without the development tools passes, except for running the tests.
        """
        named = self.runtime | self.tests if with_tests else self.runtime
        return sorted(
            f"{name}=={version}"
            for name, version in self.pins.items()
            if installed.get(name, "" if name in named else version) != version
        )


def lock_digest(base_dir: Path) -> str:
    """The SHA-256 of requirements.lock, by which an environment made from it is recognised."""
    return hashlib.sha256((base_dir / LOCK_FILE).read_bytes()).hexdigest()


def read_requirements(base_dir: Path) -> Requirements:
    """The requirements of a checkout, from its requirements.lock and pyproject.toml."""
    lock = (base_dir / LOCK_FILE).read_text(encoding="utf-8")
    project = tomllib.loads((base_dir / "pyproject.toml").read_text(encoding="utf-8"))
    return Requirements(
        pins=read_pins(lock),
        runtime=_names(project["project"].get("dependencies", [])),
        tests=_names(project.get("dependency-groups", {}).get("dev", [])),
    )


def read_pins(lock: str) -> dict[str, str]:
    """Name (normalised) and version of every package of a lock that applies to this Python and system."""
    pins = {}
    for line in lock.splitlines():
        found = _PIN.match(line)
        if found and (found["marker"] is None or marker_applies(found["marker"])):
            pins[normalised(found["name"])] = found["version"]
    return pins


def marker_applies(marker: str) -> bool:
    """
    Evaluate an environment marker of the kind that a lock holds: comparisons joined by `and` and `or`.

    :raises ValueError: another kind of marker
    """
    return any(
        all(_clause_holds(clause.strip()) for clause in alternative.split(" and "))
        for alternative in marker.split(" or ")
    )


def _clause_holds(clause: str) -> bool:
    found = _CLAUSE.match(clause)
    variables = {
        "implementation_name": sys.implementation.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_system": platform.system(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }
    if found is None or found["variable"] not in variables:
        raise ValueError(f"requirements.lock holds an environment marker of an unknown kind: {clause}")
    mine, theirs = variables[found["variable"]], found["value"]
    if found["variable"].startswith("python_"):
        order = _compare(_release(mine), _release(theirs))
    elif found["operator"] in ("==", "!="):
        order = 0 if mine == theirs else 1
    else:
        raise ValueError(f"requirements.lock orders names that have no order: {clause}")
    return {
        "==": order == 0,
        "!=": order != 0,
        "<": order < 0,
        "<=": order <= 0,
        ">": order > 0,
        ">=": order >= 0,
    }[found["operator"]]


def _compare(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    return (left > right) - (left < right)


def _release(version: str) -> tuple[int, ...]:
    """(3, 11, 2) of `3.11.2` or `3.11.2rc1`; missing numbers count as zero, so that 3.11 equals 3.11.0."""
    numbers = [int(match) for match in re.findall(r"^\d+|(?<=\.)\d+", version)[:3]]
    return tuple(numbers + [0] * (3 - len(numbers)))


def installed_packages(directories: Iterable[Path]) -> dict[str, str]:
    """
    Name and version of the packages in some import directories, the first directory winning.

    Read from the names of their metadata directories: importing or opening each would make every start slower.
    """
    installed: dict[str, str] = {}
    for directory in directories:
        try:
            entries = list(directory.iterdir())
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        for entry in entries:
            found = _DIST_INFO.match(entry.name)
            if found and (entry / "METADATA").exists():
                installed.setdefault(normalised(found["name"]), found["version"])
    return installed


def normalised(name: str) -> str:
    """A package's name as the packaging specifications compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _names(requirements: Iterable[str]) -> frozenset[str]:
    return frozenset(normalised(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]) for line in requirements)
