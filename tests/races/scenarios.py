"""
What must hold when many come at once, each as a function that asserts it.

The tests of this folder run them as they are. `tests.guards` runs them with one guard of the product taken away, and
then they must fail: a scenario that passes without its guard proves nothing. So counts are asserted, never sets, and a
thread that raised is a wrong answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from django.db import IntegrityError, connection, transaction
from django.test import Client

from ledger import services as ledger
from ledger.models import Balance, Entry, Journal
from payments.models import Attempt, Capture, Payment, ProviderCallback, Refund
from payments.services import execution, sweeps
from payments.services.attempts import request_of
from payments.services.chronicle import Chronicle
from payments.services.transitions import advance_payment, lock_payment
from payments.states import PaymentTrigger
from routing.types import ProviderResult, RetryAdvice, Transport, Verdict
from tests.conftest import CommittedDatabase, run_in_threads
from tests.factories.shop import Reply, Shop, open_shop
from tests.factories.tenancy import make_tenant
from tests.ledger.booking import AVAILABLE, book, funding, payout
from tests.payments.test_callbacks import approval, send
from tests.simulator.process import Simulator
from webhooks.models import Event
from zentra.core.ids import new_id, parse_public_id
from zentra.core.transitions import IllegalTransition
from zentra.tenancy.selectors import terms_of


@dataclass(frozen=True)
class Stage:
    """A database of one's own, and the acquirers."""

    database: CommittedDatabase
    simulator: Simulator

    def shop(self) -> Shop:
        return open_shop(self.simulator, deadline_seconds=3.0)

    def recorded(self) -> Counter[str]:
        """How many operations the acquirers hold, by kind."""
        return Counter(self.simulator.alpha.recorded()) + Counter(self.simulator.beta.recorded())


Scenario = Callable[[Stage], None]


def at_once(shop: Shop, times: int, call: Callable[[Shop], Reply]) -> list[Reply]:
    """The same call from so many threads, each with a client of its own. Every one must be answered."""
    replies = run_in_threads(lambda _: call(Shop(shop.tenant, Client())), list(range(times)))
    assert [type(reply) for reply in replies] == [Reply] * times, replies
    return replies


def told(replies: list[Reply]) -> list[str]:
    """Status and code of each answer, sorted: what the callers were told."""
    return sorted(f"{reply.status} {'' if reply.json['success'] else reply.code}".strip() for reply in replies)


def payment_of(public: str) -> Payment:
    return Payment.objects.get(id=parse_public_id("pay", public))


# Idempotency.


def one_key_makes_one_payment(stage: Stage) -> None:
    """16 requests with one key: one payment, one charge, and every answer names it."""
    shop, before = stage.shop(), stage.recorded()

    replies = at_once(shop, 16, lambda own: own.pay(1000, key="the-key"))

    require_one_payment(shop, replies)
    assert (stage.recorded() - before)["authorization"] == 1


def require_one_payment(shop: Shop, replies: list[Reply]) -> str:
    """Assert what 16 answers under one key must say. Returns the id of the one payment."""
    assert Payment.objects.filter(workspace_id=shop.workspace_id).count() == 1
    assert Attempt.objects.filter(workspace_id=shop.workspace_id, operation="authorize").count() == 1
    assert Journal.objects.filter(workspace_id=shop.workspace_id).count() == 1
    only = Payment.objects.get(workspace_id=shop.workspace_id).public_id
    named = [reply.data["id"] for reply in replies if reply.status in (201, 202)]
    waiting = [reply.code for reply in replies if reply.status == 409]
    assert named == [only] * len(named)
    assert waiting == ["idempotency_request_in_progress"] * len(waiting)
    assert len(named) + len(waiting) == len(replies)
    assert named
    return only


def one_reference_names_one_live_payment(stage: Stage) -> None:
    """8 payments with one reference and keys of their own: one is taken, seven are refused."""
    shop, before = stage.shop(), stage.recorded()

    replies = at_once(shop, 8, lambda own: own.pay(1000, reference="ORD_1"))

    assert told(replies) == ["201"] + ["409 reference_in_use"] * 7
    assert Payment.objects.filter(workspace_id=shop.workspace_id).count() == 1
    assert (stage.recorded() - before)["authorization"] == 1


# Row locks.


def refunds_never_exceed_what_was_captured(stage: Stage) -> None:
    """8 refunds of 400 on 1000: exactly two succeed."""
    shop, before = stage.shop(), stage.recorded()
    payment = shop.captured(1000)

    replies = at_once(shop, 8, lambda own: own.refund(payment["id"], 400))

    assert told(replies) == ["201"] * 2 + ["409 refund_exceeds_payment"] * 6
    shop.work()
    assert payment_of(payment["id"]).refunded_minor == 800
    assert Refund.objects.filter(workspace_id=shop.workspace_id, state="succeeded").count() == 2
    assert (stage.recorded() - before)["refund"] == 2


def captures_never_exceed_what_was_authorized(stage: Stage) -> None:
    """8 captures of 400 on 1000: exactly two succeed."""
    shop, before = stage.shop(), stage.recorded()
    payment = shop.pay(1000, capture_method="manual").data

    replies = at_once(shop, 8, lambda own: own.capture(payment["id"], 400))

    assert told(replies) == ["201"] * 2 + ["409 capture_exceeds_authorized"] * 6
    shop.work()
    assert payment_of(payment["id"]).captured_minor == 800
    assert Capture.objects.filter(workspace_id=shop.workspace_id, state="succeeded").count() == 2
    assert (stage.recorded() - before)["capture"] == 2


def a_payment_is_captured_or_voided(stage: Stage) -> None:
    """4 captures of everything against 4 voids: one of the eight wins, and the acquirer sees that one alone."""
    shop, before = stage.shop(), stage.recorded()
    payment = shop.pay(1000, capture_method="manual").data["id"]

    def either(number: int) -> Reply:
        own = Shop(shop.tenant, Client())
        if number % 2:
            return own.capture(payment)
        return own.call("POST", f"payments/{payment}/void", {}, key=f"void-{number}")

    replies = run_in_threads(either, list(range(8)))
    assert [type(reply) for reply in replies] == [Reply] * 8, replies
    assert [reply.status for reply in replies if reply.status != 409] in ([201], [202])
    shop.work()

    done, row = stage.recorded() - before, payment_of(payment)
    assert (done["capture"], done["void"]) in ((1, 0), (0, 1))
    assert (row.state, row.captured_minor) in (("authorized", 1000), ("voided", 0))
    assert (row.captured_minor == 1000) == (done["capture"] == 1)


# State guards.


def a_capture_delivered_twice_moves_money_once(stage: Stage) -> None:
    """One capture's task on 6 workers at once, and once more later."""
    shop, before = stage.shop(), stage.recorded()
    payment = payment_of(shop.pay(1000).data["id"])
    capture = Capture.objects.get(payment=payment)

    def deliver(_: int) -> None:
        execution.run_capture(workspace_id=shop.workspace_id, capture_id=capture.id)

    assert run_in_threads(deliver, list(range(6))) == [None] * 6
    deliver(6)

    payment.refresh_from_db()
    assert payment.captured_minor == 1000
    assert Attempt.objects.filter(payment=payment, operation="capture").count() == 1
    assert Journal.objects.filter(workspace_id=shop.workspace_id, payment_id=payment.id).count() == 2
    assert (stage.recorded() - before)["capture"] == 1


def an_outcome_learnt_twice_is_applied_once(stage: Stage) -> None:
    """The resolver and the provider's late callback, three of each, about one unknown outcome."""
    shop, before = stage.shop(), stage.recorded()
    payment = payment_of(shop.pay(10_000, "accept_then_timeout").data["id"])
    attempt = Attempt.objects.get(payment=payment, operation="authorize")
    (held,) = stage.simulator.alpha.by_reference(attempt.reference)
    message = approval(attempt, id=held["id"])

    def learn(number: int) -> int:
        if number % 2:
            sweeps.resolve_attempt(workspace_id=shop.workspace_id, attempt_id=attempt.id)
            return 200
        return send(Shop(shop.tenant, Client()), {**message, "id": f"cbk_{number}"}).status

    results = run_in_threads(learn, list(range(6)))

    payment.refresh_from_db()
    assert results == [200] * 6
    assert (payment.state, payment.authorized_minor) == ("authorized", 10_000)
    assert Capture.objects.filter(payment=payment).count() == 1
    assert _events(payment, "payment.authorized") == 1
    assert (stage.recorded() - before)["authorization"] == 1


def a_decided_payment_is_not_decided_again(stage: Stage) -> None:
    """A declined payment does not become authorized, whoever says so."""
    shop = stage.shop()
    payment = payment_of(shop.pay(1000, "declined_stolen_card").error["details"]["payment"]["id"])

    refused = False
    with transaction.atomic():
        locked = lock_payment(workspace_id=shop.workspace_id, payment_id=payment.id)
        chronicle = Chronicle(terms=terms_of(shop.workspace_id))
        try:
            advance_payment(payment=locked, trigger=PaymentTrigger.PROVIDER_APPROVED, chronicle=chronicle)
        except IllegalTransition:
            refused = True

    assert refused
    assert locked.state == "declined"
    assert chronicle.facts == []


def a_decided_attempt_is_not_answered_again(stage: Stage) -> None:
    """A callback that contradicts an answer already recorded changes nothing."""
    shop = stage.shop()
    payment = payment_of(shop.pay(10_000, capture_method="manual").data["id"])
    attempt = Attempt.objects.get(payment=payment)
    result = _declined(attempt)

    refused = False
    try:
        execution.record_outcome(workspace_id=shop.workspace_id, attempt_id=attempt.id, result=result, via="query")
    except IllegalTransition:
        refused = True

    # Left alone at the attempt already: nothing further on has to refuse it.
    assert not refused
    attempt.refresh_from_db()
    payment.refresh_from_db()
    assert (attempt.state, payment.state, payment.authorized_minor) == ("approved", "authorized", 10_000)


def _declined(attempt: Attempt) -> Any:
    return ProviderResult(
        operation=request_of(attempt).operation,
        transport=Transport.ANSWERED,
        verdict=Verdict.HARD_DECLINE,
        nothing_authorized=True,
        retry_advice=RetryAdvice.NEVER,
    )


def _events(payment: Payment, type: str) -> int:
    return Event.objects.filter(workspace_id=payment.workspace_id, type=type, object_id=payment.public_id).count()


# What the database refuses by itself.


def refused_by_database(statement: str, params: list[Any], stage: Stage, role: str = "zentra_app") -> bool:
    """Whether one transaction of this statement is refused for a reason of integrity. Any other refusal is raised."""
    with stage.database.connect(role) as raw:
        try:
            with raw.transaction():
                raw.execute(statement, params)
        except psycopg.errors.IntegrityError:
            return True
    return False


def the_database_keeps_captures_within_the_authorization(stage: Stage) -> None:
    payment = payment_of(stage.shop().pay(1000, capture_method="manual").data["id"])

    for column in ("capturing_minor", "captured_minor", "released_minor"):
        statement = f"UPDATE payments_payment SET {column} = 1001 WHERE id = %s"
        assert refused_by_database(statement, [payment.id], stage), column

    payment.refresh_from_db()
    assert (payment.capturing_minor, payment.captured_minor, payment.released_minor) == (0, 0, 0)


def the_database_keeps_refunds_within_the_captures(stage: Stage) -> None:
    payment = payment_of(stage.shop().captured(1000)["id"])

    for column in ("refunding_minor", "refunded_minor"):
        statement = f"UPDATE payments_payment SET {column} = 1001 WHERE id = %s"
        assert refused_by_database(statement, [payment.id], stage), column

    payment.refresh_from_db()
    assert (payment.refunding_minor, payment.refunded_minor) == (0, 0)


def _copied_attempt(stage: Stage, **changes: Any) -> None:
    """Insert a copy of an attempt that differs in all its unique values but the ones under test."""
    payment = payment_of(stage.shop().pay(1000, capture_method="manual").data["id"])
    copy = Attempt.objects.get(payment=payment)
    fresh = {"number": 2, "provider_key": "another", "reference": "another"}
    for name, value in {**fresh, **{name: getattr(copy, name) for name in changes}}.items():
        setattr(copy, name, value)
    copy.id = new_id()
    refused = False
    try:
        with transaction.atomic():
            copy.save(force_insert=True)
    except IntegrityError:
        refused = True
    assert refused
    assert Attempt.objects.filter(payment=payment).count() == 1


def an_attempt_number_is_used_once(stage: Stage) -> None:
    _copied_attempt(stage, number=None)


def a_provider_key_is_used_once(stage: Stage) -> None:
    _copied_attempt(stage, provider_key=None)


def a_reference_at_the_provider_is_used_once(stage: Stage) -> None:
    _copied_attempt(stage, reference=None)


def a_callback_is_kept_once(stage: Stage) -> None:
    """Eight copies of one callback at once: one row that counts eight."""
    shop = stage.shop()
    attempt = Attempt.objects.get(payment=payment_of(shop.pay(10_000, "accept_then_timeout").data["id"]))
    (held,) = stage.simulator.alpha.by_reference(attempt.reference)
    message = approval(attempt, id=held["id"])

    replies = at_once(shop, 8, lambda own: send(own, message))

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), sum(copies) FROM payments_providercallback")
        assert cursor.fetchone() == (1, 8)
    assert [reply.status for reply in replies] == [200] * 8


def the_database_keeps_one_row_per_callback(stage: Stage) -> None:
    shop = stage.shop()
    attempt = Attempt.objects.get(payment=payment_of(shop.pay(10_000, "accept_then_timeout").data["id"]))
    send(shop, approval(attempt))
    copy = ProviderCallback.objects.get()
    copy.id = new_id()
    refused = False
    try:
        with transaction.atomic():
            copy.save(force_insert=True)
    except IntegrityError:
        refused = True
    assert refused
    assert ProviderCallback.objects.count() == 1


# The books.


def _workspace(stage: Stage) -> UUID:
    workspace_id = make_tenant().workspace.id
    book(workspace_id, funding("in", 500))
    return workspace_id


_JOURNAL = """INSERT INTO ledger_journal
    (id, workspace_id, kind, idempotency_key, fingerprint, currency, effective_date, posted_at, meta)
    VALUES (%(journal)s, %(workspace)s, 'x', %(key)s, '', 'EUR', '2026-03-02', '2026-03-02', '{}')"""
_ENTRY = """INSERT INTO ledger_entry (journal_id, account_id, workspace_id, currency, amount_minor, effective_date)
    SELECT %(journal)s, id, workspace_id, 'EUR', %(amount)s, '2026-03-02' FROM ledger_account
     WHERE workspace_id = %(workspace)s AND code = %(code)s"""


def _written_as_owner(stage: Stage, workspace_id: UUID, journal: UUID, *lines: tuple[str, int], header: bool) -> bool:
    """Whether the owner of the tables gets a journal or more entries into the books by hand."""
    values = {"journal": journal, "workspace": workspace_id, "key": str(journal)}
    with stage.database.connect("zentra_owner") as raw:
        try:
            with raw.transaction():
                if header:
                    raw.execute(_JOURNAL, values)
                for code, amount in lines:
                    raw.execute(_ENTRY, {**values, "code": code, "amount": amount})
        except psycopg.Error as error:
            if not str(error.sqlstate).startswith("ZL"):
                raise
            return False
    return True


def a_journal_balances_or_does_not_exist(stage: Stage) -> None:
    workspace_id = _workspace(stage)

    assert not _written_as_owner(stage, workspace_id, new_id(), ("1010", 5), ("2020", -4), header=True)
    assert not _written_as_owner(stage, workspace_id, new_id(), ("1010", 5), header=True)
    assert not _written_as_owner(stage, workspace_id, new_id(), header=True)
    assert Journal.objects.count() == 1


def a_committed_journal_gets_no_more_entries(stage: Stage) -> None:
    workspace_id = _workspace(stage)
    journal = Journal.objects.get().id

    assert not _written_as_owner(stage, workspace_id, journal, ("1010", 5), ("2020", -5), header=False)
    assert Entry.objects.count() == 2


def what_is_written_stays(table: str, change: str) -> Scenario:
    """A scenario: even the owner of the tables can neither change nor delete nor truncate the rows of this one."""

    def scenario(stage: Stage) -> None:
        stage.shop().captured(1000)
        with stage.database.connect("zentra_owner") as raw:
            before = raw.execute(
                f"SELECT count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t"
            ).fetchone()
            for statement in (f"UPDATE {table} SET {change}", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
                assert _refused_as_owner(raw, statement), statement
            after = raw.execute(
                f"SELECT count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t"
            ).fetchone()
        assert before is not None
        assert before[0] > 0
        assert before == after

    return scenario


def _refused_as_owner(raw: Any, statement: str) -> bool:
    """Whether an append-only guard refuses it. What is let through is taken back."""
    raw.execute("BEGIN")
    try:
        raw.execute(statement)
    except psycopg.Error as error:
        return error.sqlstate in ("ZL005", "23001")
    finally:
        raw.execute("ROLLBACK")
    return False


def money_is_spent_once(stage: Stage) -> None:
    """8 payouts of 200 out of 500: exactly two, and never a debt."""
    workspace_id = _workspace(stage)

    def spend(number: int) -> str:
        try:
            book(workspace_id, payout(f"out {number}", 200))
        except ledger.BalanceFloorBreached:
            return "refused"
        return "paid"

    results = run_in_threads(spend, list(range(8)))

    assert Counter(map(str, results)) == {"paid": 2, "refused": 6}
    assert Balance.objects.get(account__code=AVAILABLE.code).posted_minor == -100


def a_posting_is_booked_once(stage: Stage) -> None:
    """One posting from 8 threads: one journal, and every caller learns its id."""
    workspace_id = _workspace(stage)

    def post(_: int) -> Any:
        return book(workspace_id, funding("once", 200))[0].id

    results = run_in_threads(post, list(range(8)))

    assert len(set(results)) == 1, results
    assert Journal.objects.filter(idempotency_key="once").count() == 1
    assert -Balance.objects.get(account__code=AVAILABLE.code).posted_minor == 700
