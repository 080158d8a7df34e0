"""Short spellings for the ledger's tests: a day, a clock, accounts and postings."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID

from django.db import transaction

from ledger import services
from ledger.types import AccountKey, PostedJournal, Posting, legs_of
from zentra.core.clock import FixedClock

DAY = date(2026, 3, 2)
CLOCK = FixedClock(datetime(2026, 3, 2, 9, 30, tzinfo=UTC))

BANK = AccountKey("1010", "bank", "main")
RECEIVABLE = AccountKey("1100", "provider", "alpha")
OWED = AccountKey("1200", "merchant", "m1")
PENDING = AccountKey("2010", "merchant", "m1")
AVAILABLE = AccountKey("2020", "merchant", "m1")
PAYOUT = AccountKey("2040", "merchant", "m1")
FEES = AccountKey("4010")
CUSTOMER = AccountKey("9010", "merchant", "m1")
RESERVED = AccountKey("9020", "merchant", "m1")
SETTLEMENT = AccountKey("9030", "merchant", "m1")


def suspense(case: UUID) -> AccountKey:
    return AccountKey("2900", "provider", "alpha", str(case))


def in_transit(batch: UUID) -> AccountKey:
    return AccountKey("1110", "provider", "alpha", str(batch))


def posting(
    key: str, *lines: tuple[AccountKey, int], currency: str = "EUR", kind: str = "test", day: date = DAY, **more
) -> Posting:
    return Posting(key=key, kind=kind, currency=currency, legs=legs_of(*lines), effective_date=day, **more)


def funding(key: str, amount_minor: int) -> Posting:
    """Money becomes available to merchant m1: Dr 1010 · Cr 2020."""
    return posting(key, (BANK, amount_minor), (AVAILABLE, -amount_minor))


def payout(key: str, amount_minor: int) -> Posting:
    """Money leaves what is available to merchant m1: Dr 2020 · Cr 2040."""
    return posting(key, (AVAILABLE, amount_minor), (PAYOUT, -amount_minor))


def book(workspace_id: UUID, *postings: Posting) -> list[PostedJournal]:
    """Post each on its own, all in one transaction, with the checks of commit made at its end."""
    with transaction.atomic():
        posted = [services.post_journal(workspace_id=workspace_id, posting=item, clock=CLOCK) for item in postings]
        settle_constraints()
    return posted


def settle_constraints() -> None:
    """Run now what the database checks at commit: a test that rolls back never gets there."""
    with transaction.get_connection().cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
