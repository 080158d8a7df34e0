"""The lock: every pin with its hashes, no host; and no licence that would bind the product."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.markers import default_environment
from packaging.requirements import Requirement

from tests.architecture.source import ROOT

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
#: Licences that may be linked without binding the product.
WEAK = re.compile(r"lesser|LGPL|library general", re.IGNORECASE)
STRONG = re.compile(r"affero|AGPL|\bGPL|gnu general public|SSPL|server side public|BUSL|business source", re.IGNORECASE)
#: Where the metadata says too little; what its own licence file says.
KNOWN: dict[str, str] = {}


def pins() -> list[str]:
    """Each requirement of the lock as one line, with its hashes."""
    joined = LOCK.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def licence_of(found: Distribution) -> str:
    """What a distribution says about its licence; of a text as long as a licence, its first line."""
    data = found.metadata
    said = [data.get("License-Expression") or "", *(data.get_all("Classifier") or [])]
    said.append((data.get("License") or "").strip().partition("\n")[0])
    return "; ".join(
        text
        for text in said
        if text and ((not text.startswith("Classifier") and "::" not in text) or text.startswith("License ::"))
    )


class TestTheLock:
    def test_pins_every_requirement_by_version_and_hash(self):
        for line in pins():
            requirement = Requirement(line.partition(" --hash")[0].strip())
            assert [item.operator for item in requirement.specifier] == ["=="], line[:80]
            assert re.findall(r"--hash=sha256:[0-9a-f]{64}(?= |$)", line), line[:80]

    def test_names_no_host_and_no_place(self):
        assert len(pins()) > 50
        for forbidden in (
            "://",
            "--index-url",
            "--extra-index-url",
            "--find-links",
            "--trusted-host",
            " @ ",
            "file:",
            "git+",
        ):
            assert forbidden not in LOCK

    def test_covers_what_pyproject_asks_for(self):
        import tomllib

        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        asked = {Requirement(text).name.lower() for text in project["project"]["dependencies"]}
        locked = {Requirement(line.partition(" --hash")[0].strip()).name.lower() for line in pins()}

        assert asked - locked == set()


class TestLicences:
    def test_of_everything_installed_leave_the_product_free(self):
        judged = {}
        for line in pins():
            requirement = Requirement(line.partition(" --hash")[0].strip())
            if requirement.marker and not requirement.marker.evaluate(default_environment()):
                continue
            try:
                judged[requirement.name] = KNOWN.get(requirement.name) or licence_of(distribution(requirement.name))
            except PackageNotFoundError:
                continue

        assert len(judged) > 50
        assert [name for name, said in judged.items() if not said] == []
        assert {name: said for name, said in judged.items() if STRONG.search(said) and not WEAK.search(said)} == {}

    def test_the_check_knows_the_licences_apart(self):
        assert STRONG.search("GPL-3.0-or-later")
        assert STRONG.search("License :: OSI Approved :: GNU Affero General Public License v3")
        assert WEAK.search("LGPL-3.0-only")
        assert not STRONG.search("Apache-2.0")
        assert not STRONG.search("MPL-2.0")
