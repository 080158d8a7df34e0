#!/usr/bin/env python3
"""
Everything the project does is started from here, on a machine with nothing but Python.

    python3 manage.py demo              set everything up and play the story of a payment
    python3 manage.py test [...]        set everything up and run pytest with these arguments
    python3 manage.py services status   look at the embedded servers (also: start, stop, reset)
    python3 manage.py help              Django's own commands

The first run makes a private environment; an embedded server is started for a command that needs one. This file is
read by whatever Python there is, so up to the check of its version it keeps to what the oldest ones understand.
"""

import os
import sys

MINIMUM_PYTHON = (3, 11)
NEWER_PYTHONS = ("python3.13", "python3.12", "python3.11", "python3.14")
# Django's commands that read the code alone. Everything else is taken to need the database.
COMMANDS_WITHOUT_DATABASE = {
    "",
    "check",
    "collectstatic",
    "compilemessages",
    "diffsettings",
    "errors",
    "findstatic",
    "help",
    "makemessages",
    "makemigrations",
    "spectacular",
    "startapp",
    "startproject",
    "version",
    "--version",
}


def refuse_unsupported_system():
    """End with the remedy where this Python is too old or this system is not a Unix."""
    if os.name != "posix":
        sys.exit("Zentra runs on Linux and macOS. On Windows, run it inside WSL (the Windows Subsystem for Linux).")
    if sys.version_info >= MINIMUM_PYTHON:
        return
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    newer = [name for name in NEWER_PYTHONS if any(os.access(os.path.join(f, name), os.X_OK) for f in folders)]
    if newer:
        remedy = "This machine has a newer one: " + " ".join([newer[0]] + sys.argv)
    else:
        remedy = "Install Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv) and run it with that."
    sys.exit("Zentra needs Python 3.11 or newer; this is Python %d.%d.\n%s" % (sys.version_info[:2] + (remedy,)))


def needs_database(arguments):
    """Whether a Django command, given with its arguments, works on the database."""
    command = arguments[0] if arguments else ""
    if "-h" in arguments or "--help" in arguments:
        return False
    if command == "check":
        return any(argument.startswith("--database") for argument in arguments)
    return command not in COMMANDS_WITHOUT_DATABASE


def say(line):
    """Tell the person at the keyboard; the standard output stays what the command itself prints."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def run(arguments):
    """Run one command line in an environment that has the requirements; return the exit code."""
    from pathlib import Path

    base_dir = Path(__file__).resolve().parent
    command = arguments[0] if arguments else ""

    from zentra.embedded.environment import ensure_environment

    ensure_environment(base_dir=base_dir, with_tests=command == "test", say=say)

    from zentra.embedded import cli, services

    if command == "services":
        return cli.main(arguments[1:], environ=os.environ, base_dir=base_dir)
    if command == "test":
        services.start_needed(os.environ, base_dir, say)
        os.chdir(str(base_dir))
        os.execv(sys.executable, [sys.executable, "-m", "pytest"] + arguments[1:])  # noqa: S606 - no shell wanted
    if needs_database(arguments):
        services.start_needed(os.environ, base_dir, say)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zentra.settings.local")

    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
    return 0


def main():
    """Check the system, run the command, and turn a problem that a person can mend into its message."""
    refuse_unsupported_system()

    from zentra.embedded.errors import EmbeddedServiceError

    try:
        sys.exit(run(sys.argv[1:]))
    except EmbeddedServiceError as problem:
        say("manage.py: " + str(problem))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
