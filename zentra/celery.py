"""The Celery application. Messages are hints; PostgreSQL holds the work."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import setup_logging, worker_init
from django.conf import settings

from zentra.core.roles import require_fit_role

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zentra.settings.local")

app = Celery("zentra")
app.conf.update(settings.CELERY)
app.set_default()


@setup_logging.connect
def _keep_our_logging(**_unused: object) -> None:
    """Celery would replace the structured handlers; a connected receiver keeps them."""


@worker_init.connect
def _refuse_unfit_role(**_unused: object) -> None:
    """A live worker does not start as an owner or superuser."""
    if settings.ZENTRA_ALLOW_LIVE:
        require_fit_role()
