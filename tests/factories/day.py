from __future__ import annotations

from typing import Any

from payments.models import Attempt, Payment
from routing.models import ProviderAccount
from settlement.models import DriftCase, SettlementBatch
from settlement.services import drift, ingest, reconcile
from settlement.types import Resolution
from tests.factories.routing import make_rule
from tests.factories.shop import Shop, open_shop
from tests.factories.tenancy import OPERATOR
from tests.simulator.process import Simulator
from webhooks.services import endpoints, sending
from zentra.core.clock import SYSTEM_CLOCK
from zentra.demo.receiver import Receiver
from zentra.evidence.types import RequestContext
from zentra.tenancy.models import User


def a_day_of_work(simulator: Simulator, operator: User) -> Shop:
    """A shop with payments of every outcome, deliveries, and a settlement that does not all match.

    ORD-1001 to ORD-1004 are captured and settled (1003 short by 1.50 EUR, 1001 twice), ORD-1002 is partly refunded,
    1005 was declined, 1006 failed over, 1007 and 1008 have no known outcome, 1009 stands in a batch whose declared
    total is wrong, and one line names a payment that nobody knows.
    """
    simulator.alpha.control("settlement")
    shop = open_shop(simulator, name="Acme Outdoor")
    account = ProviderAccount.objects.get(workspace_id=shop.workspace_id, name="alpha")
    make_rule(account, "euro cards to alpha", currency="EUR", priority=10)
    receiver = Receiver()
    _listen(shop, receiver)
    for number, amount in enumerate((4_990, 18_900, 125_000, 7_250), start=1):
        shop.captured(amount, reference=f"ORD-10{number:02d}", customer_id=f"customer-{number}")
    shop.refund("ORD-1002", 5_000, reason="requested_by_customer")
    shop.work()
    _settle(shop, simulator, account, [
        {"type": "wrong_amount", "reference": _provider_reference("ORD-1003"), "delta_minor": -150},
        {"type": "duplicate_line", "reference": _provider_reference("ORD-1001")},
        {"type": "unknown_reference", "amount_minor": 3_300},
    ])  # fmt: skip
    shop.captured(31_500, reference="ORD-1009", customer_id="customer-9")
    _settle(shop, simulator, account, [{"type": "declared_total", "delta_minor": -1_000}])
    shop.pay(9_900, "declined_stolen_card", reference="ORD-1005", customer_id="customer-5")
    shop.pay(42_000, "fault_at_alpha", reference="ORD-1006", capture_method="manual", customer_id="customer-6")
    shop.pay(63_700, "accept_then_timeout", reference="ORD-1007", customer_id="customer-7")
    shop.pay(12_345, "accept_then_timeout", reference="ORD-1008", customer_id="customer-8")
    Attempt.objects.filter(payment__reference="ORD-1007").update(needs_operator=True)
    _take_and_close(operator)
    sending.deliver_due(clock=SYSTEM_CLOCK)
    receiver.close()
    shop.pay(2_750, reference="ORD-1010", capture_method="manual", customer_id="customer-10")
    return shop


def _listen(shop: Shop, receiver: Receiver) -> None:
    made = endpoints.create_endpoint(
        workspace_id=shop.workspace_id,
        url=receiver.url,
        description="shop backend",
        actor=OPERATOR,
        clock=SYSTEM_CLOCK,
    )
    receiver.secret = made.secret


def _provider_reference(reference: str) -> str:
    """What the acquirer calls the capture of a payment."""
    payment = Payment.objects.get(reference=reference)
    return Attempt.objects.get(payment=payment, operation="capture").provider_reference


def _settle(shop: Shop, simulator: Simulator, account: ProviderAccount, anomalies: list[dict[str, Any]]) -> None:
    (batch,) = simulator.alpha.control("settlement", {"currency": "EUR", "anomalies": anomalies})["batches"]
    ingest.ingest_file(
        workspace_id=shop.workspace_id,
        provider_account_id=account.id,
        name=f"{batch['batch_id']}.csv",
        content=simulator.alpha.get(batch["file"]).body,
        actor=OPERATOR,
        context=RequestContext(),
    )
    found = SettlementBatch.objects.get(workspace_id=shop.workspace_id, provider_batch_id=batch["batch_id"])
    reconcile.reconcile_batch(workspace_id=shop.workspace_id, batch_id=found.id)


def _take_and_close(operator: User) -> None:
    """The operator works on two cases: the short line is theirs, the duplicate is closed."""
    for drift_class in ("amount_differs", "duplicate"):
        case = DriftCase.objects.filter(drift_class=drift_class).first()
        assert case is not None, list(DriftCase.objects.values_list("drift_class", flat=True))
        drift.assign_case(workspace_id=case.workspace_id, case_id=case.id, owner=operator, actor=OPERATOR)
    drift.close_case(
        workspace_id=case.workspace_id,
        case_id=case.id,
        resolution=Resolution.PROVIDER_CORRECTS_PAYOUT,
        note="The provider confirmed the double line; the next payout is lower by it.",
        actor=OPERATOR,
    )
