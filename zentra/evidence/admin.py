"""Evidence in the admin: to read. The database refuses every change."""

from __future__ import annotations

import json
from datetime import datetime

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from zentra.core.ids import abbreviated, public_id
from zentra.evidence.models import EvidenceRecord
from zentra.tenancy.console import ReadOnlyAdmin, shown_id


@admin.register(EvidenceRecord)
class EvidenceRecordAdmin(ReadOnlyAdmin):
    """Who did what to which object, and the hash that proves the record was not changed since."""

    id_search = {"evd": "id", "pay": "payment_id"}
    list_display = ("recorded", "action", "subject", "transition", "actor", "short_hash", "workspace")
    list_filter = ("workspace", "recorded_at")
    list_select_related = ("workspace",)
    search_fields = ("=id",)
    search_help_text = "An id: evd_… or pay_…"
    ordering = ("-id",)
    fields = ("shown_id", "workspace", "action", "subject", "transition", "actor", "recorded", "full_hash", "text")
    readonly_fields = fields

    @display(description="recorded at (UTC)")
    def recorded(self, record: EvidenceRecord) -> str:
        at: datetime = record.recorded_at
        return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"

    @display(description="record")
    def shown_id(self, record: EvidenceRecord) -> str:
        return public_id("evd", record.id)

    @display(description="action")
    def action(self, record: EvidenceRecord) -> str:
        return str(record.content["action"])

    @display(description="subject")
    def subject(self, record: EvidenceRecord) -> SafeString:
        return shown_id(str(record.content["subject"]))

    @display(description="before → after")
    def transition(self, record: EvidenceRecord) -> str:
        before, after = (_state_words(record.content[name]) for name in ("before", "after"))
        return f"{before or 'nothing'} → {after or 'nothing'}" if before or after else "-"

    @display(description="actor")
    def actor(self, record: EvidenceRecord) -> SafeString:
        kind, _, name = str(record.content["actor"]).partition(":")
        return format_html("{} {}", kind.replace("_", " "), shown_id(name))

    @display(description="SHA-256")
    def short_hash(self, record: EvidenceRecord) -> SafeString:
        return format_html('<span class="z-id">{}…</span>', bytes(record.content_hash).hex()[:12])

    @display(description="SHA-256 of the content")
    def full_hash(self, record: EvidenceRecord) -> SafeString:
        return format_html('<span class="z-id">{}</span>', bytes(record.content_hash).hex())

    @display(description="content, as hashed")
    def text(self, record: EvidenceRecord) -> SafeString:
        return format_html('<pre class="z-pre">{}</pre>', json.dumps(record.content, indent=2, ensure_ascii=False))


def _state_words(state: str) -> str:
    """A state as words; where the state is an id (the chosen account of a route), the id, shortened."""
    short = abbreviated(state)
    return short if short != state else state.replace("_", " ")
