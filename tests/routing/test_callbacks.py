"""Callbacks of the simulator, as its process really sends them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from routing.providers.base import CallbackRefused
from routing.providers.simulator import SimulatorAdapter
from routing.types import Operation, Verdict
from zentra.simulator.callbacks import sign

ADAPTER = SimulatorAdapter()
SECRET = "cbk_secret_alpha"


def now():
    return datetime.now(UTC)


@pytest.fixture
def callback(simulator, receiver):
    """Headers, body and authorization of one real callback."""
    simulator.alpha.control("callback", {"url": receiver.url})
    document = simulator.alpha.authorize().json
    [(signature, body), *_] = receiver.wait_for(document["id"])
    yield {"X-Acquirer-Signature": signature}, body, document
    simulator.alpha.control("callback", {"url": None})


class TestARealCallback:
    def test_is_verified_and_read(self, callback):
        headers, body, document = callback

        ADAPTER.verify_callback(headers, body, SECRET, now())
        fact = ADAPTER.parse_callback(body)

        assert fact.provider_event_id == json.loads(body)["id"]
        assert (fact.type, fact.status, fact.verdict) == ("authorization.authorized", "authorized", Verdict.APPROVED)
        assert fact.operation is Operation.AUTHORIZE
        assert (fact.own_reference, fact.provider_reference) == (document["reference"], document["id"])
        assert (fact.amount_minor, fact.currency, fact.nothing_authorized) == (12_500, "EUR", False)

    def test_is_refused_with_another_secret(self, callback):
        headers, body, _ = callback

        with pytest.raises(CallbackRefused):
            ADAPTER.verify_callback(headers, body, "cbk_secret_beta", now())

    def test_is_refused_by_an_account_without_a_secret_even_when_signed_with_nothing(self, callback):
        _, body, _ = callback
        headers = {"X-Acquirer-Signature": sign("", body, int(now().timestamp()))}

        with pytest.raises(CallbackRefused):
            ADAPTER.verify_callback(headers, body, "", now())

    def test_is_refused_when_one_byte_differs(self, callback):
        headers, body, _ = callback

        with pytest.raises(CallbackRefused):
            ADAPTER.verify_callback(headers, body.replace(b"12500", b"12501"), SECRET, now())

    @pytest.mark.parametrize("minutes", [-6, 6])
    def test_is_refused_when_it_is_old_or_from_the_future(self, callback, minutes):
        headers, body, _ = callback

        with pytest.raises(CallbackRefused):
            ADAPTER.verify_callback(headers, body, SECRET, now() + timedelta(minutes=minutes))

    @pytest.mark.parametrize(
        "signature",
        ["", "t=1", "v1=00", "t=,v1=", "t=x,v1=00", "t=1,t=2,v1=00", "t=²,v1=00", "t=99999999999999,v1=00", "t=1,v1=é"],
    )
    def test_is_refused_with_a_malformed_signature(self, callback, signature):
        _, body, _ = callback

        with pytest.raises(CallbackRefused):
            ADAPTER.verify_callback({"X-Acquirer-Signature": signature}, body, SECRET, now())

    def test_about_a_decline_says_that_nothing_was_authorized(self, simulator, receiver, callback):
        document = simulator.alpha.authorize("declined_stolen_card").json
        [(_, body), *_] = receiver.wait_for(document["id"])

        fact = ADAPTER.parse_callback(body)

        assert (fact.verdict, fact.nothing_authorized, fact.code, fact.network_code) == (
            Verdict.HARD_DECLINE,
            True,
            "stolen_card",
            "43",
        )


class TestABodyThatIsNoCallback:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"{}",
            b"not json",
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"id": "cbk_1", "type": "x", "data": []}',
            b'{"id": "cbk_1", "type": "x", "data": {"object": "balloon", "status": "up"}}',
            b'{"id": 7, "type": "x", "data": {}}',
            b'{"id": "c", "type": "t", "data": {"object": "capture", "status": "captured", "id": "c", "reference": "r",'
            b' "amount_minor": 1.5, "currency": "EUR"}}',
        ],
    )
    def test_is_refused(self, body):
        with pytest.raises(CallbackRefused):
            ADAPTER.parse_callback(body)
