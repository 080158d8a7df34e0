from __future__ import annotations

from django.urls import path

from settlement.api import views

urlpatterns = [
    path("settlement/files", views.Files.as_view()),
    path("settlement/files/<str:file_id>", views.FileDetail.as_view()),
    path("settlement/batches", views.Batches.as_view()),
    path("settlement/batches/<str:batch_id>", views.BatchDetail.as_view()),
    path("reconciliation/runs", views.Runs.as_view()),
    path("reconciliation/runs/<str:run_id>", views.RunDetail.as_view()),
    path("reconciliation/exceptions", views.Exceptions.as_view()),
    path("reconciliation/exceptions/<str:case_id>", views.ExceptionDetail.as_view()),
]
