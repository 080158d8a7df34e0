"""`manage.py demo`: everything on this machine, and the main job played as a story."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from urllib3.exceptions import HTTPError

from zentra.demo.platform import Platform
from zentra.demo.processes import ProcessFailed
from zentra.demo.story import Story, StoryFailed


class Stopped(Exception):
    """A signal asked the demo to end."""


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stopped


class Command(BaseCommand):
    help = "Start everything on this machine and play a payment from charge to settlement."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="End after the story instead of staying up.")

    def handle(self, *args: Any, **options: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        started = time.monotonic()
        state_dir = Path(os.environ.get("ZENTRA_STATE_DIR") or settings.BASE_DIR / ".zentra")
        platform = Platform(state_dir=state_dir)
        try:
            self._say("Preparing the database …")
            call_command("migrate", verbosity=0, interactive=False)
            platform.start(self._say)
            story = Story(platform=platform, say=self._say)
            story.play()
            self._say(f"\nThe story is told in {time.monotonic() - started:.1f} s.")
            platform.describe(self._say)
            if not options["once"]:
                self._stay(platform)
        except Stopped:
            self._say("\nStopping …")
        except (StoryFailed, ProcessFailed, TimeoutError, LookupError, OSError, HTTPError) as problem:
            self._say(f"\nNOT AS TOLD: {type(problem).__name__}: {problem}\nLogs: {platform.log_dir}")
            platform.stop()
            sys.exit(1)
        finally:
            platform.stop()

    def _stay(self, platform: Platform) -> None:
        self._say("Ctrl-C ends it.")
        while True:
            platform.tree.check()
            time.sleep(0.5)

    def _say(self, text: str) -> None:
        print(text, flush=True)
