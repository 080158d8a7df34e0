"""Runs the scenarios with and without their guards, each in a scratch database of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum

from tests.guards.guards import Guard
from tests.races.scenarios import Stage

Stages = Callable[[], AbstractContextManager[Stage]]


class Outcome(StrEnum):
    RED = "red as it must be"
    GREEN = "STAYS GREEN: the scenario proves nothing about this guard"
    RED_WITH_GUARD = "RED WITH ITS GUARD IN PLACE"
    BROKEN = "FAILS FOR ANOTHER REASON THAN AN ASSERTION"


def examine(guard: Guard, stages: Stages, *, with_guard_first: bool) -> tuple[Outcome, str]:
    """What becomes of a guard's scenario without it, and the first line of why."""
    if with_guard_first:
        with stages() as stage:
            outcome, why = _play(guard, stage, removed=False)
        if outcome is not Outcome.GREEN:
            return Outcome.RED_WITH_GUARD, why
    with stages() as stage:
        return _play(guard, stage, removed=True)


def _play(guard: Guard, stage: Stage, *, removed: bool) -> tuple[Outcome, str]:
    try:
        with guard.removal(stage) if removed else nullcontext():
            guard.scenario(stage)
    except AssertionError as error:
        return Outcome.RED, _first_line(error)
    except Exception as error:
        return Outcome.BROKEN, f"{type(error).__name__}: {_first_line(error)}"
    return Outcome.GREEN, ""


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]


def report(guards: Iterable[Guard], stages: Stages, *, with_guard_first: bool, say: Callable[[str], None]) -> int:
    """One line per guard; the exit code: 0 if every scenario turned red."""
    results = []
    for guard in guards:
        outcome, why = examine(guard, stages, with_guard_first=with_guard_first)
        results.append(outcome)
        because = f" ({why})" if why and outcome is not Outcome.RED else ""
        say(f"{guard.name} | {guard.removed} | {guard.test} | {outcome}{because}")
    red = sum(outcome is Outcome.RED for outcome in results)
    say(f"{red} of {len(results)} scenarios turn red without their guard")
    return 0 if red == len(results) else 1
