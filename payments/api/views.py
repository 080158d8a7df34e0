from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from payments import selectors
from payments.api import serializers as forms
from payments.api.answers import capture_answer, payment_answer, refund_answer, void_answer
from payments.api.filters import filtered_payments
from payments.events import payment_data, refund_data
from payments.models import Payment, Refund
from payments.services import callbacks, captures, intake, refunds, voids
from zentra.api.parsers import RawParser
from zentra.api.schema import ErrorBody, enveloped
from zentra.api.views import OneForm, WorkspaceView
from zentra.core.ids import parse_or_not_found
from zentra.tenancy.types import Scope

_DECLINED = OpenApiResponse(ErrorBody, description="Declined; `details.payment` is the payment.")
_UNKNOWN = OpenApiResponse(
    enveloped(forms.PaymentBody), description="The outcome is not known yet; repeat with the same key."
)


class Payments(WorkspaceView):
    scopes = {"GET": Scope.PAYMENTS_READ, "POST": Scope.PAYMENTS_WRITE}

    @extend_schema(
        operation_id="create_payment",
        summary="Create a payment",
        request=forms.CreatePaymentForm,
        responses={201: enveloped(forms.PaymentBody), 202: _UNKNOWN, 402: _DECLINED, 409: ErrorBody},
    )
    def post(self, request: Request) -> HttpResponse:
        """Authorizes within the request. After any time-out repeat with the same key: never a second charge."""
        body = self.parsed(forms.CreatePaymentForm)
        key = self.idempotency_key("payment.create", body, resource="pay")
        return self.keyed(
            key,
            lambda: intake.create_payment(
                workspace_id=self.workspace_id,
                new=forms.new_payment(body),
                key=key,
                actor=self.actor,
                context=self.context(key),
                answer=payment_answer(self.request_id),
            ),
        )

    @extend_schema(
        operation_id="list_payments",
        summary="List payments, newest first",
        responses=enveloped(forms.PaymentBody, many=True),
    )
    def get(self, request: Request) -> Response:
        rows = filtered_payments(request, selectors.payments_of(self.workspace_id))
        return self.reply_page(rows, shown)


class Charges(Payments):
    @extend_schema(
        operation_id="create_charge",
        summary="Create a charge (the same resource as a payment)",
        request=forms.CreatePaymentForm,
        responses={201: enveloped(forms.PaymentBody), 202: _UNKNOWN, 402: _DECLINED, 409: ErrorBody},
    )
    def post(self, request: Request) -> HttpResponse:
        return super().post(request)

    @extend_schema(
        operation_id="list_charges", summary="List charges", responses=enveloped(forms.PaymentBody, many=True)
    )
    def get(self, request: Request) -> Response:
        return super().get(request)


class PaymentDetail(WorkspaceView):
    scopes = {"GET": Scope.PAYMENTS_READ}

    @extend_schema(operation_id="get_payment", summary="Read a payment", responses=enveloped(forms.PaymentBody))
    def get(self, request: Request, payment_id: str) -> Response:
        found = selectors.payment_by_id(self.workspace_id, parse_or_not_found("pay", payment_id))
        return self.reply(shown(found))


class ChargeDetail(WorkspaceView):
    scopes = {"GET": Scope.PAYMENTS_READ}

    @extend_schema(
        operation_id="get_charge", summary="Read a charge by its reference", responses=enveloped(forms.ChargeBody)
    )
    def get(self, request: Request, reference: str) -> Response:
        """The live or newest charge of a reference; `predecessors` lists the ids of earlier ones."""
        found = selectors.payment_by_reference(self.workspace_id, reference)
        return self.reply({**shown(found), "predecessors": selectors.predecessors_of(found)})


class PaymentCaptures(WorkspaceView):
    scopes = {"GET": Scope.PAYMENTS_READ, "POST": Scope.PAYMENTS_WRITE}

    @extend_schema(
        operation_id="create_capture",
        summary="Capture an authorized payment, in whole or in part",
        request=forms.CreateCaptureForm,
        responses={201: enveloped(forms.CaptureBody), 409: ErrorBody},
    )
    def post(self, request: Request, payment_id: str) -> HttpResponse:
        body = self.parsed(forms.CreateCaptureForm)
        key = self.idempotency_key("capture.create", body, resource="cap", payment_id=payment_id)
        return self.keyed(
            key,
            lambda: captures.request_capture(
                workspace_id=self.workspace_id,
                payment_id=parse_or_not_found("pay", payment_id),
                amount_minor=body.get("amount_minor"),
                final=body.get("final", "amount_minor" not in body),
                key=key,
                actor=self.actor,
                context=self.context(key),
                answer=capture_answer(self.request_id),
            ),
        )

    @extend_schema(
        operation_id="list_captures",
        summary="List the captures of a payment",
        responses=enveloped(forms.CaptureBody, many=True),
    )
    def get(self, request: Request, payment_id: str) -> Response:
        found = selectors.payment_by_id(self.workspace_id, parse_or_not_found("pay", payment_id))
        return self.reply_page(
            selectors.captures_of(found), lambda capture: selectors.capture_data(capture, found.public_id)
        )


class PaymentVoid(WorkspaceView):
    scopes = {"POST": Scope.PAYMENTS_WRITE}

    @extend_schema(
        operation_id="void_payment",
        summary="Void an authorized payment",
        request=forms.VoidForm,
        responses={200: enveloped(forms.PaymentBody), 202: enveloped(forms.PaymentBody), 409: ErrorBody},
    )
    def post(self, request: Request, payment_id: str) -> HttpResponse:
        body = self.parsed(forms.VoidForm)
        key = self.idempotency_key("payment.void", body, resource="pay", payment_id=payment_id)
        return self.keyed(
            key,
            lambda: voids.request_void(
                workspace_id=self.workspace_id,
                payment_id=parse_or_not_found("pay", payment_id),
                key=key,
                actor=self.actor,
                context=self.context(key),
                answer=void_answer(self.request_id),
            ),
        )


class PaymentTrace(WorkspaceView):
    scopes = {"GET": Scope.PAYMENTS_READ}

    @extend_schema(
        operation_id="get_payment_trace",
        summary="The whole story of a payment",
        responses=enveloped(forms.TraceBody),
    )
    def get(self, request: Request, payment_id: str) -> Response:
        """State, runtime stages, route, attempts, ledger lines, events with deliveries, settlement, evidence."""
        return self.reply(selectors.trace_of(self.workspace_id, parse_or_not_found("pay", payment_id)))


class Refunds(WorkspaceView):
    scopes = {"GET": Scope.PAYMENTS_READ, "POST": Scope.REFUNDS_WRITE}

    @extend_schema(
        operation_id="create_refund",
        summary="Refund a charge, in whole or in part",
        request=forms.CreateRefundForm,
        responses={201: enveloped(forms.RefundBody), 409: ErrorBody},
    )
    def post(self, request: Request) -> HttpResponse:
        body = self.parsed(forms.CreateRefundForm)
        key = self.idempotency_key("refund.create", body, resource="re")
        return self.keyed(
            key,
            lambda: refunds.request_refund(
                workspace_id=self.workspace_id,
                charge_reference=body["charge_reference"],
                amount_minor=body.get("amount_minor"),
                reference=body.get("reference", ""),
                reason=body.get("reason", ""),
                key=key,
                actor=self.actor,
                context=self.context(key),
                answer=refund_answer(self.request_id),
            ),
        )

    @extend_schema(
        operation_id="list_refunds", summary="List refunds", responses=enveloped(forms.RefundBody, many=True)
    )
    def get(self, request: Request) -> Response:
        return self.reply_page(selectors.refunds_of_workspace(self.workspace_id), shown_refund)


class RefundDetail(WorkspaceView):
    scopes = {"GET": Scope.PAYMENTS_READ}

    @extend_schema(
        operation_id="get_refund", summary="Read a refund by its reference", responses=enveloped(forms.RefundBody)
    )
    def get(self, request: Request, reference: str) -> Response:
        return self.reply(shown_refund(selectors.refund_by_reference(self.workspace_id, reference)))


class ProviderCallbacks(APIView):
    """Inbound messages of a provider: authenticated by the provider's signature, not by an API key."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    parser_classes = (RawParser,)
    content_negotiation_class = OneForm

    @extend_schema(
        operation_id="receive_callback",
        summary="A provider's signed callback",
        request={"application/json": {"type": "object"}},
        responses={200: None, 401: ErrorBody},
    )
    def post(self, request: Request, provider_account: str) -> Response:
        callbacks.receive_callback(
            account_public_id=provider_account, headers=request.headers, body=request._request.body
        )
        return Response({"received": True})


def shown(payment: Payment) -> dict[str, Any]:
    """A payment as the API shows it now."""
    return payment_data(payment, outcome_unknown=selectors.outcome_unknown(payment))


def shown_refund(refund: Refund) -> dict[str, Any]:
    return refund_data(refund, refund.payment)
