from __future__ import annotations

import pytest

from tests.conftest import CommittedDatabase
from tests.races.scenarios import Stage
from tests.simulator.process import Simulator


@pytest.fixture
def stage(committed_database: CommittedDatabase, simulator: Simulator) -> Stage:
    return Stage(committed_database, simulator)
