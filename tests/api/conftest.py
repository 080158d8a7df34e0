from __future__ import annotations

import pytest

from tests.factories.shop import Shop, open_shop
from tests.simulator.process import Simulator


@pytest.fixture
def shop(db: None, simulator: Simulator) -> Shop:
    return open_shop(simulator)
