"""`manage.py ledger verify`: prove the books. Exit code 1 when a proof does not hold."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ledger import services
from zentra.core.ids import InvalidId, parse_public_id


class Command(BaseCommand):
    help = "Proves the ledger: balanced journals, balances equal to their entries, and the proofs of the other apps."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        verify = actions.add_parser("verify", help="run every proof and print what does not hold")
        verify.add_argument("--workspace", metavar="wsp_…", help="one workspace; all without it")

    def handle(self, *args: Any, workspace: str | None, **options: Any) -> None:
        try:
            workspace_id = parse_public_id("wsp", workspace) if workspace else None
        except InvalidId as error:
            raise CommandError(f"--workspace: {error}") from error
        results = services.verify_books(workspace_id=workspace_id)
        for result in results:
            self.stdout.write(f"{'ok  ' if result.holds else 'FAIL'} {result.name}")
            for sentence in result.violations:
                self.stdout.write(f"     {sentence}")
        if not all(result.holds for result in results):
            raise CommandError("the books do not hold", returncode=1)
