"""The journals of payments, each a pure function from a business fact to a posting (docs/decisions/0009).

Memo legs carry the four lines of the product: customer_balance (9010) → reserved_balance (9020) at authorization,
reserved_balance → settlement_account (9030) at capture. Debit is positive.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID

from ledger.types import AccountKey, Posting, legs_of

if TYPE_CHECKING:
    from payments.models import Capture, Payment, Refund


def merchant_account(code: str, merchant_id: UUID) -> AccountKey:
    """An account of a merchant: 1200, 2010, 2020, 2030, or memo 9010, 9020, 9030."""
    return AccountKey(code, "merchant", str(merchant_id))


def provider_account(code: str, provider_account_id: UUID) -> AccountKey:
    """A clearing account of a provider account: 1100, 2050, 2055."""
    return AccountKey(code, "provider", str(provider_account_id))


def reservation(payment: Payment, day: date) -> Posting:
    """Reserve the amount in the books before anybody is asked. Posted once per payment, kept while unknown."""
    merchant = payment.merchant_id
    return Posting(
        key=f"reserve:{payment.id}",
        kind="authorization_reserved",
        currency=payment.currency,
        legs=legs_of(
            (merchant_account("9010", merchant), payment.amount_minor),
            (merchant_account("9020", merchant), -payment.amount_minor),
        ),
        effective_date=day,
        payment_id=payment.id,
    )


def reservation_released(payment: Payment, amount_minor: int, day: date, *, cause: str) -> Posting:
    """Give back what of the reservation is not used: a definite no, a void, an expiry, the rest of a final capture.

    :param cause: names the one event that releases ('declined', 'voided', 'final:<capture id>')
    """
    merchant = payment.merchant_id
    return Posting(
        key=f"release:{payment.id}:{cause}",
        kind="authorization_released",
        currency=payment.currency,
        legs=legs_of(
            (merchant_account("9020", merchant), amount_minor),
            (merchant_account("9010", merchant), -amount_minor),
        ),
        effective_date=day,
        payment_id=payment.id,
    )


def capture_confirmed(payment: Payment, capture: Capture, provider_account_id: UUID, day: date) -> Posting:
    """Money taken: the provider owes it to us, we owe it to the merchant; the reservation becomes a settlement due."""
    merchant, amount = payment.merchant_id, capture.amount_minor
    return Posting(
        key=f"capture:{capture.id}",
        kind="capture",
        currency=capture.currency,
        legs=legs_of(
            (merchant_account("9020", merchant), amount),
            (merchant_account("9030", merchant), -amount),
            (provider_account("1100", provider_account_id), amount),
            (merchant_account("2010", merchant), -amount),
        ),
        effective_date=day,
        payment_id=payment.id,
        meta={"capture_id": str(capture.id)},
    )


def refund_requested(payment: Payment, refund: Refund, provider_account_id: UUID, day: date) -> Posting:
    """Take a refund from the payment's own pending money, then what is available, then what the merchant will owe."""
    merchant = payment.merchant_id
    return Posting(
        key=f"refund:{refund.id}",
        kind="refund_requested",
        currency=refund.currency,
        legs=legs_of(
            (merchant_account("2010", merchant), refund.from_pending_minor),
            (merchant_account("2020", merchant), refund.from_available_minor),
            (merchant_account("1200", merchant), refund.from_receivable_minor),
            (provider_account("2050", provider_account_id), -refund.amount_minor),
        ),
        effective_date=day,
        payment_id=payment.id,
        meta={"refund_id": str(refund.id)},
    )


def refund_failed(
    payment: Payment,
    refund: Refund,
    provider_account_id: UUID,
    day: date,
    *,
    settled_since_minor: int,
    still_owed_minor: int,
) -> Posting:
    """Everything goes back to where it was taken from; pending of a capture settled since, and what of a debt was
    repaid since, go to available money.

    :param settled_since_minor: what of ``from_pending_minor`` came from captures that have their line by now
    :param still_owed_minor: what of ``from_receivable_minor`` the merchant owes to this day
    """
    merchant = payment.merchant_id
    to_pending = refund.from_pending_minor - settled_since_minor
    return Posting(
        key=f"refund-failed:{refund.id}",
        kind="refund_failed",
        currency=refund.currency,
        legs=legs_of(
            (provider_account("2050", provider_account_id), refund.amount_minor),
            (merchant_account("2010", merchant), -to_pending),
            (merchant_account("2020", merchant), to_pending + still_owed_minor - refund.amount_minor),
            (merchant_account("1200", merchant), -still_owed_minor),
        ),
        effective_date=day,
        payment_id=payment.id,
        meta={"refund_id": str(refund.id)},
    )
