"""The roof's own app: binds Celery tasks once every app is loaded, and grants the app role after migrations."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules

from zentra.core.roles import grant_app_role


class ZentraConfig(AppConfig):
    name = "zentra"
    label = "zentra"

    def ready(self) -> None:
        # Celery's own loader cannot run inside ready(): it would enter the app registry again.
        autodiscover_modules("celery", "tasks")
        # The signal is sent for apps with models alone, each after all migrations have run: one of them is enough.
        post_migrate.connect(grant_app_role, sender=apps.get_app_config("core"), dispatch_uid="grant_app_role")
