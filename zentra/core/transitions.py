"""Reading a transition table. A machine is a dict from (state, trigger) to state; what it does not name is refused."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from zentra.core.errors import Conflict

State = TypeVar("State", bound=StrEnum)
Trigger = TypeVar("Trigger", bound=StrEnum)


class IllegalTransition(Conflict):
    code = "illegal_transition"
    summary = "The state of the resource does not allow this."
    remedy = "Read the resource; its `status` says what is possible."


def follow(table: Mapping[tuple[State, Trigger], State], state: State, trigger: Trigger) -> State:
    """The state after a trigger. :raises IllegalTransition: the table has no such edge"""
    try:
        return table[state, trigger]
    except KeyError:
        raise IllegalTransition(
            f"{trigger} is not possible in {state}", details={"state": str(state), "trigger": str(trigger)}
        ) from None
