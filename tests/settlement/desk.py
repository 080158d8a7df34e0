"""The settlement desk of one workspace, as tests use it: import a file, reconcile, look at the books."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.models import Entry
from ledger.services import verify_books
from payments.models import Capture, Refund
from routing.models import ProviderAccount
from settlement.models import DriftCase, LineMatch, SettlementBatch, SettlementFile
from settlement.services import drift, ingest, reconcile
from settlement.types import Resolution
from tests.factories.payments import make_captured, make_refund
from tests.factories.routing import make_account
from tests.factories.tenancy import OPERATOR, Tenant, make_tenant
from tests.ledger.booking import settle_constraints
from tests.settlement.files import Line, file_of
from zentra.evidence.types import RequestContext
from zentra.tenancy.models import User


@dataclass
class Desk:
    tenant: Tenant
    account: ProviderAccount

    @property
    def workspace_id(self) -> UUID:
        return self.tenant.workspace.id

    def captured(self, amount_minor: int = 10_000, **more: Any) -> Capture:
        return make_captured(self.tenant, self.account, amount_minor, **more)[0]

    def refunded(self, capture: Capture, amount_minor: int, **more: Any) -> Refund:
        return make_refund(capture, self.account, amount_minor, **more)

    def ingest(self, content: bytes, name: str = "settlement.csv") -> SettlementFile:
        return ingest.ingest_file(
            workspace_id=self.workspace_id,
            provider_account_id=self.account.id,
            name=name,
            content=content,
            actor=OPERATOR,
            context=RequestContext(request_id="req_test"),
        )

    def settle(self, *lines: Line, batch: str = "bat_1", **more: Any) -> SettlementBatch:
        """Import a file of these lines and reconcile its batch."""
        self.ingest(file_of(*lines, batch=batch, **more))
        return self.reconcile(batch)

    def reconcile(self, batch: str = "bat_1") -> SettlementBatch:
        found = self.batch(batch)
        reconcile.reconcile_batch(workspace_id=self.workspace_id, batch_id=found.id)
        found.refresh_from_db()
        return found

    def batch(self, name: str = "bat_1") -> SettlementBatch:
        return SettlementBatch.objects.get(provider_account=self.account, provider_batch_id=name)

    def case(self, **where: Any) -> DriftCase:
        return DriftCase.objects.get(workspace_id=self.workspace_id, **where)

    def matches(self) -> list[LineMatch]:
        return list(LineMatch.objects.filter(workspace_id=self.workspace_id).order_by("line_id"))

    def close(self, case: DriftCase, resolution: Resolution, *, owner: User | None = None) -> DriftCase:
        """Take a case and close it."""
        case.refresh_from_db()
        if case.owner_id is None:
            drift.assign_case(
                workspace_id=self.workspace_id, case_id=case.id, owner=owner or make_user(), actor=OPERATOR
            )
        return drift.close_case(
            workspace_id=self.workspace_id,
            case_id=case.id,
            resolution=resolution,
            note="checked with the provider's report",
            actor=OPERATOR,
        )

    def balances(self) -> dict[str, int]:
        """What is on each account code, debit positive, without those at zero."""
        found: dict[str, int] = defaultdict(int)
        for entry in Entry.objects.filter(workspace_id=self.workspace_id).select_related("account"):
            found[entry.account.code] += entry.amount_minor
        return {code: amount for code, amount in sorted(found.items()) if amount}

    def journal(self, **where: Any) -> dict[str, int]:
        """The legs of one journal by account code, debit positive."""
        entries = Entry.objects.filter(workspace_id=self.workspace_id, **{f"journal__{k}": v for k, v in where.items()})
        assert entries.values("journal").distinct().count() == 1
        return {entry.account.code: entry.amount_minor for entry in entries.select_related("account")}

    def on(self, code: str, dimension: UUID) -> int:
        """The balance of one batch (1110) or case (2900)."""
        entries = Entry.objects.filter(
            workspace_id=self.workspace_id, account__code=code, account__dimension=str(dimension)
        )
        return sum(entry.amount_minor for entry in entries)

    def assert_books_hold(self) -> None:
        """Every proof of the ledger, the suspense proof among them, and the checks of commit."""
        settle_constraints()
        broken = {
            proof.name: proof.violations for proof in verify_books(workspace_id=self.workspace_id) if not proof.holds
        }
        assert broken == {}


def open_desk(name: str = "Acme") -> Desk:
    tenant = make_tenant(name)
    return Desk(tenant, make_account(tenant.workspace.id))


def make_user(username: str = "ada", **more: Any) -> User:
    user, _ = User.objects.get_or_create(username=username, defaults={"is_staff": True, **more})
    return user
