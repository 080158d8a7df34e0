from __future__ import annotations

from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "ledger"
    default_auto_field = "django.db.models.BigAutoField"
    # Written by ledger_post, ledger_post_batch and ledger_lock_balance alone, which run as the owner.
    read_only_tables = ("ledger_account", "ledger_journal", "ledger_entry", "ledger_balance")
