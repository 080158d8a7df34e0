"""Around the wire: nothing sent, nothing held, nothing believed too early."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.db import transaction

from routing.providers.base import conflicts_of
from routing.providers.calls import BULKHEAD_WAIT_SECONDS, call_provider
from routing.providers.simulator import SimulatorAdapter
from routing.rules import may_fail_over
from routing.types import Operation, Transport, Verdict
from tests.factories.routing import endpoint, provider_request, provider_result
from zentra.core.db import InsideTransaction

T, V = Transport, Verdict


@pytest.fixture
def free_port():
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class TestACallThatCannotLeave:
    def assert_not_sent(self, result, verdict=V.PROVIDER_FAULT):
        assert (result.transport, result.verdict, result.nothing_authorized) == (T.NOT_SENT, verdict, True)
        assert may_fail_over(result)

    def test_because_the_connection_is_refused_is_not_sent(self, free_port):
        account = endpoint(f"http://127.0.0.1:{free_port}")

        self.assert_not_sent(call_provider(endpoint=account, request=provider_request()))

    def test_because_tls_fails_is_not_sent(self, simulator):
        request = provider_request()
        account = endpoint(simulator.alpha.url.replace("http:", "https:"))

        self.assert_not_sent(call_provider(endpoint=account, request=request))
        assert simulator.alpha.by_reference(request.reference) == []

    def test_because_the_address_is_private_is_not_sent(self, simulator, settings):
        settings.OUTGOING_ALLOWED_NETWORKS = []
        request = provider_request()

        result = call_provider(endpoint=endpoint(simulator.alpha.url), request=request)

        self.assert_not_sent(result, V.CONFIG)
        assert simulator.alpha.by_reference(request.reference) == []

    def test_because_no_adapter_is_installed_is_not_sent(self):
        account = endpoint("http://127.0.0.1:9", provider="gone")

        self.assert_not_sent(call_provider(endpoint=account, request=provider_request()), V.CONFIG)

    def test_because_the_reference_is_too_long_is_not_sent(self, simulator):
        request = provider_request(reference="r" * 65)

        result = call_provider(endpoint=endpoint(simulator.alpha.url), request=request)

        self.assert_not_sent(result, V.INVALID_REQUEST)

    def test_because_the_provider_lacks_the_operation_is_not_sent(self, simulator, monkeypatch):
        narrow = replace(SimulatorAdapter.capabilities, operations=frozenset({Operation.QUERY}))
        monkeypatch.setattr(SimulatorAdapter, "capabilities", narrow)

        result = call_provider(endpoint=endpoint(simulator.alpha.url), request=provider_request())

        self.assert_not_sent(result, V.INVALID_REQUEST)


class TestACallInsideATransaction:
    def test_is_refused_before_anything_is_sent(self, simulator, db):
        request = provider_request()

        with transaction.atomic(), pytest.raises(InsideTransaction):
            call_provider(endpoint=endpoint(simulator.alpha.url), request=request)

        assert simulator.alpha.by_reference(request.reference) == []


class TestADefectOfAnAdapter:
    def test_leaves_the_outcome_unknown(self, simulator, monkeypatch):
        def broken(self, account, request):
            raise KeyError("after sending, perhaps")

        monkeypatch.setattr(SimulatorAdapter, "authorize", broken)

        result = call_provider(endpoint=endpoint(simulator.alpha.url), request=provider_request())

        assert (result.transport, result.verdict, result.code) == (T.SENT_NO_ANSWER, V.UNKNOWN, "adapter_failed")
        assert not may_fail_over(result)


class TestTheBulkhead:
    def test_turns_away_what_is_over_the_limit_and_lets_other_accounts_through(self, simulator, settings):
        settings.PROVIDER_CALLS_IN_FLIGHT = 2
        hanging, other = endpoint(simulator.alpha.url), endpoint(simulator.beta.url, "beta")
        silent = {"payment_token": "tok_sandbox_accept_then_timeout", "deadline_seconds": 1.5}
        under_way = threading.Barrier(3)

        def hang(_number):
            under_way.wait(5)
            return call_provider(endpoint=hanging, request=provider_request(**silent))

        with ThreadPoolExecutor(max_workers=2) as pool:
            hung = [pool.submit(hang, number) for number in range(2)]
            under_way.wait(5)
            time.sleep(0.3)
            before = time.monotonic()
            turned_away = call_provider(endpoint=hanging, request=provider_request())
            waited = time.monotonic() - before
            elsewhere = call_provider(endpoint=other, request=provider_request())
            still_hanging = [not future.done() for future in hung]
            results = [future.result(10) for future in hung]
        afterwards = call_provider(endpoint=hanging, request=provider_request())

        assert all(still_hanging)
        assert (turned_away.transport, turned_away.code) == (T.NOT_SENT, "provider_busy")
        assert may_fail_over(turned_away)
        assert waited < BULKHEAD_WAIT_SECONDS + 0.25
        assert elsewhere.verdict is V.APPROVED
        assert [result.verdict for result in results] == [V.UNKNOWN, V.UNKNOWN]
        assert afterwards.verdict is V.APPROVED


class TestTheIntegrityCheck:
    REQUEST = provider_request(amount_minor=1000, currency="EUR", reference="ours")

    @pytest.mark.parametrize(
        ("stated", "conflicts"),
        [
            ({"amount_minor": 1000, "currency": "EUR", "own_reference": "ours"}, ()),
            ({}, ()),
            ({"amount_minor": 999}, ("amount_minor",)),
            ({"amount_minor": 1001}, ("amount_minor",)),
            ({"currency": "USD"}, ("currency",)),
            ({"own_reference": "theirs"}, ("reference",)),
            (
                {"amount_minor": 0, "currency": "USD", "own_reference": "theirs"},
                ("amount_minor", "currency", "reference"),
            ),
        ],
    )
    def test_names_every_field_that_differs(self, stated, conflicts):
        result = provider_result(verdict=V.APPROVED, nothing_authorized=False, **stated)

        assert conflicts_of(self.REQUEST, result) == conflicts

    @pytest.mark.parametrize(
        ("amount_minor", "partial", "allow_partial", "conflicts"),
        [
            (999, True, True, ()),
            (999, True, False, ("amount_minor",)),
            (999, False, True, ("amount_minor",)),
            (1001, True, True, ("amount_minor",)),
            (0, True, True, ("amount_minor",)),
        ],
    )
    def test_lets_a_smaller_amount_pass_only_as_an_allowed_partial(
        self, amount_minor, partial, allow_partial, conflicts
    ):
        request = replace(self.REQUEST, allow_partial=allow_partial)
        result = provider_result(
            verdict=V.APPROVED, nothing_authorized=False, amount_minor=amount_minor, partial=partial
        )

        assert conflicts_of(request, result) == conflicts

    def test_compares_no_amount_for_a_void(self):
        request = replace(self.REQUEST, operation=Operation.VOID)
        result = provider_result(verdict=V.APPROVED, nothing_authorized=False, amount_minor=5, operation=Operation.VOID)

        assert conflicts_of(request, result) == ()
        assert conflicts_of(request.as_query(), result) == ()


class TestAReplayAsAQuery:
    @pytest.mark.parametrize(
        ("replays", "retention", "age", "allowed"),
        [
            (True, 86_400, 0, True),
            (True, 86_400, 43_199, True),
            (True, 86_400, 43_200, False),
            (True, 86_400, -1, False),
            (False, 86_400, 0, False),
        ],
    )
    def test_is_allowed_within_half_of_the_declared_retention(self, replays, retention, age, allowed):
        capabilities = replace(
            SimulatorAdapter.capabilities, replay_returns_every_outcome=replays, key_retention_seconds=retention
        )

        assert capabilities.may_replay(age_seconds=age) is allowed
