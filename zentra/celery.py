"""The Celery application. Messages are hints; PostgreSQL holds the work."""

from __future__ import annotations

import os

import django
from celery import Celery
from celery.signals import setup_logging
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zentra.settings.local")

app = Celery("zentra")
app.conf.update(settings.CELERY)
app.set_default()


@setup_logging.connect
def _keep_our_logging(**_unused: object) -> None:
    """Celery would replace the structured handlers; a connected receiver keeps them."""


def setup() -> None:
    """Load Django, and with it every app's tasks. For the worker and the scheduler, which start here."""
    django.setup()
