from __future__ import annotations

from django.urls import path

from payments.api import views

urlpatterns = [
    path("payments", views.Payments.as_view()),
    path("payments/charges", views.Charges.as_view()),
    path("payments/charges/<path:reference>", views.ChargeDetail.as_view()),
    path("payments/refunds", views.Refunds.as_view()),
    path("payments/refunds/<path:reference>", views.RefundDetail.as_view()),
    path("payments/<str:payment_id>", views.PaymentDetail.as_view()),
    path("payments/<str:payment_id>/captures", views.PaymentCaptures.as_view()),
    path("payments/<str:payment_id>/void", views.PaymentVoid.as_view()),
    path("payments/<str:payment_id>/trace", views.PaymentTrace.as_view()),
    path("callbacks/<str:provider_account>", views.ProviderCallbacks.as_view()),
]
