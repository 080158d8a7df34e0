"""Money: an integer of minor units and an ISO 4217 code, never a float.

Exponents come from the ISO 4217 table of the `iso4217` package (SIX list one). Amounts of the contract are
1 … 2^53−1, the largest integer every JSON reader keeps exact (RFC 8259 §6).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from iso4217 import Currency

from zentra.core.errors import Unprocessable

MAX_AMOUNT_MINOR = 2**53 - 1


class UnknownCurrency(Unprocessable):
    code = "currency_unknown"
    summary = "The currency is not an active ISO 4217 code with minor units."
    remedy = "Send a three-letter upper-case ISO 4217 code such as EUR."


class InvalidAmount(Unprocessable):
    code = "amount_invalid"
    summary = "The amount is not an integer of minor units between 1 and 9007199254740991."
    remedy = "Send `amount_minor` as a JSON integer, for example 125000 for 1,250.00 EUR."


@lru_cache(maxsize=512)
def currency_exponent(code: str) -> int:
    """Digits after the decimal point of a currency: 2 for EUR, 0 for JPY, 3 for KWD.

    :raises UnknownCurrency: not an upper-case ISO 4217 code, or one without minor units (metals, test codes)
    """
    try:
        exponent = Currency(code).exponent
    except ValueError:
        exponent = None
    if exponent is None or code == "XXX":
        raise UnknownCurrency(f"{code!r:.12} is not a known currency", field="currency")
    return int(exponent)


def require_amount(value: object, *, field: str = "amount_minor") -> int:
    """The value as an amount of minor units.

    :raises InvalidAmount: not an int, a bool, below 1, or above 2^53−1
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_AMOUNT_MINOR:
        raise InvalidAmount(
            f"{field} must be an integer of minor units from 1 to {MAX_AMOUNT_MINOR}",
            field=field,
            details={"expected": f"integer, 1 to {MAX_AMOUNT_MINOR}"},
        )
    return value


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency. ``minor`` may be zero or negative inside the platform; the API never accepts that."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if isinstance(self.minor, bool) or not isinstance(self.minor, int):
            raise TypeError("minor units are an int")
        currency_exponent(self.currency)

    def __str__(self) -> str:
        """For people: 1250.00 EUR. Machines read ``minor``."""
        return f"{decimal_text(self.minor, self.currency)} {self.currency}"


def decimal_text(minor: int, currency: str) -> str:
    """Minor units as a plain decimal number of major units, for people and files ('1250.00', '1250' for JPY)."""
    exponent = currency_exponent(currency)
    sign, digits = ("-" if minor < 0 else ""), str(abs(minor))
    if exponent == 0:
        return sign + digits
    digits = digits.rjust(exponent + 1, "0")
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"


def grouped_text(minor: int, currency: str) -> str:
    """For people, with the currency and groups of three digits: '1,250.00 EUR'."""
    whole, point, rest = decimal_text(abs(minor), currency).partition(".")
    return f"{'−' if minor < 0 else ''}{int(whole):,}{point}{rest} {currency}"
