"""Captures and refunds of which nothing happened: tried again a little later each time, a bounded number of times."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from payments.models import Attempt, Capture, Refund
from payments.services.chronicle import Chronicle
from payments.states import OperationState, OperationTrigger, next_operation_state
from routing.types import Verdict

#: Tries that never left this machine before an operation is given up; nothing was sent, so giving up is safe.
MAX_UNSENT_TRIES: Final = 12
UNSENT_BACKOFF: Final = timedelta(seconds=5)
#: The longest wait between two of them. An outage of more than an hour is outlasted.
UNSENT_BACKOFF_MAX: Final = timedelta(minutes=15)


def wait_after(tries: int) -> timedelta:
    """How long to wait after so many tries that never left: twice as long each time, up to a bound."""
    return min(UNSENT_BACKOFF * (1 << min(tries - 1, MAX_UNSENT_TRIES)), UNSENT_BACKOFF_MAX)


def may_try_again(operation: Capture | Refund, *, attempt: Attempt) -> bool:
    """Whether an operation of which nothing happened is tried again: the provider's trouble is, a refusal is not."""
    return attempt.verdict == Verdict.PROVIDER_FAULT and operation.tries < MAX_UNSENT_TRIES


def put_back(operation: Capture | Refund, *, attempt: Attempt, chronicle: Chronicle) -> None:
    """Make an operation pending again after a try that never happened, due a little later each time."""
    operation.state = next_operation_state(OperationState(operation.state), OperationTrigger.NOT_SENT)
    operation.tries += 1
    operation.due_at = chronicle.terms.clock.now() + wait_after(operation.tries)
    operation.save(update_fields=["state", "tries", "due_at"])
    chronicle.record(
        f"{attempt.operation}.put_back",
        operation.public_id,
        payment_id=operation.payment_id,
        before=OperationState.PROCESSING,
        after=operation.state,
        data={"tries": operation.tries, "code": attempt.code},
    )
