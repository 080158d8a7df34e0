from __future__ import annotations

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    name = "zentra.tenancy"
    label = "tenancy"
    verbose_name = "Workspaces and people"
    default_auto_field = "django.db.models.BigAutoField"
