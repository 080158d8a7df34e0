from __future__ import annotations

from django.apps import AppConfig

from zentra.core.registries import set_event_sink


class WebhooksConfig(AppConfig):
    name = "webhooks"
    default_auto_field = "django.db.models.BigAutoField"
    append_only_tables = ("webhooks_event", "webhooks_deliveryattempt")

    def ready(self) -> None:
        from webhooks.services import publish  # noqa: PLC0415 - models exist only once the registry is ready

        set_event_sink(publish.publish_registered_fact)
