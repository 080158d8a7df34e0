"""`manage.py reconcile`: reconcile what is open now, and print what was found."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from settlement.services import runs
from zentra.core.ids import InvalidId, parse_public_id, public_id
from zentra.tenancy.selectors import workspace_ids
from zentra.tenancy.types import Actor

CONSOLE = Actor(kind="operator", id="console")


class Command(BaseCommand):
    help = "Reconciles open batches, closes cases whose line has come, and opens cases for captures without a line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", metavar="wsp_…", help="one workspace; all without it")

    def handle(self, *args: Any, workspace: str | None, **options: Any) -> None:
        try:
            chosen = [parse_public_id("wsp", workspace)] if workspace else workspace_ids()
        except InvalidId as error:
            raise CommandError(f"--workspace: {error}") from error
        for workspace_id in chosen:
            run = runs.open_console_run(workspace_id=workspace_id, actor=CONSOLE)
            run = runs.run_reconciliation(workspace_id=workspace_id, run_id=run.id)
            counts = ", ".join(f"{name} {number}" for name, number in sorted(run.counts.items()))
            self.stdout.write(f"{public_id('wsp', workspace_id)} {run.public_id}: {counts}")
