"""What merchants owe (1200) while money is released to them or taken from them, under the lock of their balance."""

from __future__ import annotations

from uuid import UUID

from ledger.selectors import balance_of
from ledger.services import lock_available
from payments.postings import merchant_account
from payments.types import SettlementItem
from settlement.postings import Charge, Release, release_of


class Receivables:
    """Debts of the merchants of one workspace, read once per merchant and currency in a transaction.

    Most merchants owe nothing, and then nothing is locked. Where there is a debt, the lock of 2020, which every
    payment of a debt takes first, makes the amount read here the one that is booked against.
    """

    def __init__(self, workspace_id: UUID) -> None:
        self._workspace_id = workspace_id
        self._owed: dict[tuple[UUID, str], int] = {}

    def owed(self, merchant_id: UUID, currency: str) -> int:
        """Minor units that the merchant owes now, less what this transaction is about to repay."""
        key = (merchant_id, currency)
        if key not in self._owed:
            owed = self._read(merchant_id, currency)
            if owed > 0:
                self.available(merchant_id, currency)
                owed = self._read(merchant_id, currency)
            self._owed[key] = max(0, owed)
        return self._owed[key]

    def repaid(self, merchant_id: UUID, currency: str, amount_minor: int) -> None:
        """Take note of a repayment that this transaction will book."""
        if amount_minor:
            self._owed[merchant_id, currency] -= amount_minor

    def available(self, merchant_id: UUID, currency: str) -> int:
        """Minor units that the merchant has available, locked until the transaction ends."""
        account = merchant_account("2020", merchant_id)
        return max(0, -lock_available(workspace_id=self._workspace_id, account=account, currency=currency))

    def _read(self, merchant_id: UUID, currency: str) -> int:
        return balance_of(self._workspace_id, merchant_account("1200", merchant_id), currency)


def release_rest(item: SettlementItem, *, receivables: Receivables) -> Release | None:
    """Everything of a capture that is still pending, for its merchant; None where nothing is."""
    if item.kind != "capture" or item.pending_minor == 0:
        return None
    return release_of(item, item.pending_minor, receivables.owed(item.merchant_id, item.currency))


def charge_to(item: SettlementItem, *, amount_minor: int, receivables: Receivables) -> Charge:
    """Split an amount that the merchant bears: this capture's pending, then available money, then a debt."""
    from_pending = min(amount_minor, item.pending_minor)
    rest = amount_minor - from_pending
    from_available = min(rest, receivables.available(item.merchant_id, item.currency)) if rest else 0
    return Charge(item.merchant_id, from_pending, from_available, rest - from_available)
