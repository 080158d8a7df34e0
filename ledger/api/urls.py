from __future__ import annotations

from django.urls import path

from ledger.api import views

urlpatterns = [
    path("ledger/accounts", views.Accounts.as_view()),
    path("ledger/accounts/<str:account_id>/entries", views.AccountEntries.as_view()),
    path("ledger/journals/<str:journal_id>", views.JournalDetail.as_view()),
    path("ledger/trial-balance", views.TrialBalance.as_view()),
]
