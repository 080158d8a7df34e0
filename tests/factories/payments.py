"""Captured and refunded payments without a provider: rows and journals as payments itself would have written them."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

from django.db import transaction

from ledger.services import post_journal
from payments import postings
from payments.models import Attempt, Capture, Payment, Refund
from payments.states import AttemptState, OperationState, PaymentState
from payments.types import CaptureMethod, CaptureMode
from routing.models import ProviderAccount
from routing.types import Operation
from tests.factories.tenancy import Tenant
from zentra.core.ids import new_id
from zentra.tenancy.selectors import terms_of


@transaction.atomic
def make_captured(
    tenant: Tenant,
    account: ProviderAccount,
    amount_minor: int,
    *,
    currency: str = "EUR",
    captures: tuple[int, ...] = (),
    age: timedelta = timedelta(),
) -> list[Capture]:
    """A payment that is authorized for an amount and captured in full, or in the parts that are named."""
    terms = terms_of(tenant.workspace.id)
    now = terms.clock.now() - age
    payment = Payment.objects.create(
        workspace=tenant.workspace,
        merchant=tenant.merchant,
        reference=uuid4().hex,
        currency=currency,
        capture_mode=CaptureMode.CUSTOMER_ACTION_REQUIRED,
        capture_method=CaptureMethod.MANUAL,
        payment_token_id="tok_sandbox_approved",
        state=PaymentState.AUTHORIZED,
        amount_minor=amount_minor,
        authorized_minor=amount_minor,
        created_at=now,
        updated_at=now,
    )
    _attempt(payment, account, Operation.AUTHORIZE, amount_minor)
    post_journal(
        workspace_id=payment.workspace_id, posting=postings.reservation(payment, terms.today), clock=terms.clock
    )
    made = []
    for number, part in enumerate(captures or (amount_minor,), start=1):
        capture = Capture.objects.create(
            workspace=tenant.workspace,
            payment=payment,
            number=number,
            amount_minor=part,
            pending_minor=part,
            currency=currency,
            state=OperationState.SUCCEEDED,
            final=False,
            due_at=now,
            created_at=now,
            succeeded_at=now,
        )
        _attempt(payment, account, Operation.CAPTURE, part, number=number, capture=capture)
        payment.captured_minor += part
        posting = postings.capture_confirmed(payment, capture, account.id, terms.today)
        post_journal(workspace_id=payment.workspace_id, posting=posting, clock=terms.clock)
        made.append(capture)
    payment.save()
    return made


@transaction.atomic
def make_refund(capture: Capture, account: ProviderAccount, amount_minor: int, *, available_minor: int = 0) -> Refund:
    """A refund that the provider confirmed: from the capture's pending, then the given available, then as a debt."""
    terms = terms_of(capture.workspace_id)
    payment = Payment.objects.get(id=capture.payment_id)
    capture = Capture.objects.get(id=capture.id)
    now = terms.clock.now()
    from_pending = min(amount_minor, capture.pending_minor)
    from_available = min(amount_minor - from_pending, available_minor)
    refund = Refund.objects.create(
        workspace_id=payment.workspace_id,
        payment=payment,
        number=Refund.objects.filter(payment=payment).count() + 1,
        amount_minor=amount_minor,
        currency=payment.currency,
        state=OperationState.SUCCEEDED,
        reference=uuid4().hex,
        from_pending_minor=from_pending,
        from_available_minor=from_available,
        from_receivable_minor=amount_minor - from_pending - from_available,
        pending_taken=[[str(capture.id), from_pending]],
        due_at=now,
        created_at=now,
        succeeded_at=now,
    )
    _attempt(payment, account, Operation.REFUND, amount_minor, number=refund.number, refund=refund)
    capture.pending_minor -= from_pending
    capture.save()
    payment.refunded_minor += amount_minor
    payment.save()
    posting = postings.refund_requested(payment, refund, account.id, terms.today)
    post_journal(workspace_id=payment.workspace_id, posting=posting, clock=terms.clock)
    return refund


def _attempt(
    payment: Payment,
    account: ProviderAccount,
    operation: Operation,
    amount_minor: int,
    *,
    number: int = 1,
    capture: Capture | None = None,
    refund: Refund | None = None,
) -> Attempt:
    attempt_id = new_id()
    return Attempt.objects.create(
        id=attempt_id,
        workspace_id=payment.workspace_id,
        payment=payment,
        operation=operation,
        number=number,
        capture=capture,
        refund=refund,
        provider_account=account,
        provider_key=uuid4().hex,
        reference=uuid4().hex,
        provider_reference=f"psp_{attempt_id.hex}",
        amount_minor=amount_minor,
        currency=payment.currency,
        state=AttemptState.APPROVED,
        sent_at=payment.created_at,
        resolve_at=payment.created_at,
    )


def attempt_of(item: Capture | Refund) -> Attempt:
    """The confirmed attempt of a capture or refund: its references are what a settlement line carries."""
    field = "capture_id" if isinstance(item, Capture) else "refund_id"
    return Attempt.objects.get(**{field: item.id}, state=AttemptState.APPROVED)


def merchant_of(item: Capture | Refund) -> UUID:
    return Payment.objects.values_list("merchant_id", flat=True).get(id=item.payment_id)
