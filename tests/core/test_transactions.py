"""Who must be inside a transaction and who must not; jobs that a transaction hints at; the registries."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connection, transaction

from tests.conftest import CommittedDatabase, run_in_threads
from tests.factories.tenancy import make_tenant
from zentra.core import jobs, registries
from zentra.core.db import (
    InsideTransaction,
    NotInTransaction,
    fetch_all,
    in_business_transaction,
    is_lock_timeout,
    lock_timeout,
    release_connection,
    require_transaction,
)
from zentra.tenancy.models import Workspace

SLOT = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.django_db
class TestABuildingBlock:
    def test_is_refused_outside_a_transaction_even_inside_a_test_case(self):
        assert connection.in_atomic_block
        assert not in_business_transaction()
        with pytest.raises(NotInTransaction):
            require_transaction()

    def test_runs_inside_one_and_inside_one_of_those(self):
        with transaction.atomic():
            require_transaction()
            with transaction.atomic():
                require_transaction()

    def test_leaves_nothing_behind(self):
        with transaction.atomic():
            pass
        assert not in_business_transaction()


class TestTheNetwork:
    @pytest.mark.django_db
    def test_is_not_touched_with_a_transaction_open(self):
        release_connection()
        with transaction.atomic(), pytest.raises(InsideTransaction):
            release_connection()

    def test_is_touched_with_no_connection_held(self, committed_database: CommittedDatabase):
        make_tenant()
        assert connection.connection is not None

        release_connection()

        assert connection.connection is None


class TestAWaitForALock:
    def test_ends_in_time_and_is_known_for_what_it_is(self, committed_database: CommittedDatabase):
        workspace = make_tenant().workspace
        with committed_database.connect() as other:
            other.execute("BEGIN")
            other.execute("SELECT 1 FROM tenancy_workspace WHERE id = %s FOR UPDATE", [workspace.id])
            started = time.monotonic()
            with pytest.raises(OperationalError) as refusal, transaction.atomic(), lock_timeout(100):
                Workspace.objects.select_for_update().get(id=workspace.id)
            waited = time.monotonic() - started
            other.execute("ROLLBACK")

        assert is_lock_timeout(refusal.value)
        assert not is_lock_timeout(OperationalError("another one"))
        assert 0.1 <= waited < 5

    @pytest.mark.django_db
    def test_is_bounded_for_its_block_alone(self):
        with transaction.atomic():
            with lock_timeout(100):
                assert fetch_all("SHOW lock_timeout") == [{"lock_timeout": "100ms"}]
            assert fetch_all("SHOW lock_timeout") == [{"lock_timeout": "0"}]


@pytest.mark.django_db
class TestAJob:
    def test_is_hinted_in_a_transaction_only(self):
        with pytest.raises(NotInTransaction):
            jobs.enqueue_on_commit("payments.run_capture")

    def test_with_a_name_that_nobody_has_fails_at_the_call(self):
        with transaction.atomic(), pytest.raises(jobs.UnknownJob):
            jobs.enqueue_on_commit("payments.run_captur")

    def test_is_sent_after_the_commit_and_not_before(self, django_capture_on_commit_callbacks: Any):
        with django_capture_on_commit_callbacks() as callbacks, transaction.atomic():
            jobs.enqueue_on_commit("payments.run_capture", capture_id="x")

        assert len(callbacks) == 1

    def test_that_is_rolled_back_is_never_sent(self, django_capture_on_commit_callbacks: Any):
        with django_capture_on_commit_callbacks() as callbacks, transaction.atomic():
            jobs.enqueue_on_commit("payments.run_capture", capture_id="x")
            transaction.set_rollback(True)

        assert callbacks == []


class TestASlot:
    def test_is_taken_once_by_however_many(self, committed_database: CommittedDatabase):
        def take(_: int) -> bool:
            with transaction.atomic():
                return jobs.claim_slot("nightly", SLOT)

        assert sorted(run_in_threads(take, list(range(8)))) == [False] * 7 + [True]

    @pytest.mark.django_db
    def test_is_free_again_when_its_run_failed(self):
        with transaction.atomic():
            assert jobs.claim_slot("nightly", SLOT)
            transaction.set_rollback(True)
        with transaction.atomic():
            assert jobs.claim_slot("nightly", SLOT)

    @pytest.mark.django_db
    def test_of_another_job_or_another_time_is_another_one(self):
        with transaction.atomic():
            assert jobs.claim_slot("nightly", SLOT)
            assert jobs.claim_slot("hourly", SLOT)
            assert jobs.claim_slot("nightly", SLOT.replace(hour=1))
            assert not jobs.claim_slot("nightly", SLOT)


class TestTheRegistries:
    def test_refuse_a_name_that_is_taken(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(registries, "_trace_sections", {})
        monkeypatch.setattr(registries, "_ledger_proofs", {})

        def section(**_: Any) -> str:
            return "found"

        registries.register_trace_section("a", section)
        registries.register_trace_section("a", section)
        registries.register_ledger_proof("a", section)

        with pytest.raises(ValueError, match="twice"):
            registries.register_trace_section("a", lambda **_: "another")
        with pytest.raises(ValueError, match="twice"):
            registries.register_ledger_proof("a", lambda **_: [])
        assert registries.trace_sections(workspace_id=uuid4(), payment_id=uuid4()) == {"a": "found"}

    def test_publish_nothing_into_nothing(self, monkeypatch: pytest.MonkeyPatch):
        fact = registries.EventFact(uuid4(), "payment.created", "payment", "pay_1")
        monkeypatch.setattr(registries, "_event_sinks", [])
        with pytest.raises(LookupError):
            registries.publish_fact(fact)
        told: list[Any] = []

        registries.set_event_sink(told.append)
        registries.publish_fact(fact)

        assert told == [fact]

    def test_were_filled_by_the_apps(self):
        assert set(registries._trace_sections) >= {"settlement"}
        assert registries._event_sinks
