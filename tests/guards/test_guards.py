"""Every guard is one: without it, the scenario that names it turns red."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import pytest

from tests.conftest import CommittedDatabase
from tests.guards.guards import GUARDS, Guard, by_sql
from tests.guards.runner import Outcome, examine, report
from tests.races import test_races
from tests.races.scenarios import Stage
from tests.simulator.process import Simulator

RUN_BY_THE_RACES = set(test_races.scenarios.__dict__) & {
    name
    for case in vars(test_races).values()
    if isinstance(case, type)
    for test in vars(case).values()
    if callable(test)
    for name in test.__code__.co_names
}
OTHERS = list({guard.test: guard for guard in GUARDS if guard.test not in RUN_BY_THE_RACES}.values())
Stages = Callable[[], AbstractContextManager[Stage]]


@pytest.fixture
def stage(committed_database: CommittedDatabase, simulator: Simulator) -> Stage:
    return Stage(committed_database, simulator)


@pytest.fixture
def stages(stage: Stage) -> Stages:
    """The one stage of this test."""

    @contextmanager
    def once() -> Iterator[Stage]:
        yield stage

    return once


def named(guard: Guard) -> str:
    return f"{guard.name} → {guard.test}"


class TestAGuard:
    @pytest.mark.parametrize("guard", GUARDS, ids=named)
    def test_leaves_its_scenario_red_when_it_is_gone(self, stages: Stages, guard: Guard):
        outcome, why = examine(guard, stages, with_guard_first=False)

        assert outcome is Outcome.RED, why

    @pytest.mark.parametrize("guard", OTHERS, ids=named)
    def test_lets_its_scenario_pass_while_it_stands(self, stage: Stage, guard: Guard):
        """The rest of the scenarios are the tests of `tests/races`."""
        guard.scenario(stage)


class TestTheRunner:
    def test_ends_badly_when_a_scenario_stays_green(self, stages: Stages):
        said: list[str] = []
        idle = replace(GUARDS[0], scenario=lambda _: None, removal=by_sql())

        code = report([idle], stages, with_guard_first=False, say=said.append)

        assert code == 1
        assert "STAYS GREEN" in said[0]

    def test_ends_badly_when_a_scenario_fails_for_another_reason(self, stages: Stages):
        def trips(_: Stage) -> None:
            raise ValueError("not the guard")

        said: list[str] = []

        assert (
            report(
                [replace(GUARDS[0], scenario=trips, removal=by_sql())], stages, with_guard_first=False, say=said.append
            )
            == 1
        )
        assert "not the guard" in said[0]
