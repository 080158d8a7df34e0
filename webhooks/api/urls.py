from __future__ import annotations

from django.urls import path

from webhooks.api import views

urlpatterns = [
    path("webhooks/endpoints", views.Endpoints.as_view()),
    path("webhooks/endpoints/<str:endpoint_id>", views.EndpointDetail.as_view()),
    path("webhooks/endpoints/<str:endpoint_id>/rotate-secret", views.EndpointSecret.as_view()),
    path("webhooks/endpoints/<str:endpoint_id>/test", views.EndpointTest.as_view()),
    path("webhooks/deliveries", views.Deliveries.as_view()),
    path("webhooks/deliveries/<str:delivery_id>", views.DeliveryDetail.as_view()),
    path("webhooks/deliveries/<str:delivery_id>/replay", views.DeliveryReplay.as_view()),
    path("events", views.Events.as_view()),
]
