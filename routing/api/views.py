from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from routing.api.serializers import (
    DecisionBody,
    SimulationBody,
    SimulationRequest,
    decision_body,
    simulation_body,
)
from routing.selectors import decision_by_id
from routing.services import plan_route
from routing.types import RouteRequest
from zentra.api.schema import enveloped
from zentra.api.views import WorkspaceView
from zentra.core.ids import parse_or_not_found
from zentra.tenancy.selectors import merchant_for_payment
from zentra.tenancy.types import Scope


class Decision(WorkspaceView):
    """One stored routing decision."""

    scopes = {"GET": Scope.ROUTING_READ}

    @extend_schema(summary="Read a routing decision", responses={200: enveloped(DecisionBody)})
    def get(self, request: Request, decision_id: str) -> Response:
        """Every candidate of the decision, with the reasons why it was passed over."""
        decision = decision_by_id(self.workspace_id, parse_or_not_found("rte", decision_id))
        return self.reply(decision_body(decision))


class Simulations(WorkspaceView):
    """Dry runs of routing."""

    scopes = {"POST": Scope.ROUTING_READ}

    @extend_schema(
        summary="Simulate a route",
        request=SimulationRequest,
        responses={200: enveloped(SimulationBody)},
    )
    def post(self, request: Request) -> Response:
        """Which account would take such a payment now, and why the others would not. Writes nothing, calls nobody."""
        body = self.parsed(SimulationRequest)
        merchant = merchant_for_payment(self.workspace_id, body.get("merchant_id"))
        plan = plan_route(
            request=RouteRequest(
                workspace_id=self.workspace_id,
                environment=self.caller.environment,
                amount_minor=body["amount_minor"],
                currency=body["currency"],
                method=body["method"],
                merchant_id=merchant.id,
                capture_method=body["capture_method"],
            ),
            seed=body["seed"],
            clock=self.clock,
        )
        return self.reply(simulation_body(plan))
