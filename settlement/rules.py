"""Decisions about drift cases: how urgent one is, and in which ways it may end. Values in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from settlement.types import DriftClass, Resolution, Severity
from zentra.core.money import currency_exponent

#: Least amount in major units, or least age in hours, of each severity, and the hours within which it is to be closed.
#: The steps of a published reconciliation engine (reference: ledger C), a usable start until a workspace sets its own.
_STEPS: Final = (
    (Severity.CRITICAL, 100_000, 120, 24),
    (Severity.HIGH, 10_000, 72, 72),
    (Severity.MEDIUM, 1_000, 24, 120),
)
_LOW_HOURS: Final = 168


def severity_of(amount_minor: int, currency: str, age: timedelta) -> tuple[Severity, timedelta]:
    """How urgent a difference is and how long its owner has, by amount or by age, whichever is worse.

    :param amount_minor: the difference in minor units; its sign does not matter
    :param age: since the money was captured or the line was booked
    """
    unit = 10 ** currency_exponent(currency)
    for severity, least_units, least_hours, due_hours in _STEPS:
        if abs(amount_minor) >= least_units * unit or age >= timedelta(hours=least_hours):
            return severity, timedelta(hours=due_hours)
    return Severity.LOW, timedelta(hours=_LOW_HOURS)


def resolutions_for(drift_class: DriftClass, *, suspense_minor: int, item_kind: str) -> Sequence[Resolution]:
    """The ways in which a case may be closed, the usual one first.

    :param suspense_minor: what 2900 holds for the case, debit positive: above zero money is missing, below too much
        came
    :param item_kind: 'capture', 'refund', or '' where the case knows no item
    """
    if drift_class is DriftClass.MISSING_LINE:
        bearers = (Resolution.WRITTEN_OFF, Resolution.MERCHANT_BEARS) if item_kind == "capture" else ()
        return (Resolution.REVIEWED, *bearers)
    if suspense_minor == 0:
        return (Resolution.REVIEWED,)
    money_is_missing = suspense_minor > 0
    found: list[Resolution] = []
    if drift_class is DriftClass.UNKNOWN_REFERENCE:
        found.append(Resolution.LATE_REFUND_LINE if money_is_missing else Resolution.LATE_SALE_LINE)
    if money_is_missing:
        found += [Resolution.WRITTEN_OFF, Resolution.PROVIDER_FEE]
        if drift_class is DriftClass.AMOUNT_DIFFERS and item_kind == "capture":
            found.append(Resolution.MERCHANT_BEARS)
    else:
        found.append(Resolution.GAINED)
    return (*found, Resolution.PROVIDER_CORRECTS_PAYOUT)
