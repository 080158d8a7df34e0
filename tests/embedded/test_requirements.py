"""Reading the lock, and telling whether an environment has it, without anything installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.embedded.conftest import ROOT
from zentra.embedded.requirements import (
    Requirements,
    installed_packages,
    marker_applies,
    read_pins,
    read_requirements,
)

LOCK = """
django==5.2.19 \\
    --hash=sha256:00
    # via zentra-payments (pyproject.toml)
psycopg-binary==3.3.9 ; implementation_name != 'pypy' \\
    --hash=sha256:00
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:00
"""


def requirements() -> Requirements:
    return Requirements(
        pins={"django": "5.2.19", "asgiref": "3.13.0", "pytest": "9.2.0"},
        runtime=frozenset({"django"}),
        tests=frozenset({"pytest"}),
    )


class TestReadPins:
    def test_takes_the_pins_whose_marker_applies_here(self):
        assert read_pins(LOCK) == {"django": "5.2.19", "psycopg-binary": "3.3.9"}

    def test_understands_every_line_of_the_projects_own_lock(self):
        lock = (ROOT / "requirements.lock").read_text()
        names = [line.split("==")[0] for line in lock.splitlines() if line and line[0] not in " #"]

        mine = read_requirements(ROOT)

        assert len(names) > 60
        assert set(mine.pins) <= set(names)
        elsewhere = {"colorama", "tzdata", "async-timeout"}  # for Windows and for Python before 3.11.3
        assert set(names) - set(mine.pins) <= elsewhere
        assert {"django", "celery", "psycopg", "redis"} <= mine.runtime <= set(mine.pins)
        assert "pytest" in mine.tests
        assert "pytest" not in mine.runtime


class TestMarkerApplies:
    @pytest.mark.parametrize(
        ("marker", "applies"),
        [
            ("sys_platform == 'win32'", False),
            (f"sys_platform == '{sys.platform}'", True),
            ("python_full_version < '3.11.0'", False),
            ("python_full_version >= '3.9'", True),
            ("python_version < '3.100'", True),
            ("implementation_name != 'pypy' and platform_python_implementation != 'PyPy'", True),
            ("implementation_name != 'pypy' and sys_platform == 'win32'", False),
            ("sys_platform == 'win32' or python_version > '3.2'", True),
        ],
    )
    def test_compares_as_the_installer_does(self, marker, applies):
        assert marker_applies(marker) is applies

    @pytest.mark.parametrize("marker", ["extra == 'x'", "(python_version < '3')", "sys_platform < 'linux'"])
    def test_refuses_what_it_does_not_understand(self, marker):
        with pytest.raises(ValueError, match=r"requirements\.lock"):
            marker_applies(marker)


class TestUnmetBy:
    def test_is_satisfied_without_the_tools_of_the_tests_unless_they_are_wanted(self):
        installed = {"django": "5.2.19", "asgiref": "3.13.0", "unrelated": "1"}

        assert requirements().unmet_by(installed, with_tests=False) == []
        assert requirements().unmet_by(installed, with_tests=True) == ["pytest==9.2.0"]

    def test_names_what_is_absent_and_what_has_another_version(self):
        assert requirements().unmet_by({}, with_tests=False) == ["django==5.2.19"]
        assert requirements().unmet_by({"django": "5.2.1"}, with_tests=False) == ["django==5.2.19"]
        older_below = {"django": "5.2.19", "asgiref": "3.0.0"}
        assert requirements().unmet_by(older_below, with_tests=False) == ["asgiref==3.13.0"]

    def test_this_environment_satisfies_the_projects_lock(self):
        installed = installed_packages(Path(entry) for entry in sys.path)

        assert read_requirements(ROOT).unmet_by(installed, with_tests=True) == []


class TestInstalledPackages:
    def test_reads_whole_packages_and_lets_the_first_directory_win(self, tmp_path):
        for name in ("first/Django_Filter-26.2", "first/broken-1.0", "second/django_filter-1.0", "second/six-1.17.0"):
            folder = tmp_path / f"{name}.dist-info"
            folder.mkdir(parents=True)
            if "broken" not in name:
                (folder / "METADATA").touch()

        found = installed_packages([tmp_path / "first", tmp_path / "second", tmp_path / "absent"])

        assert found == {"django-filter": "26.2", "six": "1.17.0"}
