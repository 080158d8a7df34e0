from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from settlement import selectors
from settlement.api.parsers import CsvParser
from settlement.api.serializers import (
    DriftCaseBody,
    ExceptionsQuery,
    MultipartUploadForm,
    ReconciliationRunBody,
    RunForm,
    SettlementBatchBody,
    SettlementBatchDetailBody,
    SettlementFileBody,
    UploadForm,
    file_data,
)
from settlement.events import batch_data, case_data, run_data
from settlement.models import ReconciliationRun, SettlementBatch
from settlement.services import ingest, runs
from zentra.api import envelope
from zentra.api.schema import ErrorBody, enveloped
from zentra.api.views import WorkspaceView
from zentra.core.errors import MissingRequiredField
from zentra.core.ids import parse_or_not_found
from zentra.idempotency.types import Answer
from zentra.tenancy.types import Scope

PAGE = [OpenApiParameter("page", int), OpenApiParameter("limit", int)]
MAX_CASES_SHOWN = 100


class SettlementView(WorkspaceView):
    scopes: ClassVar = {"GET": Scope.SETTLEMENT_READ}


class Files(WorkspaceView):
    scopes: ClassVar = {"POST": Scope.SETTLEMENT_WRITE}
    parser_classes = (CsvParser, MultiPartParser)

    @extend_schema(
        operation_id="upload_settlement_file",
        summary="Import a provider's settlement file",
        parameters=[
            OpenApiParameter("provider_account", str, description="pac_…; needed with a text/csv body."),
            OpenApiParameter("name", str, description="The file's name; with a text/csv body."),
        ],
        request={"text/csv": OpenApiTypes.BINARY, "multipart/form-data": MultipartUploadForm},
        responses={
            201: enveloped(SettlementFileBody),
            200: enveloped(SettlementFileBody),
            409: ErrorBody,
            413: ErrorBody,
        },
    )
    def post(self, request: Request) -> Response:
        """Idempotent by content: the same bytes again answer 200 with the first import and add nothing. At most 64 MiB.

        The lines are matched by a worker right after; `GET /settlement/batches/{id}` shows how far it is.
        """
        content, given = _upload(request)
        form = UploadForm(data=given)
        form.is_valid(raise_exception=True)
        file = ingest.ingest_file(
            workspace_id=self.workspace_id,
            provider_account_id=form.validated_data["provider_account"],
            name=form.validated_data.get("name", "settlement.csv"),
            content=content,
            actor=self.actor,
            context=self.context(),
        )
        data = file_data(file, selectors.batch_ids_of_file(file))
        return self.reply(data, status=200 if file.replayed else 201)


def _upload(request: Request) -> tuple[bytes, dict[str, Any]]:
    """The bytes and what stands beside them. :raises MissingRequiredField: a form without a file, an empty body"""
    if isinstance(request.data, bytes):
        if not request.data:
            raise MissingRequiredField("the body is empty; send the file", field="file")
        return request.data, request.query_params.dict()
    form: Any = request.data
    upload = request.FILES.get("file")
    if upload is None:
        raise MissingRequiredField("the form has no file", field="file")
    fields = {name: form[name] for name in ("provider_account", "name") if name in form}
    return upload.read(), {"name": upload.name, **request.query_params.dict(), **fields}


class FileDetail(SettlementView):
    @extend_schema(operation_id="get_settlement_file", responses={200: enveloped(SettlementFileBody)})
    def get(self, request: Request, file_id: str) -> Response:
        """One imported file: how much of it was read, and the rows that could not be."""
        file = selectors.file_by_id(self.workspace_id, parse_or_not_found("fil", file_id))
        return self.reply(file_data(file, selectors.batch_ids_of_file(file)))


class Batches(SettlementView):
    @extend_schema(
        operation_id="list_settlement_batches",
        parameters=PAGE,
        responses={200: enveloped(SettlementBatchBody, many=True)},
    )
    def get(self, request: Request) -> Response:
        """The batches of the workspace, newest first."""
        return self.reply_page(selectors.batches_of(self.workspace_id), _batch)


class BatchDetail(SettlementView):
    @extend_schema(operation_id="get_settlement_batch", responses={200: enveloped(SettlementBatchDetailBody)})
    def get(self, request: Request, batch_id: str) -> Response:
        """One batch with its cases, at most 100 of them, open ones first."""
        batch = selectors.batch_by_id(self.workspace_id, parse_or_not_found("btc", batch_id))
        cases = selectors.cases_of(self.workspace_id).filter(batch=batch)[:MAX_CASES_SHOWN]
        return self.reply({**_batch(batch), "cases": [case_data(case) for case in cases]})


def _batch(batch: SettlementBatch) -> dict[str, Any]:
    return {**batch_data(batch), "open_cases": batch.open_cases}  # type: ignore[attr-defined]


class Runs(WorkspaceView):
    scopes: ClassVar = {"GET": Scope.SETTLEMENT_READ, "POST": Scope.SETTLEMENT_WRITE}

    @extend_schema(
        operation_id="create_reconciliation_run",
        summary="Reconcile everything that is open",
        request=RunForm,
        responses={201: enveloped(ReconciliationRunBody)},
    )
    def post(self, request: Request) -> HttpResponse:
        """Records the run and hands it to a worker; read it again for its counts. Needs an idempotency key."""
        body = self.parsed(RunForm)
        key = self.idempotency_key("reconciliation.run", body, resource="run")

        def render(run: ReconciliationRun) -> Answer:
            data = envelope.to_bytes(envelope.success(run_data(run), request_id=self.request_id))
            return Answer(status=201, body=data, request_id=self.request_id)

        answer = runs.request_run(
            workspace_id=self.workspace_id, key=key, actor=self.actor, context=self.context(key), answer=render
        )
        return self.reply_answer(answer)

    @extend_schema(
        operation_id="list_reconciliation_runs",
        parameters=PAGE,
        responses={200: enveloped(ReconciliationRunBody, many=True)},
    )
    def get(self, request: Request) -> Response:
        """The runs of the workspace, newest first: of files, of nights, on request."""
        return self.reply_page(selectors.runs_of(self.workspace_id), run_data)


class RunDetail(SettlementView):
    @extend_schema(operation_id="get_reconciliation_run", responses={200: enveloped(ReconciliationRunBody)})
    def get(self, request: Request, run_id: str) -> Response:
        """One run with its counts."""
        return self.reply(run_data(selectors.run_by_id(self.workspace_id, parse_or_not_found("run", run_id))))


class Exceptions(SettlementView):
    @extend_schema(
        operation_id="list_reconciliation_exceptions",
        parameters=[ExceptionsQuery, *PAGE],
        responses={200: enveloped(DriftCaseBody, many=True)},
    )
    def get(self, request: Request) -> Response:
        """The drift cases of the workspace: what is open first, the most urgent on top."""
        query = ExceptionsQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = dict(query.validated_data)
        rows = selectors.cases_of(self.workspace_id)
        if "status" in asked:
            asked["state"] = asked.pop("status")
        return self.reply_page(rows.filter(**asked), case_data)


class ExceptionDetail(SettlementView):
    @extend_schema(operation_id="get_reconciliation_exception", responses={200: enveloped(DriftCaseBody)})
    def get(self, request: Request, case_id: str) -> Response:
        """One drift case."""
        return self.reply(case_data(selectors.case_by_id(self.workspace_id, parse_or_not_found("cas", case_id))))
