"""The first run, with the real venv and the real pip, on a checkout that pins one tiny package of our own."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.embedded.conftest import ROOT, clean_environ

# The interpreter below this environment: it has nothing installed that matters here.
BARE_PYTHON = getattr(sys, "_base_executable", sys.executable)
NAME = "zentra_tiny_example"
PROBE = f"""
import sys
from pathlib import Path
here = Path(__file__).resolve().parent
from zentra.embedded.environment import ensure_environment
from zentra.embedded.errors import EmbeddedServiceError
say = lambda line: print(line, file=sys.stderr, flush=True)
for name in sys.argv[1:]:
    sys.modules[name] = None
try:
    ensure_environment(base_dir=here, with_tests=False, say=say)
except EmbeddedServiceError as problem:
    sys.exit(f"manage.py: {{problem}}")
try:
    import {NAME} as tiny
    print(sys.prefix, tiny.VERSION)
except ImportError:
    print(sys.prefix, "without the package")
"""


@dataclass
class Checkout:
    """A directory with the code of the first run, a lock, and a directory of packages in place of the network."""

    root: Path

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def pin(self, version: str) -> None:
        """Build the package in a version and pin it, with its true hash."""
        wheel = build_wheel(self.root / "packages", version)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (self.root / "requirements.lock").write_text(f"{NAME}=={version} \\\n    --hash=sha256:{digest}\n")

    def start(self, *absent_modules: str, python: str = BARE_PYTHON, **environ: str) -> subprocess.Popen[str]:
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.root / "packages"), "PIP_CONFIG_FILE": os.devnull}
        return subprocess.Popen(
            [python, str(self.root / "probe.py"), *absent_modules],
            env=clean_environ(**(offline | environ)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.root.parent,
        )

    def run(self, *absent_modules: str, python: str = BARE_PYTHON, **environ: str) -> tuple[int, str, str]:
        child = self.start(*absent_modules, python=python, **environ)
        try:
            stdout, stderr = child.communicate(timeout=120)
        finally:
            child.kill()
        return child.returncode, stdout.strip(), stderr

    def has_stamp(self) -> bool:
        return (self.venv / "zentra.stamp").exists()


def build_wheel(folder: Path, version: str) -> Path:
    """A wheel is a zip file; this one holds a module with its version."""
    folder.mkdir(exist_ok=True)
    info = f"{NAME}-{version}.dist-info"
    files = {
        f"{NAME}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for name, text in files.items()
    )
    wheel = folder / f"{NAME}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in (files | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}).items():
            archive.writestr(zipfile.ZipInfo(name), text)  # without a time: the same version has the same hash
    return wheel


def make_checkout(root: Path) -> Checkout:
    made = Checkout(root)
    shutil.copytree(ROOT / "zentra" / "embedded", root / "zentra" / "embedded")
    (root / "zentra" / "__init__.py").touch()
    (root / "probe.py").write_text(PROBE)
    (root / "pyproject.toml").write_text(f'[project]\nname = "x"\ndependencies = ["{NAME}>=1"]\n')
    made.pin("1.0")
    return made


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return make_checkout(tmp_path / "checkout")


@pytest.fixture(scope="module")
def first_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, list[tuple[int, str, str]]]:
    """Two first runs of one checkout at the same time, and what they answered. Only to be looked at."""
    made = make_checkout(tmp_path_factory.mktemp("first") / "checkout")
    children = [made.start(), made.start()]
    outputs = [child.communicate(timeout=120) for child in children]
    answers = [(child.returncode, out.strip(), err) for child, (out, err) in zip(children, outputs, strict=True)]
    return made, answers


@pytest.fixture
def finished(checkout: Checkout, first_runs: tuple[Checkout, list[tuple[int, str, str]]]) -> Checkout:
    """A checkout after its first run: a copy, which is quicker to make than an environment."""
    shutil.copytree(first_runs[0].venv, checkout.venv, symlinks=True)
    return checkout


def foreign_venv(folder: Path, package: Path | None) -> None:
    """An environment as another tool makes it: without pip, and without our marks."""
    subprocess.run([BARE_PYTHON, "-m", "venv", "--without-pip", str(folder)], check=True)
    if package is not None:
        (site_packages,) = folder.glob("lib/python3.*/site-packages")
        zipfile.ZipFile(package).extractall(site_packages)


class TestFirstRun:
    def test_makes_an_environment_says_so_step_by_step_and_goes_on_inside_it(self, first_runs):
        checkout, answers = first_runs
        code, stdout, stderr = next((answer for answer in answers if "[1/3]" in answer[2]), answers[0])

        assert code == 0, stderr
        assert stdout == f"{checkout.venv} 1.0"
        # A count of zero is shown only when there was time to: one small package may be there at the first look.
        assert [line for line in stderr.splitlines() if not line.endswith("0/1")] == [
            "[1/3] creating a private virtual environment in .venv",
            "[2/3] fetching 1 pinned packages ... 1/1",
            "[3/3] installing 1 packages ... 1/1",
        ]

    def test_two_at_once_install_once_and_both_go_on(self, first_runs):
        checkout, answers = first_runs

        assert [answer[:2] for answer in answers] == [(0, f"{checkout.venv} 1.0")] * 2, answers
        assert sum("[1/3]" in stderr for _, _, stderr in answers) == 1
        assert sum("waiting for it" in stderr for _, _, stderr in answers) == 1

    def test_is_silent_from_the_second_time_on(self, first_runs):
        finished, _ = first_runs
        assert finished.run() == (0, f"{finished.venv} 1.0", "")
        assert finished.run(python=str(finished.venv / "bin" / "python")) == (0, f"{finished.venv} 1.0", "")

    def test_killed_while_it_installs_is_done_again_from_the_beginning_even_from_inside(self, finished):
        finished.pin("2.0")
        child = finished.start()
        give_up = time.monotonic() + 60
        while finished.has_stamp() and time.monotonic() < give_up:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert not finished.has_stamp()
        half = finished.venv / "half-written"
        half.touch()

        code, stdout, stderr = finished.run(python=str(finished.venv / "bin" / "python"))

        assert (code, stdout) == (0, f"{finished.venv} 2.0"), stderr
        assert "[1/3] creating" in stderr
        assert not half.exists()
        assert finished.has_stamp()


class TestChangedLock:
    def test_is_installed_into_our_environment(self, finished):
        finished.pin("2.0")

        code, stdout, stderr = finished.run()

        assert (code, stdout) == (0, f"{finished.venv} 2.0"), stderr
        assert "[1/3] requirements.lock has changed: bringing .venv up to it" in stderr
        assert finished.run()[2] == ""

    @pytest.mark.parametrize("spoil", ["another hash", "no hash"])
    def test_with_a_package_that_is_not_the_pinned_one_is_refused(self, finished, spoil):
        finished.pin("2.0")
        lock = finished.root / "requirements.lock"
        pin, digest = lock.read_text().split(" \\\n    --hash=sha256:")
        lock.write_text(
            f"{pin} \\\n    --hash=sha256:{digest[::-1].strip()}\n" if spoil == "another hash" else f"{pin}\n"
        )

        code, _, stderr = finished.run()

        assert code == 1
        assert "A package is not the one that requirements.lock pins" in stderr
        assert not finished.has_stamp()

    def test_without_network_names_the_remedies_and_the_log(self, finished):
        finished.pin("2.0")

        # Nothing listens on the discard port; no proxy of the machine may answer in its place.
        nowhere = {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
        code, _, stderr = finished.run(**nowhere, NO_PROXY="*", no_proxy="*")

        assert code == 1
        assert "The package index could not be reached" in stderr
        assert "PIP_INDEX_URL" in stderr
        assert str(finished.venv / "zentra-install.log") in stderr
        assert not finished.has_stamp()


class TestForeignEnvironment:
    def test_that_has_the_requirements_is_used_and_left_as_it_is(self, checkout):
        foreign_venv(checkout.venv, checkout.root / "packages" / f"{NAME}-1.0-py3-none-any.whl")
        before = sorted(path.name for path in checkout.venv.iterdir())

        assert checkout.run() == (0, f"{checkout.venv} 1.0", "")
        assert sorted(path.name for path in checkout.venv.iterdir()) == before

    def test_that_lacks_them_is_left_alone_and_another_directory_is_used(self, finished):
        finished.venv.rename(finished.root / ".venv-zentra")
        finished.pin("2.0")
        foreign_venv(finished.venv, None)
        before = sorted(path.name for path in finished.venv.iterdir())

        code, stdout, stderr = finished.run()

        assert (code, stdout) == (0, f"{finished.root / '.venv-zentra'} 2.0"), stderr
        assert f"{finished.venv} was not made by manage.py and does not have {NAME.replace('_', '-')}==2.0" in stderr
        assert sorted(path.name for path in finished.venv.iterdir()) == before

    def test_in_which_it_runs_already_is_simply_used(self, checkout):
        elsewhere = checkout.root / "elsewhere"
        foreign_venv(elsewhere, checkout.root / "packages" / f"{NAME}-1.0-py3-none-any.whl")

        assert checkout.run(python=str(elsewhere / "bin" / "python")) == (0, f"{elsewhere} 1.0", "")
        assert not checkout.venv.exists()

    def test_is_nobodys_business_where_the_variable_says_off(self, checkout):
        code, stdout, stderr = checkout.run(ZENTRA_VENV="off")

        assert (code, stderr) == (0, "")
        assert stdout.endswith("without the package")
        assert not checkout.venv.exists()


class TestObstacles:
    @pytest.mark.parametrize("module", ["venv", "ensurepip"])
    def test_a_missing_module_is_named_with_its_package(self, checkout, module):
        code, _, stderr = checkout.run(module)

        assert code == 1
        assert f"its module {module} is missing" in stderr
        assert "apt install python3-venv" in stderr
        assert not checkout.venv.exists()

    def test_a_directory_that_cannot_be_written_is_named_with_the_variables(self, checkout):
        code, _, stderr = checkout.run(ZENTRA_VENV="/proc/nowhere/venv")

        assert code == 1
        assert "cannot be made in /proc/nowhere/venv" in stderr
        assert "Set ZENTRA_VENV and ZENTRA_STATE_DIR" in stderr

    def test_an_environment_that_does_not_help_ends_in_a_message_and_not_in_a_circle(self, finished):
        (finished.venv / "zentra.stamp").write_text(
            (finished.venv / "zentra.stamp").read_text().replace("python3.", "python2.")
        )

        code, _, stderr = finished.run()

        assert code == 1
        assert f"The environment in {finished.venv} does not work" in stderr
        assert "Remove it and run the command again" in stderr
