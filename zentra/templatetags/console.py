"""What the console's templates need: amounts, moments, state labels, and links from public ids to pages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from zentra.core.ids import ID_LENGTH, PREFIXES, InvalidId, abbreviated, parse_public_id
from zentra.core.money import grouped_text
from zentra.tenancy.tones import TONES

register = template.Library()

#: Which page shows the object behind a public id.
_PAGES = {
    "pay": "admin:payments_payment_change",
    "att": "admin:payments_attempt_change",
    "jrn": "admin:ledger_journal_change",
    "rte": "admin:routing_routingdecision_change",
    "pac": "admin:routing_provideraccount_change",
    "evt": "admin:webhooks_event_change",
    "whd": "admin:webhooks_delivery_change",
    "evd": "admin:evidence_evidencerecord_change",
    "btc": "admin:settlement_settlementbatch_change",
    "cas": "admin:settlement_driftcase_change",
}


@register.filter
def money(minor: int | None, currency: str) -> str:
    """Minor units for people: '1,250.00 EUR'."""
    return "-" if minor is None else grouped_text(int(minor), currency)


@register.filter
def major(minor: int | None, currency: str) -> str:
    """The number alone, without its currency: '1,250.00'."""
    if minor is None:
        return "-"
    return grouped_text(int(minor), currency).rpartition(" ")[0]


@register.filter
def words(state: Any) -> str:
    """A state or code as words: 'requires_action' → 'requires action'. Public ids stay what they are, abbreviated."""
    text = str(state if state not in (None, "") else "-")
    prefix, _, tail = text.rpartition("_")
    return abbreviated(text) if prefix in PREFIXES and len(tail) == ID_LENGTH else text.replace("_", " ")


@register.simple_tag
def label(state: Any) -> SafeString | str:
    """A coloured label for a state word; a dash for none."""
    if state in (None, "", "none"):
        return format_html('<span class="z-faint">{}</span>', "none" if state == "none" else "-")
    return format_html('<span class="z-label z-{}">{}</span>', TONES.get(str(state), "plain"), words(state))


@register.filter
def moment(value: Any) -> str:
    """A time as 2026-11-21 15:04:05.123 (UTC), from a datetime or its ISO text."""
    if value in (None, ""):
        return "-"
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"


@register.filter
def clock_time(value: Any) -> str:
    """The time of day alone, to the millisecond."""
    return moment(value).rpartition(" ")[2]


@register.filter
def short_id(text: Any) -> str:
    """A long id, shortened for tables: ours keep their prefix ('pay_…6kz3q8d1'), others lose their head."""
    text = str(text or "-")
    if text.partition("_")[0] in PREFIXES:
        return abbreviated(text)
    return text if len(text) <= 14 else f"…{text[-8:]}"


@register.filter
def actor(text: str) -> SafeString:
    """Who acted: the kind in words, the name shortened if it is an id."""
    kind, _, name = str(text).partition(":")
    return format_html('{} <span class="z-id" title="{}">{}</span>', words(kind), name, abbreviated(name))


@register.simple_tag
def id_link(text: Any, short: bool = False) -> SafeString | str:
    """A public id, linked to its page where it has one; the whole id is always in the title."""
    if not text:
        return "-"
    shown = abbreviated(str(text)) if short else text
    address = page_of(str(text))
    if address is None:
        return format_html('<span class="z-id" title="{}">{}</span>', text, shown)
    return format_html('<a class="z-id" title="{}" href="{}">{}</a>', text, address, shown)


def page_of(text: str) -> str | None:
    """The address of the page for a public id, or None."""
    prefix = text.partition("_")[0]
    if prefix not in _PAGES:
        return None
    try:
        return reverse(_PAGES[prefix], args=[parse_public_id(prefix, text)])
    except (InvalidId, NoReverseMatch):
        return None
