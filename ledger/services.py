"""Booking, reversing and proving. Only these functions write to the ledger, and only through its database functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import islice
from typing import Any, Final
from uuid import UUID

from django.db import DatabaseError, connection, transaction

from ledger import selectors
from ledger.models import Journal
from ledger.rules import check_account
from ledger.types import AccountKey, BalanceMode, InvalidPosting, Leg, PostedJournal, Posting, ProofResult
from zentra.core.clock import Clock
from zentra.core.db import require_transaction
from zentra.core.errors import Conflict
from zentra.core.ids import new_id, public_id
from zentra.core.registries import LedgerProof, ledger_proofs
from zentra.tenancy.selectors import workspace_ids

#: Postings in one call of ledger_post_batch; the function refuses more.
MAX_BATCH: Final = 500

#: Sentences kept per proof and workspace: enough to see what is wrong, bounded when everything is.
MAX_VIOLATIONS: Final = 100


class PostingKeyReused(Conflict):
    code = "posting_key_reused"
    summary = "The ledger has booked this business event before, with another content."
    remedy = "Nothing was booked. Compare the event with the journal that carries its key."


class BalanceFloorBreached(Conflict):
    code = "balance_floor_breached"
    summary = "The account does not hold enough for this booking."
    remedy = "Nothing was booked. Read the balance and ask for less, or wait for money to become available."


class JournalAlreadyReversed(Conflict):
    code = "journal_already_reversed"
    summary = "The journal was reversed before."
    remedy = "Nothing was booked. A journal is reversed once."


def post_journal(*, workspace_id: UUID, posting: Posting, clock: Clock) -> PostedJournal:
    """Book one posting, in one round trip. A repeat with the same key and content answers with the first journal.

    :raises NotInTransaction: a journal must commit with the change that it books
    :raises PostingKeyReused: the key was booked before with another content
    :raises BalanceFloorBreached: an account with a floor does not hold enough
    :raises JournalAlreadyReversed: ``reverses_id`` names a journal that has its reversal
    :raises InvalidPosting: an account is outside the chart, or lacks the dimension that the chart asks for

    After a raised conflict PostgreSQL has given up the caller's transaction (or its innermost savepoint).
    """
    require_transaction()
    payload = json.dumps(_payload(posting, clock))
    with connection.cursor() as cursor, _typed_refusals():
        cursor.execute("SELECT ledger_post(%s, %s::jsonb)", [workspace_id, payload])
        (answer,) = cursor.fetchone()
    return _posted(json.loads(answer))


def post_journals(*, workspace_id: UUID, postings: Sequence[Posting], clock: Clock) -> list[PostedJournal]:
    """Book many postings, each once, in as few round trips as the bound of a call allows; answers in their order.

    Floors are judged on the balance after each call of at most MAX_BATCH postings. One refusal refuses them all.

    :raises: as ``post_journal``
    """
    require_transaction()
    posted: list[PostedJournal] = []
    for start in range(0, len(postings), MAX_BATCH):
        payload = json.dumps([_payload(posting, clock) for posting in postings[start : start + MAX_BATCH]])
        with connection.cursor() as cursor, _typed_refusals():
            cursor.execute("SELECT ledger_post_batch(%s, %s::jsonb)", [workspace_id, payload])
            (answers,) = cursor.fetchone()
        posted += [_posted(answer) for answer in json.loads(answers)]
    return posted


def reverse_journal(
    *, workspace_id: UUID, journal_id: UUID, key: str, effective_date: date, clock: Clock
) -> PostedJournal:
    """Book the exact mirror of a journal. A journal is reversed once; a repeat with the same key replays.

    :param effective_date: accounting day of the correction, not of what it corrects
    :raises JournalNotFound: this workspace has no such journal
    :raises JournalAlreadyReversed: another key reversed it before
    :raises BalanceFloorBreached: the money has moved on, and an account with a floor does not hold it any more
    """
    require_transaction()
    journal = selectors.journal_by_id(workspace_id, journal_id)
    mirror = Posting(
        key=key,
        kind=f"{journal.kind}.reversal"[:64],
        currency=journal.currency,
        legs=_mirrored_legs(journal),
        effective_date=effective_date,
        payment_id=journal.payment_id,
        batch_id=journal.batch_id,
        case_id=journal.case_id,
        reverses_id=journal.id,
    )
    return post_journal(workspace_id=workspace_id, posting=mirror, clock=clock)


def lock_available(*, workspace_id: UUID, account: AccountKey, currency: str) -> int:
    """Lock an account's balance row until the transaction ends; returns what is posted, debit positive.

    A merchant's available money is a credit, so 500 available come back as −500. The lock also serialises everything
    that first takes it: a waterfall that spends 2020 and then 1200 locks 2020, then reads 1200 with ``balance_of``.

    :raises NotInTransaction: the lock would be gone at once
    :raises InvalidPosting: the account is outside the chart or keeps no balance row
    """
    require_transaction()
    if check_account(account).balance_mode is not BalanceMode.SYNC:
        raise InvalidPosting(f"account {account} keeps no balance row that could be locked")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT ledger_lock_balance(%s, %s::jsonb)",
            [workspace_id, json.dumps({**_account_payload(account), "currency": currency})],
        )
        (posted_minor,) = cursor.fetchone()
    return int(posted_minor)


def verify_books(*, workspace_id: UUID | None = None) -> list[ProofResult]:
    """Run every proof of the books, the ledger's own first and then those that other apps registered.

    Outside a transaction all proofs see one snapshot. At most MAX_VIOLATIONS sentences per proof and workspace.

    :param workspace_id: prove one workspace; all of them when None
    """
    with _one_snapshot():
        workspaces = [workspace_id] if workspace_id else workspace_ids()
        return [
            ProofResult(name, tuple(_violations(proof, workspaces)))
            for name, proof in {**selectors.PROOFS, **ledger_proofs()}.items()
        ]


def _violations(proof: LedgerProof, workspaces: Iterable[UUID]) -> Iterator[str]:
    for workspace_id in workspaces:
        for sentence in islice(proof(workspace_id=workspace_id), MAX_VIOLATIONS):
            yield f"{public_id('wsp', workspace_id)}: {sentence}"


@contextmanager
def _one_snapshot() -> Iterator[None]:
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _mirrored_legs(journal: Journal) -> tuple[Leg, ...]:
    entries = selectors.entries_of_journal(journal)
    return tuple(Leg(selectors.key_of(entry.account), -entry.amount_minor) for entry in entries)


def _payload(posting: Posting, clock: Clock) -> dict[str, Any]:
    """A posting in the form that ledger/sql/posting.sql documents, under a fresh journal id."""
    return {
        "id": str(new_id()),
        "key": posting.key,
        "kind": posting.kind,
        "currency": posting.currency,
        "fingerprint": posting.fingerprint().hex(),
        "effective_date": posting.effective_date.isoformat(),
        "posted_at": clock.now().isoformat(),
        "payment_id": _text(posting.payment_id),
        "batch_id": _text(posting.batch_id),
        "case_id": _text(posting.case_id),
        "reverses_id": _text(posting.reverses_id),
        "meta": dict(posting.meta),
        "legs": [{**_account_payload(leg.account), "amount_minor": leg.amount_minor} for leg in posting.legs],
    }


def _account_payload(account: AccountKey) -> dict[str, str]:
    check_account(account)
    return {
        "code": account.code,
        "owner_type": account.owner_type,
        "owner_id": account.owner_id,
        "dimension": account.dimension,
    }


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _posted(answer: Mapping[str, Any]) -> PostedJournal:
    return PostedJournal(UUID(answer["id"]), bool(answer["replayed"]), tuple(answer["entry_ids"]))


@contextmanager
def _typed_refusals() -> Iterator[None]:
    """Turn the SQLSTATEs of ledger/sql/posting.sql into the errors that callers act on."""
    try:
        yield
    except DatabaseError as error:
        cause = error.__cause__
        state, diagnostic = getattr(cause, "sqlstate", None), getattr(cause, "diag", None)
        if diagnostic is None:
            raise
        if state == "ZL001":
            raise PostingKeyReused(details={"posting_key": diagnostic.message_detail}) from error
        if state == "ZL002":
            account = public_id("acc", UUID(diagnostic.message_detail))
            raise BalanceFloorBreached(diagnostic.message_primary, details={"account": account}) from error
        if diagnostic.constraint_name == "ledger_journal_reversed_once":
            raise JournalAlreadyReversed from error
        raise
