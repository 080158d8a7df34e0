"""The reference model by itself, and the same histories booked in PostgreSQL beside it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from ledger import selectors, services
from ledger.types import AccountKey
from tests.factories.tenancy import make_tenant
from tests.ledger.booking import book, posting
from tests.ledger.model import Books, Line, ModelLedger

_BOUNDS = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


class MirroredLedger(ModelLedger):
    """Books in a dictionary and, through the service, in PostgreSQL."""

    def __init__(self) -> None:
        super().__init__()
        self.workspace_id = make_tenant("Model").workspace.id

    def post(self, kind: str, currency: str, *lines: Line) -> None:
        count = len(self.journals)
        super().post(kind, currency, *lines)
        if len(self.journals) > count:
            book(self.workspace_id, posting(f"{kind}:{count}", *lines, currency=currency, kind=kind))

    def booked_balances(self) -> dict[tuple[AccountKey, str], int]:
        return {
            (AccountKey(row.code, row.owner_type, row.owner_id, row.dimension), row.currency): row.live_balance_minor
            for row in selectors.accounts(self.workspace_id)
            if row.live_balance_minor != 0
        }


class MirroredBooks(Books):
    ledger: MirroredLedger

    def make_ledger(self) -> ModelLedger:
        return MirroredLedger()

    @invariant()
    def postgresql_says_the_same(self) -> None:
        expected = {key: amount for key, amount in self.ledger.balances.items() if amount != 0}
        assert self.ledger.booked_balances() == expected

    def teardown(self) -> None:
        super().teardown()
        self.postgresql_says_the_same()
        results = services.verify_books(workspace_id=self.ledger.workspace_id)
        assert [sentence for result in results for sentence in result.violations] == []


class TestTheModel:
    def test_its_invariants_hold_after_every_step_of_random_histories(self):
        run_state_machine_as_test(Books, settings=settings(max_examples=120, stateful_step_count=50, **_BOUNDS))


@pytest.mark.django_db
class TestTheLedgerBesideTheModel:
    def test_postgresql_has_the_same_balances_after_every_step(self):
        run_state_machine_as_test(MirroredBooks, settings=settings(max_examples=6, stateful_step_count=25, **_BOUNDS))
