from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulator.process import Simulator
from tests.simulator.receiver import CallbackReceiver

LATE_SECONDS = 0.4


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """The real acquirer, alpha and beta, for every test that calls one."""
    running = Simulator(tmp_path_factory.mktemp("acquirers"), "--late-seconds", str(LATE_SECONDS))
    yield running
    running.terminate()


@pytest.fixture
def receiver() -> Iterator[CallbackReceiver]:
    listening = CallbackReceiver()
    yield listening
    listening.close()
