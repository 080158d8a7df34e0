from __future__ import annotations

from django.apps import AppConfig


class EvidenceConfig(AppConfig):
    name = "zentra.evidence"
    label = "evidence"
    append_only_tables = ("evidence_evidencerecord",)
    default_auto_field = "django.db.models.BigAutoField"
