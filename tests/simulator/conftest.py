"""One simulator for the tests that leave it running, and a maker of others for those that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.simulator.process import AcquirerClient, Simulator


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    running = Simulator(tmp_path_factory.mktemp("simulator"), "--late-seconds", "0.5")
    yield running
    running.terminate()


@pytest.fixture
def alpha(simulator: Simulator) -> AcquirerClient:
    return simulator.alpha


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    """Start a simulator of one's own; all share the state directory of the test."""
    started: list[Simulator] = []

    def start_simulator(*options: str, acquirers: tuple[str, ...] = ("alpha=0",)) -> Simulator:
        started.append(Simulator(tmp_path / "state", *options, acquirers=acquirers))
        return started[-1]

    yield start_simulator
    for running in started:
        if running.process.poll() is None:
            running.kill()
