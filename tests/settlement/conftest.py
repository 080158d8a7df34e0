from __future__ import annotations

import pytest

from tests.settlement.desk import Desk, open_desk


@pytest.fixture
def desk(db: None) -> Desk:
    return open_desk()
