"""Reading the ledger: accounts, entries, journals, trial balance. Nothing is written through the API."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import selectors
from ledger.api.serializers import (
    AccountBody,
    AccountEntryBody,
    EntriesQuery,
    JournalBody,
    TrialBalanceBody,
    TrialBalanceQuery,
    TrialBalanceRowBody,
)
from zentra.api import envelope
from zentra.api.schema import enveloped
from zentra.api.views import WorkspaceView
from zentra.core.ids import parse_or_not_found
from zentra.tenancy.types import Scope


class LedgerView(WorkspaceView):
    scopes: ClassVar = {"GET": Scope.LEDGER_READ}


class Accounts(LedgerView):
    @extend_schema(
        operation_id="list_ledger_accounts",
        parameters=[OpenApiParameter("page", int), OpenApiParameter("limit", int)],
        responses={200: enveloped(AccountBody, many=True)},
    )
    def get(self, request: Request) -> Response:
        """The accounts of the workspace with their live balances, by code and currency."""
        return self.reply_page(selectors.accounts(self.workspace_id), lambda account: AccountBody(account).data)


class AccountEntries(LedgerView):
    @extend_schema(
        operation_id="list_ledger_account_entries",
        parameters=[
            OpenApiParameter("after", int, description="Entry id of the last line seen; 0 starts at the oldest."),
            OpenApiParameter("limit", int),
        ],
        responses={200: enveloped(AccountEntryBody, many=True)},
    )
    def get(self, request: Request, account_id: str) -> Response:
        """The entries of one account, oldest first. Ask again with `pagination.next_after` for what follows."""
        query = EntriesQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        after, limit = query.validated_data["after"], query.validated_data["limit"]
        found, has_more = selectors.entries_of_account(
            self.workspace_id, parse_or_not_found("acc", account_id), after=after, limit=limit
        )
        pagination = {"limit": limit, "has_more": has_more, "next_after": found[-1].id if has_more else None}
        data = AccountEntryBody(found, many=True).data
        return Response(envelope.success(data, request_id=self.request_id, pagination=pagination))


class JournalDetail(LedgerView):
    @extend_schema(operation_id="get_ledger_journal", responses={200: enveloped(JournalBody)})
    def get(self, request: Request, journal_id: str) -> Response:
        """One journal with its entries."""
        journal = selectors.journal_by_id(self.workspace_id, parse_or_not_found("jrn", journal_id))
        return self.reply(JournalBody(journal, context={"entries": selectors.entries_of_journal(journal)}).data)


class TrialBalance(LedgerView):
    @extend_schema(
        operation_id="get_trial_balance",
        parameters=[OpenApiParameter("as_of", str, description="Accounting day, YYYY-MM-DD, included.")],
        responses={200: enveloped(TrialBalanceBody)},
    )
    def get(self, request: Request) -> Response:
        """The trial balance up to and including an accounting day; of everything booked without one."""
        as_of = TrialBalanceQuery(data=request.query_params).day()
        rows = selectors.trial_balance(self.workspace_id, as_of=as_of)
        data = {
            "as_of": as_of.isoformat() if as_of else None,
            "accounts": TrialBalanceRowBody([row for row in rows if not row.is_memo], many=True).data,
            "memo": TrialBalanceRowBody([row for row in rows if row.is_memo], many=True).data,
        }
        return self.reply(data)
