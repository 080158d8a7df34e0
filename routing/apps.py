from __future__ import annotations

from django.apps import AppConfig


class RoutingConfig(AppConfig):
    name = "routing"
    append_only_tables = ("routing_routingdecision",)
    default_auto_field = "django.db.models.BigAutoField"
