"""The guards, how each is taken away, and the scenario that must notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import Any
from unittest.mock import patch
from uuid import UUID

from payments import states
from payments.models import Payment
from payments.services import captures, execution, refunds, transitions, voids
from tests.races import scenarios
from tests.races.scenarios import Scenario, Stage
from zentra.idempotency import services as idempotency

Removal = Callable[[Stage], AbstractContextManager[None]]


@dataclass(frozen=True)
class Guard:
    """One guard. ``removed`` says in words how it is taken away."""

    name: str
    removed: str
    scenario: Scenario
    removal: Removal

    @property
    def test(self) -> str:
        return self.scenario.__name__


def by_sql(*statements: str) -> Removal:
    """Run these as the server's administrator, in the scratch database alone."""

    @contextmanager
    def removal(stage: Stage) -> Iterator[None]:
        with stage.database.connect(None) as administrator:
            for statement in statements:
                administrator.execute(statement)
        yield

    return removal


def by_function(name: str, text: str, instead: str) -> Removal:
    """Replace a piece of a database function's own text. :raises AssertionError: the text is not there any more"""

    @contextmanager
    def removal(stage: Stage) -> Iterator[None]:
        with stage.database.connect(None) as administrator:
            row = administrator.execute("SELECT pg_get_functiondef(%s::regproc)", [name]).fetchone()
            assert row is not None
            if text not in row[0]:
                raise LookupError(f"{name} does not contain {text!r} any more")
            administrator.execute(row[0].replace(text, instead))
        yield

    return removal


def by_patch(*changes: tuple[ModuleType, str, Any]) -> Removal:
    """Put something else in the place of these names of the product."""

    @contextmanager
    def removal(_: Stage) -> Iterator[None]:
        with ExitStack() as patched:
            for module, name, instead in changes:
                patched.enter_context(patch.object(module, name, instead))
            yield

    return removal


def both(first: Removal, second: Removal) -> Removal:
    @contextmanager
    def removal(stage: Stage) -> Iterator[None]:
        with first(stage), second(stage):
            yield

    return removal


def payment_without_lock(*, workspace_id: UUID, payment_id: UUID) -> Payment:
    """`lock_payment` without the lock."""
    return Payment.objects.select_related("customer").get(workspace_id=workspace_id, id=payment_id)


def unguarded(table: dict[tuple[Any, Any], Any]) -> Callable[[StrEnum, StrEnum], Any]:
    """A transition function that lets every trigger happen in every state."""

    def next_state(_: StrEnum, trigger: StrEnum) -> Any:
        return next(target for (_, known), target in table.items() if known is trigger)

    return next_state


ROW_LOCK = by_patch(
    *((module, "lock_payment", payment_without_lock) for module in (captures, refunds, voids, execution))
)
CLAIM_WITHOUT_CONFLICT = idempotency._CLAIM.replace("ON CONFLICT (workspace_id, operation, key) DO NOTHING\n", "")
ON_CONFLICT = "ON CONFLICT (workspace_id, idempotency_key) DO NOTHING"


def append_only(table: str, change: str, *triggers: str) -> Guard:
    scenario = scenarios.what_is_written_stays(table, change)
    scenario.__name__ = f"what_is_written_stays[{table}]"
    drops = [f"DROP TRIGGER {trigger} ON {table}" for trigger in triggers]
    return Guard(f"append-only triggers of {table}", "dropped", scenario, by_sql(*drops))


def dropped_constraint(table: str, constraint: str, scenario: Scenario) -> Guard:
    statement = f"ALTER TABLE {table} DROP CONSTRAINT {constraint}"
    return Guard(f"constraint {constraint}", "dropped", scenario, by_sql(statement))


GUARDS: tuple[Guard, ...] = (
    Guard(
        "unique idempotency key",
        "dropped, with its ON CONFLICT",
        scenarios.one_key_makes_one_payment,
        both(
            by_sql("ALTER TABLE idempotency_idempotencykey DROP CONSTRAINT idempotency_key_once"),
            by_patch((idempotency, "_CLAIM", CLAIM_WITHOUT_CONFLICT)),
        ),
    ),
    Guard(
        "unique live reference",
        "index dropped",
        scenarios.one_reference_names_one_live_payment,
        by_sql("DROP INDEX payment_reference_once"),
    ),
    Guard("payment row lock", "read without FOR UPDATE", scenarios.refunds_never_exceed_what_was_captured, ROW_LOCK),
    Guard("payment row lock", "read without FOR UPDATE", scenarios.captures_never_exceed_what_was_authorized, ROW_LOCK),
    Guard("payment row lock", "read without FOR UPDATE", scenarios.a_payment_is_captured_or_voided, ROW_LOCK),
    Guard("payment row lock", "read without FOR UPDATE", scenarios.an_outcome_learnt_twice_is_applied_once, ROW_LOCK),
    Guard(
        "state guard of payments",
        "every edge allowed",
        scenarios.a_decided_payment_is_not_decided_again,
        by_patch((transitions, "next_payment_state", unguarded(states.PAYMENT_TRANSITIONS))),
    ),
    Guard(
        "state guard of captures",
        "every edge allowed",
        scenarios.a_capture_delivered_twice_moves_money_once,
        by_patch((captures, "next_operation_state", unguarded(states.OPERATION_TRANSITIONS))),
    ),
    Guard(
        "state guard of attempts",
        "every edge allowed",
        scenarios.a_decided_attempt_is_not_answered_again,
        by_patch((transitions, "next_attempt_state", unguarded(states.ATTEMPT_TRANSITIONS))),
    ),
    dropped_constraint(
        "payments_payment",
        "payment_captures_within_authorized",
        scenarios.the_database_keeps_captures_within_the_authorization,
    ),
    dropped_constraint(
        "payments_payment", "payment_refunds_within_captured", scenarios.the_database_keeps_refunds_within_the_captures
    ),
    dropped_constraint("payments_attempt", "attempt_number_once", scenarios.an_attempt_number_is_used_once),
    dropped_constraint("payments_attempt", "attempt_provider_key_once", scenarios.a_provider_key_is_used_once),
    dropped_constraint(
        "payments_attempt", "attempt_reference_once", scenarios.a_reference_at_the_provider_is_used_once
    ),
    dropped_constraint("payments_providercallback", "callback_once", scenarios.the_database_keeps_one_row_per_callback),
    Guard(
        "deferred balance trigger of journals",
        "dropped",
        scenarios.a_journal_balances_or_does_not_exist,
        by_sql("DROP TRIGGER ledger_journal_balances ON ledger_journal"),
    ),
    Guard(
        "late-entry trigger",
        "dropped",
        scenarios.a_committed_journal_gets_no_more_entries,
        by_sql("DROP TRIGGER ledger_entry_belongs ON ledger_entry"),
    ),
    append_only("ledger_entry", "amount_minor = amount_minor", "ledger_entry_append_only"),
    append_only("ledger_journal", "kind = 'changed'", "ledger_journal_append_only"),
    append_only("ledger_account", "floor_minor = NULL", "ledger_account_append_only"),
    append_only("evidence_evidencerecord", "recorded_at = recorded_at", "evidence_append_only", "evidence_no_truncate"),
    append_only(
        "routing_routingdecision", "made_at = made_at", "routing_decision_append_only", "routing_decision_no_truncate"
    ),
    append_only("webhooks_event", "type = 'changed'", "event_append_only", "event_no_truncate"),
    Guard(
        "floor check of balances",
        "taken out of ledger_post_batch",
        scenarios.money_is_spent_once,
        by_function("ledger_post_batch", "(v_change.floor_minor IS NULL", "(true OR v_change.floor_minor IS NULL"),
    ),
    Guard(
        "unique posting key",
        "dropped, with its ON CONFLICT",
        scenarios.a_posting_is_booked_once,
        both(
            by_sql("ALTER TABLE ledger_journal DROP CONSTRAINT ledger_journal_key_once"),
            by_function("ledger_post_batch", ON_CONFLICT, ""),
        ),
    ),
)
