from __future__ import annotations

from django.urls import path

from routing.api.views import Decision, Simulations

urlpatterns = [
    path("routing/decisions/<str:decision_id>", Decision.as_view(), name="routing-decision"),
    path("routing/simulations", Simulations.as_view(), name="routing-simulations"),
]
