"""The admin's site: one site for operators, with a sidebar by subject and the lanes on its first page."""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

#: The sidebar: groups, and in each (app, model, title, symbol). A model without a page is left out, and so is one
#: that the person may not see.
NAVIGATION: Final = (
    (
        "Payments",
        (
            ("payments", "payment", "Payments", "payments"),
            ("payments", "attempt", "Unknown outcomes", "help"),
            ("payments", "providercallback", "Provider callbacks", "call_received"),
        ),
    ),
    (
        "Reconciliation",
        (
            ("settlement", "driftcase", "Drift cases", "rule"),
            ("settlement", "settlementbatch", "Batches", "inventory_2"),
            ("settlement", "settlementfile", "Files", "upload_file"),
            ("settlement", "settlementline", "Lines", "reorder"),
            ("settlement", "linematch", "Line matches", "join_inner"),
            ("settlement", "reconciliationrun", "Runs", "update"),
        ),
    ),
    (
        "Ledger",
        (
            ("ledger", "journal", "Journals", "menu_book"),
            ("ledger", "account", "Accounts", "account_balance"),
        ),
    ),
    (
        "Routing",
        (
            ("routing", "provideraccount", "Provider accounts", "hub"),
            ("routing", "routingrule", "Rules", "alt_route"),
            ("routing", "routingdecision", "Decisions", "fork_right"),
        ),
    ),
    (
        "Webhooks",
        (
            ("webhooks", "endpoint", "Endpoints", "webhook"),
            ("webhooks", "event", "Events", "bolt"),
            ("webhooks", "delivery", "Deliveries", "send"),
        ),
    ),
    (
        "Evidence",
        (
            ("evidence", "evidencerecord", "Records", "fact_check"),
            ("idempotency", "idempotencykey", "Idempotency keys", "key_visualizer"),
        ),
    ),
    (
        "Workspaces & keys",
        (
            ("tenancy", "workspace", "Workspaces", "workspaces"),
            ("tenancy", "merchant", "Merchants", "storefront"),
            ("tenancy", "apikey", "API keys", "key"),
            ("tenancy", "organization", "Organizations", "domain"),
        ),
    ),
    (
        "People",
        (
            ("tenancy", "user", "Users", "person"),
            ("tenancy", "member", "Memberships", "badge"),
        ),
    ),
)


class ConsoleSite(UnfoldAdminSite):
    """Grouped navigation instead of one list per app."""

    index_title = "Overview"

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        overview = {"title": "Overview", "icon": "dashboard", "link": reverse("admin:index")}
        groups: list[dict[str, Any]] = [{"items": [self._item(request, overview)]}]
        for title, entries in NAVIGATION:
            items = [self._item(request, entry) for entry in self._entries(request, entries)]
            if items:
                groups.append({"title": title, "collapsible": False, "separator": True, "items": items})
        return groups

    def _entries(self, request: HttpRequest, entries: tuple[tuple[str, str, str, str], ...]) -> list[dict[str, Any]]:
        found = []
        for app, model, title, symbol in entries:
            page = self._registry.get(apps.get_model(app, model))
            if page is not None and page.has_view_or_change_permission(request):
                link = reverse(f"admin:{app}_{model}_changelist")
                found.append({"title": title, "icon": symbol, "link": link})
        return found

    def _item(self, request: HttpRequest, entry: dict[str, Any]) -> dict[str, Any]:
        index = reverse("admin:index")
        here = request.path == entry["link"] if entry["link"] == index else request.path.startswith(entry["link"])
        return {**entry, "active": here, "has_permission": True}


class ZentraAdminConfig(AdminConfig):
    default_site = "zentra.admin_site.ConsoleSite"


def environment_label(_request: HttpRequest) -> list[str]:
    """The corner label: whether this deployment moves real money."""
    return ["Live", "danger"] if settings.ZENTRA_ALLOW_LIVE else ["Sandbox", "info"]
