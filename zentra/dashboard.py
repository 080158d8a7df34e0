"""The first page of the admin: what needs a person now, and how the last day went. Every figure is bounded."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse

from payments.selectors import attempts_in_doubt, newest_payments, states_since
from settlement.selectors import open_cases
from webhooks.selectors import delivery_states_since, unfinished_deliveries
from zentra.core.clock import SYSTEM_CLOCK
from zentra.core.money import grouped_text
from zentra.tenancy.console import reach_of

SHOWN: Final = 6
#: Above this a card says '1,000+' instead of counting on.
MAX_COUNT: Final = 1_000
DAY: Final = timedelta(hours=24)


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds ``lanes`` to the index page's context; None for a person without a workspace."""
    reach = reach_of(request)
    if reach == []:
        return {**context, "lanes": None}
    now = SYSTEM_CLOCK.now()
    attempts = attempts_in_doubt(reach)
    cases = open_cases(reach)
    states = states_since(reach, now - DAY)
    deliveries = delivery_states_since(reach, now - DAY)
    lanes = {
        "now": now,
        "cards": [
            _attempts_card(attempts),
            _cases_card(cases),
            _deliveries_card(deliveries),
            _payments_card(states.total()),
        ],
        "attempts": attempts[:SHOWN],
        "cases": cases[:SHOWN],
        "states": [{"name": name, "count": count} for name, count in states.most_common()],
        "payments_total": states.total(),
        "deliveries": unfinished_deliveries(reach)[:SHOWN],
        "payments": newest_payments(reach)[:SHOWN],
    }
    return {**context, "lanes": lanes}


def _attempts_card(attempts: Any) -> dict[str, Any]:
    waiting = _count(attempts.filter(needs_operator=True))
    open_ones = _count(attempts)
    return {
        "name": "Unknown outcomes",
        "number": _shown(open_ones),
        "note": f"{_shown(waiting)} need a person",
        "tone": "danger" if waiting else "warning" if open_ones else "success",
        "link": reverse("admin:payments_attempt_changelist"),
    }


def _cases_card(cases: Any) -> dict[str, Any]:
    found = list(cases.values_list("currency", "suspense_minor", "opened_at")[: MAX_COUNT + 1])
    held: defaultdict[str, int] = defaultdict(int)
    for currency, suspense_minor, _ in found:
        held[currency] += abs(suspense_minor)
    sums = [grouped_text(minor, currency) for currency, minor in sorted(held.items()) if minor]
    return {
        "name": "Open drift cases",
        "number": _shown(len(found)),
        "note": " + ".join(sums[:3]) + " in suspense" if sums else "nothing in suspense",
        "tone": "warning" if found else "success",
        "link": reverse("admin:settlement_driftcase_changelist"),
    }


def _deliveries_card(states: Any) -> dict[str, Any]:
    given_up = states["exhausted"]
    return {
        "name": "Deliveries, last 24 hours",
        "number": f"{states['pending']:,}",
        "note": f"pending; {given_up:,} given up, {states['delivered']:,} delivered",
        "tone": "danger" if given_up else "info",
        "link": reverse("admin:webhooks_delivery_changelist"),
    }


def _payments_card(total: int) -> dict[str, Any]:
    return {
        "name": "Payments, last 24 hours",
        "number": f"{total:,}",
        "note": "in every state",
        "tone": "info",
        "link": reverse("admin:payments_payment_changelist"),
    }


def _count(rows: Any) -> int:
    """At most MAX_COUNT + 1, whatever the table holds."""
    return int(rows.order_by()[: MAX_COUNT + 1].count())


def _shown(count: int) -> str:
    return f"{MAX_COUNT:,}+" if count > MAX_COUNT else f"{count:,}"
