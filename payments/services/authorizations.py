"""What an answer to an authorization means: approved, the customer's turn, refused, passed on, or unknown."""

from __future__ import annotations

from typing import Final

from payments.models import Attempt, Payment
from payments.services import captures, voids
from payments.services.attempts import open_attempt
from payments.services.chronicle import Chronicle
from payments.services.reservations import release_reservation
from payments.services.transitions import advance_payment, store_payment
from payments.states import AttemptState, PaymentTrigger
from payments.types import CaptureMethod
from routing.rules import may_fail_over
from routing.selectors import candidates_of, decisions_of_payment
from routing.types import Operation, ProviderResult

#: The decline code of a payment that was approved in part although it does not allow that.
UNWANTED_PART: Final = "partial_approval"


def apply_authorization(
    *, payment: Payment, attempt: Attempt, result: ProviderResult, via: str, chronicle: Chronicle
) -> Attempt | None:
    """Move a locked payment by the answer to its authorization. Returns the next attempt when it fails over.

    Only a direct answer fails over: what is learnt later, nobody waits for any more, and the merchant decides.
    """
    state = AttemptState(attempt.state)
    if state is AttemptState.APPROVED:
        _approved(payment, result, chronicle)
    elif state is AttemptState.ACTION_REQUIRED:
        action = result.next_action
        payment.next_action = {"type": action.type, "url": action.url} if action else None
        advance_payment(payment=payment, trigger=PaymentTrigger.CUSTOMER_ACTION_ASKED, chronicle=chronicle)
        chronicle.announce_payment("payment.requires_action", payment)
    elif state in (AttemptState.DECLINED, AttemptState.FAILED):
        following = _fail_over(payment, result, chronicle) if via == "answer" else None
        if following is not None:
            return following
        _refused(payment, attempt, chronicle, declined=state is AttemptState.DECLINED)
    elif state is AttemptState.CONFLICTED and _is_unwanted_part(attempt, result):
        # Processing until the part is proven to be given back: only then is the merchant told that it is declined.
        payment.decline_code = UNWANTED_PART
        voids.plan_void(payment=payment, chronicle=chronicle)
    elif state is AttemptState.UNKNOWN and via == "answer":
        chronicle.announce_payment("payment.processing", payment, outcome_unknown=True)
    store_payment(payment=payment, chronicle=chronicle)
    return None


def _is_unwanted_part(attempt: Attempt, result: ProviderResult) -> bool:
    """Whether the provider says openly that it approved less than was asked, which this payment does not allow."""
    less = result.amount_minor is not None and 0 < result.amount_minor < attempt.amount_minor
    return result.partial and less and result.conflicts == ("amount_minor",)


def _approved(payment: Payment, result: ProviderResult, chronicle: Chronicle) -> None:
    """An approval confirms the reservation without a posting; a partial one releases what was not approved."""
    payment.authorized_minor = payment.amount_minor if result.amount_minor is None else result.amount_minor
    payment.next_action = None
    advance_payment(payment=payment, trigger=PaymentTrigger.PROVIDER_APPROVED, chronicle=chronicle)
    rest = payment.amount_minor - payment.authorized_minor
    release_reservation(payment=payment, amount_minor=rest, cause="partial", chronicle=chronicle)
    chronicle.announce_payment("payment.authorized", payment)
    if payment.capture_method == CaptureMethod.AUTOMATIC:
        captures.record_capture(payment=payment, amount_minor=payment.authorized_minor, final=True, chronicle=chronicle)


def _fail_over(payment: Payment, result: ProviderResult, chronicle: Chronicle) -> Attempt | None:
    """Open an attempt at the next candidate of the stored decision, when nothing can have happened at the last one."""
    if not may_fail_over(result):
        return None
    tried = set(
        Attempt.objects.filter(payment=payment, operation=Operation.AUTHORIZE).values_list(
            "provider_account_id", flat=True
        )
    )
    decision = decisions_of_payment(payment.workspace_id, payment.id)[-1]
    following = next((item for item in candidates_of(decision) if item.eligible and item.account_id not in tried), None)
    if following is None:
        return None
    return open_attempt(
        payment=payment,
        operation=Operation.AUTHORIZE,
        provider_account_id=following.account_id,
        amount_minor=payment.amount_minor,
        chronicle=chronicle,
    )


def _refused(payment: Payment, attempt: Attempt, chronicle: Chronicle, *, declined: bool) -> None:
    payment.decline_code = attempt.code
    payment.next_action = None
    trigger = PaymentTrigger.PROVIDER_DECLINED if declined else PaymentTrigger.NO_PROVIDER_LEFT
    advance_payment(payment=payment, trigger=trigger, chronicle=chronicle)
    release_reservation(
        payment=payment, amount_minor=payment.amount_minor, cause=str(payment.state), chronicle=chronicle
    )
    chronicle.announce_payment(f"payment.{payment.state}", payment)
