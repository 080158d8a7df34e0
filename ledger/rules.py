"""The chart of accounts as data, and the rules that follow from it. Pure: no database.

`ledger/sql/chart.sql` holds the same chart for the posting functions; a test compares the two row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.types import AccountClass, AccountKey, BalanceMode, InvalidPosting, Side, UnknownAccountCode


@dataclass(frozen=True, slots=True)
class ChartAccount:
    """One line of the chart.

    :param shown_as: the name under which product traces show the account
    :param floor_minor: least balance on the normal side that the account may ever have; None for no floor
    :param dimension: what splits the account further and must be named ('' when nothing must)
    """

    code: str
    name: str
    normal_side: Side
    shown_as: str
    balance_mode: BalanceMode = BalanceMode.DEFERRED
    floor_minor: int | None = None
    dimension: str = ""

    @property
    def account_class(self) -> AccountClass:
        return AccountClass.of(self.code)


# Balance rows exist only where a balance authorises something: paying out, releasing what is held, spending stored
# money. 2030 has no floor because a provider may take more than is held, and what a provider did is always booked.
_ACCOUNTS: Final = (
    ChartAccount("1010", "Bank cash", Side.DEBIT, "bank"),
    ChartAccount("1100", "Provider receivable, captured and unsettled", Side.DEBIT, "provider_receivable"),
    ChartAccount("1110", "Settled, in transit to bank", Side.DEBIT, "settlement_in_transit", dimension="batch"),
    ChartAccount("1120", "Reserve held by provider", Side.DEBIT, "provider_reserve"),
    ChartAccount("1130", "Contested dispute funds", Side.DEBIT, "dispute_funds"),
    ChartAccount("1200", "Merchant receivable", Side.DEBIT, "merchant_receivable"),
    ChartAccount("2010", "Merchant payable, pending", Side.CREDIT, "merchant"),
    ChartAccount("2020", "Merchant payable, available", Side.CREDIT, "merchant", BalanceMode.SYNC, 0),
    ChartAccount("2030", "Merchant held for disputes and reserve", Side.CREDIT, "merchant_held", BalanceMode.SYNC),
    ChartAccount("2040", "Payouts in transit", Side.CREDIT, "payout"),
    ChartAccount("2050", "Refunds in transit", Side.CREDIT, "refund_in_transit"),
    ChartAccount("2055", "Dispute movements in transit", Side.CREDIT, "dispute_in_transit"),
    ChartAccount("2060", "Customer stored balance", Side.CREDIT, "customer_stored_balance", BalanceMode.SYNC, 0),
    ChartAccount(
        "2065", "Customer stored balance, reserved", Side.CREDIT, "customer_stored_reserved", BalanceMode.SYNC, 0
    ),
    ChartAccount("2080", "Tax payable on fees", Side.CREDIT, "tax_payable"),
    ChartAccount("2900", "Suspense", Side.CREDIT, "suspense", dimension="case"),
    ChartAccount("4010", "Platform fees", Side.CREDIT, "platform_fees"),
    ChartAccount("4090", "Differences gained", Side.CREDIT, "differences_gained"),
    ChartAccount("5010", "Provider processing cost", Side.DEBIT, "provider_cost"),
    ChartAccount("5020", "Dispute losses", Side.DEBIT, "dispute_losses"),
    ChartAccount("5030", "Dispute fees", Side.DEBIT, "dispute_fees"),
    ChartAccount("5090", "Differences written off", Side.DEBIT, "differences_written_off"),
    ChartAccount("9010", "Customer authorisations (memo)", Side.DEBIT, "customer_balance"),
    ChartAccount("9020", "Reserved authorisations (memo)", Side.CREDIT, "reserved_balance"),
    ChartAccount("9030", "Captured, not yet settled (memo)", Side.CREDIT, "settlement_account"),
)

CHART: Final = {account.code: account for account in _ACCOUNTS}


def chart_account(code: str) -> ChartAccount:
    """The chart's line for a code. :raises UnknownAccountCode:"""
    try:
        return CHART[code]
    except KeyError:
        raise UnknownAccountCode(f"the chart of accounts has no code {code!r:.12}") from None


def check_account(key: AccountKey) -> ChartAccount:
    """The chart's line for an account that is about to be booked on.

    :raises UnknownAccountCode: the chart has no such code
    :raises InvalidPosting: the account is split by a dimension (2900 by case, 1110 by batch) that is not named
    """
    account = chart_account(key.code)
    if account.dimension and not key.dimension:
        raise InvalidPosting(f"account {key} needs its {account.dimension} as dimension")
    return account
