from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import CommittedDatabase
from tests.factories.tenancy import Tenant, make_tenant
from tests.webhooks.receiver import Receiver, receiving


@pytest.fixture
def tenant(db: None) -> Tenant:
    return make_tenant()


@pytest.fixture
def committed(committed_database: CommittedDatabase, django_db_blocker: Any) -> Iterator[CommittedDatabase]:
    """A database of the test's own, open to it and its threads."""
    with django_db_blocker.unblock():
        yield committed_database


@pytest.fixture
def committed_tenant(committed: CommittedDatabase) -> Tenant:
    return make_tenant()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found
