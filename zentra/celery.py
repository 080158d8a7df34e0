"""The Celery application. Messages are hints; PostgreSQL holds the work."""

from __future__ import annotations

import os

import structlog
from celery import Celery, Task
from celery.signals import setup_logging, task_prerun, worker_init
from django.conf import settings

from zentra.core.roles import require_fit_role

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zentra.settings.local")

app = Celery("zentra")
app.conf.update(settings.CELERY)
app.set_default()


@setup_logging.connect
def _keep_our_logging(**_unused: object) -> None:
    """Celery would replace the structured handlers; a connected receiver keeps them."""


@task_prerun.connect
def _fresh_log_context(task_id: str, task: Task, **_unused: object) -> None:
    """A job's log lines name the job, and nothing of the one before."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(job=task.name, job_id=task_id)


@worker_init.connect
def _refuse_unfit_role(**_unused: object) -> None:
    """A live worker does not start as an owner or superuser."""
    if settings.ZENTRA_ALLOW_LIVE:
        require_fit_role()
