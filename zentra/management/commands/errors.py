"""`manage.py errors`: the page docs/errors.md, on standard output."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages
from typing import Any, Final

from django.apps import apps
from django.core.management.base import BaseCommand

from zentra.api.catalogue import error_page
from zentra.core.errors import catalogue

APPS: Final = (
    "core",
    "tenancy",
    "evidence",
    "idempotency",
    "api",
    "routing",
    "ledger",
    "webhooks",
    "payments",
    "settlement",
)


class Command(BaseCommand):
    help = "Prints the page of every error code: python3 manage.py errors > docs/errors.md"

    def handle(self, *args: Any, **options: Any) -> None:
        packages = {apps.get_app_config(label).name for label in APPS}
        for package in packages:
            _load(package)
        ours = [kind for kind in catalogue() if kind.__module__.startswith(tuple(packages))]
        self.stdout.write(error_page(ours), ending="")


def _load(package: str) -> None:
    """Import every module of a package: an error class exists once its module is loaded."""
    for found in walk_packages(import_module(package).__path__, f"{package}."):
        if ".migrations" not in found.name:
            import_module(found.name)
