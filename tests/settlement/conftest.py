from __future__ import annotations

import pytest

from settlement.services import reconcile
from tests.settlement.desk import Desk, open_desk


@pytest.fixture
def desk(db: None) -> Desk:
    return open_desk()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three lines a transaction, so that a handful of lines needs several."""
    monkeypatch.setattr(reconcile, "CHUNK_LINES", 3)
