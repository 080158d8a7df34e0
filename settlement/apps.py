from __future__ import annotations

from django.apps import AppConfig

from zentra.core.registries import register_ledger_proof, register_trace_section


class SettlementConfig(AppConfig):
    name = "settlement"
    default_auto_field = "django.db.models.BigAutoField"
    append_only_tables = ("settlement_settlementline",)

    def ready(self) -> None:
        from settlement import selectors  # noqa: PLC0415 - models exist only once the registry is ready

        register_ledger_proof("suspense_equals_open_cases", selectors.unequal_suspense)
        register_trace_section("settlement", selectors.settlement_of_payment)
