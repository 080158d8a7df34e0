"""
The first run: a private virtual environment made from requirements.lock, in which manage.py then starts itself again.

Where the requirements are there already, in whatever environment, nothing happens. A directory made here carries a
lock file from its first moment and a stamp with the digest of requirements.lock from its last, so a killed install is
seen and done again, and a directory made by other means is never touched: it is used where it satisfies the lock, and
left alone where it does not.

manage.py checks the version of Python before it imports this module.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from zentra.embedded.errors import EmbeddedServiceError
from zentra.embedded.files import exclusive
from zentra.embedded.installation import install_packages
from zentra.embedded.requirements import (
    LOCK_FILE,
    Requirements,
    installed_packages,
    lock_digest,
    read_requirements,
)

OURS = "zentra.lock"
STAMP = "zentra.stamp"
LOG = "zentra-install.log"
STARTED_AGAIN = "ZENTRA_STARTED_IN"
# As long as a slow network may need for everything; a second first run waits that long for the first.
INSTALL_SECONDS = 3600

Say = Callable[[str], None]


def ensure_environment(*, base_dir: Path, with_tests: bool, say: Say) -> None:
    """
    Return where this interpreter has the requirements; otherwise make or find an environment and go on inside it.

    :param with_tests: the tools of the tests are wanted too
    :param say: called with the lines that tell what is going on
    :raises EmbeddedServiceError: no environment can be had; the message names the remedy
    """
    started_in = os.environ.pop(STARTED_AGAIN, None)
    if os.environ.get("ZENTRA_VENV") == "off" or not (base_dir / LOCK_FILE).is_file():
        return
    running, stamp = Path(sys.prefix), _stamp_of(base_dir)
    if _is_ours(running):
        missing = [] if _has_stamp(running, stamp, exactly=True) else ["the stamp of this requirements.lock"]
    else:
        installed = installed_packages(Path(entry) for entry in sys.path)
        missing = read_requirements(base_dir).unmet_by(installed, with_tests=with_tests)
    if not missing:
        return
    if started_in is not None:
        raise EmbeddedServiceError(
            f"The environment in {started_in} does not work: Python {sys.version.split()[0]} does not find in it "
            f"{', '.join(missing[:5])}.\nIt was probably made for another Python. Remove it and run the command again."
        )
    venv = _ready_environment(base_dir, stamp=stamp, with_tests=with_tests, say=say)
    os.environ[STARTED_AGAIN] = str(venv)
    sys.stdout.flush()
    python = str(venv / "bin" / "python")
    os.execv(python, [python, *sys.orig_argv[1:]])  # noqa: S606 - the same command again, no shell wanted


def _ready_environment(base_dir: Path, *, stamp: str, with_tests: bool, say: Say) -> Path:
    """An environment that satisfies the lock: ours, made now if need be, or a found one."""
    requirements = read_requirements(base_dir)
    wanted = Path(os.environ.get("ZENTRA_VENV") or base_dir / ".venv").expanduser().absolute()
    passed_over: list[str] = []
    for venv in (wanted, wanted.with_name(f"{wanted.name}-zentra")):
        if _is_ours(venv) or not _holds_anything(venv):
            if not _has_stamp(venv, stamp):
                for line in passed_over:
                    say(line)
                _make(venv, base_dir=base_dir, requirements=requirements, stamp=stamp, say=say)
            return venv
        unmet = _unmet_by_foreign(venv, requirements, with_tests=with_tests)
        if not unmet:
            return venv
        more = f" and {len(unmet) - 1} more" if len(unmet) > 1 else ""
        passed_over.append(f"{venv} was not made by manage.py and does not have {unmet[0]}{more}: left as it is")
    raise EmbeddedServiceError("\n".join([*passed_over, "Remove one of them, or set ZENTRA_VENV to a new directory."]))


def _unmet_by_foreign(venv: Path, requirements: Requirements, *, with_tests: bool) -> list[str]:
    """What an environment that somebody else made lacks; the interpreter counts too."""
    usable = [
        folder
        for folder in venv.glob("lib/python3.*/site-packages")
        if folder.parent.name.removeprefix("python3.").isdecimal()
        and int(folder.parent.name.removeprefix("python3.")) >= 11
    ]
    if not usable or not os.access(venv / "bin" / "python", os.X_OK):
        return ["python>=3.11"]
    return requirements.unmet_by(installed_packages(usable), with_tests=with_tests)


def _make(venv: Path, *, base_dir: Path, requirements: Requirements, stamp: str, say: Say) -> None:
    """Make our environment, or bring it up to the lock; one process at a time."""
    refuse_missing_modules()
    try:
        venv.mkdir(parents=True, exist_ok=True)
        with exclusive(
            venv / OURS,
            timeout=INSTALL_SECONDS,
            what="preparing the private environment",
            on_wait=lambda: say(f"another process prepares {venv}; waiting for it"),
        ) as lock:
            if _has_stamp(venv, stamp):
                return
            if (venv / STAMP).exists() and os.access(venv / "bin" / "python", os.X_OK):
                say(f"[1/3] requirements.lock has changed: bringing {_short(venv, base_dir)} up to it")
                (venv / STAMP).unlink()
            else:
                say(f"[1/3] creating a private virtual environment in {_short(venv, base_dir)}")
                _empty(venv)
                _create(venv, lock=lock)
            install_packages(
                venv / "bin" / "python",
                lock_file=base_dir / LOCK_FILE,
                total=len(requirements.pins),
                log=venv / LOG,
                keep_open=lock,
            )
            _write_stamp(venv, stamp)
    except OSError as problem:
        raise EmbeddedServiceError(
            f"The private environment cannot be made in {venv}: {problem.strerror} ({problem.filename}).\n"
            "Set ZENTRA_VENV and ZENTRA_STATE_DIR to directories that you can write and that have room."
        ) from problem


def refuse_missing_modules() -> None:
    """
    Debian and Ubuntu split the standard library, and a bare `python3` there cannot make an environment.

    :raises EmbeddedServiceError: `venv` or `ensurepip` is not installed
    """
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise EmbeddedServiceError(_without_modules(" and ".join(missing)))


def _without_modules(what: str) -> str:
    return (
        f"This Python ({sys.executable}) cannot make a virtual environment: its module {what} is missing.\n"
        f"Debian, Ubuntu: apt install python3-venv (or python3.{sys.version_info[1]}-venv). Elsewhere: install Python "
        "from its own installer.\nOr install requirements.lock into an environment of your own and run manage.py there."
    )


def _create(venv: Path, *, lock: int) -> None:
    # Not sys.executable: inside a broken environment of ours that would be the one just emptied.
    python = getattr(sys, "_base_executable", None) or sys.executable
    done = subprocess.run(
        [python, "-m", "venv", str(venv)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(lock,),
        timeout=INSTALL_SECONDS,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        (venv / LOG).write_text(done.stdout, encoding="utf-8")
        tail = "\n".join(done.stdout.splitlines()[-8:])
        if "ensurepip" in done.stdout:
            raise EmbeddedServiceError(f"{tail}\n{_without_modules('ensurepip')}")
        raise EmbeddedServiceError(f"The virtual environment could not be created; see {venv / LOG}.\n{tail}")


def _is_ours(venv: Path) -> bool:
    return (venv / OURS).exists()


def _holds_anything(venv: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return any(venv.iterdir())
    return False


def _empty(venv: Path) -> None:
    for entry in venv.iterdir():
        if entry.name == OURS:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _stamp_of(base_dir: Path) -> str:
    """What the stamp of a whole environment says: the lock it was made from, and by which Python."""
    return f"{lock_digest(base_dir)} python{sys.version_info[0]}.{sys.version_info[1]}"


def _has_stamp(venv: Path, stamp: str, *, exactly: bool = False) -> bool:
    """Seen from another Python, an environment may well hold a different one: then only the lock counts."""
    try:
        found = (venv / STAMP).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return False
    same = found == stamp if exactly else found.split()[:1] == stamp.split()[:1]
    return same and os.access(venv / "bin" / "python", os.X_OK)


def _write_stamp(venv: Path, stamp: str) -> None:
    """Last, and in one step: whoever sees the stamp sees a whole environment."""
    aside = venv / f"{STAMP}.new"
    with aside.open("w", encoding="utf-8") as file:
        file.write(f"{stamp}\n")
        file.flush()
        os.fsync(file.fileno())
    aside.rename(venv / STAMP)


def _short(path: Path, base_dir: Path) -> str:
    return str(path.relative_to(base_dir)) if path.is_relative_to(base_dir) else str(path)
