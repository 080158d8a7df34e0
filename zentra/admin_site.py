"""The admin site's configuration: one site for operators, with the platform's own index."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class ZentraAdminConfig(AdminConfig):
    default_site = "unfold.sites.UnfoldAdminSite"
