"""The states of a delivery: the table is data, one pure function reads it.

A delivery waits (``pending``) until an endpoint accepts it, its attempts are used up, or nobody wants it any
more. A replay never revives a finished delivery: it is a new one with ``trigger=manual``.
"""

from __future__ import annotations

from enum import StrEnum

from zentra.core.transitions import follow


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"


class DeliveryTrigger(StrEnum):
    """What happened to a delivery."""

    ENDPOINT_ACCEPTED = "endpoint_accepted"
    ATTEMPT_FAILED = "attempt_failed"
    ATTEMPTS_USED_UP = "attempts_used_up"
    ENDPOINT_GONE = "endpoint_gone"
    ENDPOINT_DELETED = "endpoint_deleted"


TRANSITIONS: dict[tuple[DeliveryState, DeliveryTrigger], DeliveryState] = {
    (DeliveryState.PENDING, DeliveryTrigger.ENDPOINT_ACCEPTED): DeliveryState.DELIVERED,
    (DeliveryState.PENDING, DeliveryTrigger.ATTEMPT_FAILED): DeliveryState.PENDING,
    (DeliveryState.PENDING, DeliveryTrigger.ATTEMPTS_USED_UP): DeliveryState.EXHAUSTED,
    (DeliveryState.PENDING, DeliveryTrigger.ENDPOINT_GONE): DeliveryState.EXHAUSTED,
    (DeliveryState.PENDING, DeliveryTrigger.ENDPOINT_DELETED): DeliveryState.CANCELLED,
}


def next_state(state: DeliveryState, trigger: DeliveryTrigger) -> DeliveryState:
    """The state after a trigger. :raises IllegalTransition: the table has no such edge"""
    return follow(TRANSITIONS, state, trigger)
