"""python -m tests.guards [--small]: see the package."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.guards", description="Which test turns red without which guard."
    )
    parser.add_argument("--small", action="store_true", help="only without the guards, not with them first")
    options = parser.parse_args()
    _set_up()

    from tests.conftest import migrated_template, scratch_database
    from tests.guards.guards import GUARDS
    from tests.guards.runner import report
    from tests.races.scenarios import Stage
    from tests.simulator.process import Simulator

    template = migrated_template()
    with tempfile.TemporaryDirectory(prefix="guards-") as folder:
        simulator = Simulator(Path(folder), "--late-seconds", "0.4")

        @contextmanager
        def stages() -> Iterator[Stage]:
            with scratch_database(template) as database:
                yield Stage(database, simulator)

        try:
            return report(GUARDS, stages, with_guard_first=not options.small, say=lambda line: print(line, flush=True))
        finally:
            simulator.terminate()


def _set_up() -> None:
    """The servers that the environment names, or the embedded ones; then Django."""
    from zentra.embedded import services

    root = Path(__file__).resolve().parent.parent.parent
    services.start_needed(os.environ, root, lambda line: print(line, file=sys.stderr))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zentra.settings.test")

    import django

    django.setup()
    # Without its guard a scenario makes the product fail; its log lines are expected.
    logging.disable(logging.CRITICAL)


if __name__ == "__main__":
    sys.exit(main())
