"""The roof: wires every app's routes. Nothing imports it."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from zentra.api.health import healthz

_APPS = ["payments", "ledger", "routing", "webhooks", "settlement"]

urlpatterns = [
    path("", RedirectView.as_view(url="/api/docs/")),
    path("healthz", healthz),
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    *[path("api/v1/", include(f"{app}.api.urls")) for app in _APPS],
]

handler400 = "zentra.api.errors.bad_request"
handler404 = "zentra.api.errors.not_found"
handler500 = "zentra.api.errors.server_error"
