"""The adapter contract, over real HTTP against the real acquirer: what every token must look like on the two axes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from routing.providers.calls import call_provider
from routing.rules import may_fail_over
from routing.types import CODE_PENDING, Operation, RetryAdvice, Transport, Verdict
from tests.factories.routing import endpoint, provider_request
from tests.routing.conftest import LATE_SECONDS
from zentra.simulator.behaviours import BEHAVIOURS

V, T, A = Verdict, Transport, RetryAdvice
SHORT_SECONDS = 0.3

#: token -> transport, verdict, nothing authorized, advice, code, conflicts; then the verdict of a query afterwards.
AUTHORIZATIONS = {
    "approved": (T.ANSWERED, V.APPROVED, False, A.NEVER, "", (), V.APPROVED),
    "declined_insufficient_funds": (
        T.ANSWERED,
        V.SOFT_DECLINE,
        True,
        A.SAME_PROVIDER_LATER,
        "insufficient_funds",
        (),
        V.SOFT_DECLINE,
    ),
    "declined_do_not_honor": (
        T.ANSWERED,
        V.SOFT_DECLINE,
        True,
        A.SAME_PROVIDER_LATER,
        "do_not_honor",
        (),
        V.SOFT_DECLINE,
    ),
    "declined_stolen_card": (T.ANSWERED, V.HARD_DECLINE, True, A.NEVER, "stolen_card", (), V.HARD_DECLINE),
    "risk_blocked": (T.ANSWERED, V.RISK_BLOCK, True, A.NEVER, "risk_blocked", (), V.RISK_BLOCK),
    "action_required": (T.ANSWERED, V.ACTION_REQUIRED, False, A.STEP_UP, "", (), V.ACTION_REQUIRED),
    "accept_then_timeout": (
        T.SENT_NO_ANSWER,
        V.UNKNOWN,
        False,
        A.RESOLVE_FIRST,
        "provider_no_answer",
        (),
        V.APPROVED,
    ),
    "late_answer": (T.SENT_NO_ANSWER, V.UNKNOWN, False, A.RESOLVE_FIRST, "provider_no_answer", (), V.APPROVED),
    "connection_reset": (T.SENT_NO_ANSWER, V.UNKNOWN, False, A.RESOLVE_FIRST, "provider_no_answer", (), V.UNKNOWN),
    "accept_then_reset": (
        T.SENT_NO_ANSWER,
        V.UNKNOWN,
        False,
        A.RESOLVE_FIRST,
        "provider_no_answer",
        (),
        V.APPROVED,
    ),
    "server_error": (
        T.ANSWERED_UNREADABLE,
        V.UNKNOWN,
        False,
        A.RESOLVE_FIRST,
        "provider_answer_unreadable",
        (),
        V.UNKNOWN,
    ),
    "accept_then_server_error": (
        T.ANSWERED_UNREADABLE,
        V.UNKNOWN,
        False,
        A.RESOLVE_FIRST,
        "provider_answer_unreadable",
        (),
        V.APPROVED,
    ),
    "garbled_answer": (
        T.ANSWERED_UNREADABLE,
        V.UNKNOWN,
        False,
        A.RESOLVE_FIRST,
        "provider_answer_unreadable",
        (),
        V.APPROVED,
    ),
    "fault_at_alpha": (
        T.ANSWERED,
        V.PROVIDER_FAULT,
        True,
        A.OTHER_PROVIDER_NOW,
        "acquirer_unavailable",
        (),
        V.UNKNOWN,
    ),
    "wrong_amount": (T.ANSWERED, V.APPROVED, False, A.NEVER, "", ("amount_minor",), V.APPROVED),
    "partial_approval": (T.ANSWERED, V.APPROVED, False, A.NEVER, "", ("amount_minor",), V.APPROVED),
    "callback_twice": (T.ANSWERED, V.APPROVED, False, A.NEVER, "", (), V.APPROVED),
    "capture_declined": (T.ANSWERED, V.APPROVED, False, A.NEVER, "", (), V.APPROVED),
    "capture_timeout": (T.ANSWERED, V.APPROVED, False, A.NEVER, "", (), V.APPROVED),
    "refund_declined": (T.ANSWERED, V.APPROVED, False, A.NEVER, "", (), V.APPROVED),
    "refund_timeout": (T.ANSWERED, V.APPROVED, False, A.NEVER, "", (), V.APPROVED),
    "refund_pending": (T.ANSWERED, V.APPROVED, False, A.NEVER, "", (), V.APPROVED),
}
WAITING = ("accept_then_timeout", "late_answer", "capture_timeout", "refund_timeout")


@pytest.fixture
def alpha(simulator):
    return endpoint(simulator.alpha.url)


def authorize(account, card="approved", **changes):
    return call_provider(endpoint=account, request=authorization(card, **changes))


def authorization(card="approved", **changes):
    return provider_request(payment_token=f"tok_sandbox_{card}", **changes)


def authorized(account, card="approved"):
    """An approved authorization: its result and its request."""
    request = authorization(card)
    result = call_provider(endpoint=account, request=request)
    assert result.verdict is V.APPROVED
    return result, request


def captured(account, card="approved"):
    result, _ = authorized(account, card)
    capture = provider_request(Operation.CAPTURE, original_reference=result.provider_reference)
    assert call_provider(endpoint=account, request=capture).verdict is V.APPROVED
    return result


class TestEveryToken:
    def test_is_in_the_table(self):
        assert {f"tok_sandbox_{token}" for token in AUTHORIZATIONS} == set(BEHAVIOURS)

    @pytest.mark.parametrize("token", AUTHORIZATIONS)
    def test_has_its_place_on_both_axes_and_is_found_by_a_query(self, alpha, token):
        transport, verdict, nothing_authorized, advice, code, conflicts, found = AUTHORIZATIONS[token]
        deadline = SHORT_SECONDS if token in WAITING else None
        request = authorization(token, deadline_seconds=deadline)

        result = call_provider(endpoint=alpha, request=request)
        query = call_provider(endpoint=alpha, request=replace(request, deadline_seconds=None).as_query())

        assert (
            result.transport,
            result.verdict,
            result.nothing_authorized,
            result.retry_advice,
            result.code,
            result.conflicts,
        ) == (transport, verdict, nothing_authorized, advice, code, conflicts)
        assert (query.operation, query.transport, query.verdict) == (Operation.QUERY, T.ANSWERED, found)
        assert query.is_not_found is (found is V.UNKNOWN)
        assert query.is_not_found or query.own_reference == request.reference

    @pytest.mark.parametrize("token", AUTHORIZATIONS)
    def test_moves_money_at_most_once_however_often_it_is_repeated(self, simulator, alpha, token):
        request = authorization(token, deadline_seconds=SHORT_SECONDS if token in WAITING else None)

        call_provider(endpoint=alpha, request=request)
        call_provider(endpoint=alpha, request=request.as_repeat())
        call_provider(endpoint=alpha, request=request.as_repeat())

        assert len(simulator.alpha.by_reference(request.reference)) <= 1

    def test_tells_the_network_code_and_a_message_of_a_decline(self, alpha):
        result = authorize(alpha, "declined_stolen_card")

        assert (result.network_code, result.raw_status) == ("43", "declined")
        assert result.message
        assert not may_fail_over(result)

    def test_names_the_page_of_a_required_action(self, simulator, alpha):
        result = authorize(alpha, "action_required")

        assert result.next_action.type == "redirect"
        assert result.next_action.url.startswith(simulator.alpha.url)

    def test_states_amount_currency_and_both_references(self, alpha):
        request = authorization()

        result = call_provider(endpoint=alpha, request=request)

        assert (result.amount_minor, result.currency) == (12_500, "EUR")
        assert result.own_reference == request.reference
        assert result.provider_reference.startswith("psp_")

    def test_leaves_no_secret_in_what_may_be_kept(self, alpha):
        request = authorization()

        result = call_provider(endpoint=alpha, request=request)

        kept = json.dumps(dict(result.exchange)) + repr(result) + repr(alpha) + repr(request)
        assert alpha.credential not in kept
        assert request.payment_token not in kept
        assert set(result.exchange) == {"method", "path", "http_status", "answer_bytes"}

    @pytest.mark.parametrize("currency", ["JPY", "KWD", "CLP", "ISK", "UGX"])
    def test_carries_one_unit_of_currencies_with_other_exponents(self, alpha, currency):
        result = authorize(alpha, amount_minor=1, currency=currency)

        assert (result.verdict, result.amount_minor, result.currency) == (V.APPROVED, 1, currency)
        assert not result.is_conflicted


class TestAnUnknownOutcome:
    def test_is_learnt_from_a_repeat_without_a_second_operation(self, simulator, alpha):
        request = authorization("accept_then_reset")

        first = call_provider(endpoint=alpha, request=request)
        before = simulator.alpha.recorded()["authorization"]
        found = call_provider(endpoint=alpha, request=request.as_query())
        repeat = call_provider(endpoint=alpha, request=request.as_repeat())

        assert (first.transport, first.verdict) == (T.SENT_NO_ANSWER, V.UNKNOWN)
        assert (repeat.verdict, repeat.replayed) == (V.APPROVED, True)
        assert repeat.provider_reference == found.provider_reference
        assert simulator.alpha.recorded()["authorization"] == before

    def test_of_a_timeout_is_learnt_the_same_way(self, simulator, alpha):
        request = authorization("accept_then_timeout", deadline_seconds=SHORT_SECONDS)

        first = call_provider(endpoint=alpha, request=request)
        found = call_provider(endpoint=alpha, request=request.as_query())
        before = simulator.alpha.recorded()["authorization"]
        repeat = call_provider(endpoint=alpha, request=request.as_repeat())

        assert (first.verdict, found.verdict, repeat.verdict) == (V.UNKNOWN, V.APPROVED, V.APPROVED)
        assert repeat.provider_reference == found.provider_reference
        assert simulator.alpha.recorded()["authorization"] == before

    def test_stays_unknown_while_the_repeat_cannot_be_sent(self, simulator, alpha):
        request = authorization("accept_then_reset")
        call_provider(endpoint=alpha, request=request)
        nowhere = replace(alpha, base_url="http://127.0.0.1:9")

        for follow_up in (request.as_repeat(), request.as_query()):
            result = call_provider(endpoint=nowhere, request=follow_up)

            assert (result.transport, result.verdict) == (T.NOT_SENT, V.UNKNOWN)
            assert not may_fail_over(result)

    def test_of_a_fault_is_believed_when_it_is_the_first_answer(self, alpha):
        request = authorization("fault_at_alpha")
        call_provider(endpoint=alpha, request=request)

        repeat = call_provider(endpoint=alpha, request=request.as_repeat())

        assert (repeat.verdict, repeat.nothing_authorized, repeat.replayed) == (V.PROVIDER_FAULT, True, True)

    def test_is_voided_by_our_own_reference(self, simulator, alpha):
        request = authorization("accept_then_reset")
        call_provider(endpoint=alpha, request=request)
        void = provider_request(Operation.VOID, original_own_reference=request.reference)

        result = call_provider(endpoint=alpha, request=void)
        afterwards = call_provider(endpoint=alpha, request=request.as_query())

        assert result.verdict is V.APPROVED
        assert (afterwards.code, afterwards.nothing_authorized) == ("authorization_voided", True)

    def test_that_ran_twice_because_the_key_was_forgotten_is_reported(self, simulator, alpha):
        request = authorization("approved")
        call_provider(endpoint=alpha, request=request)
        simulator.alpha.control("forget_keys")
        call_provider(endpoint=alpha, request=request.as_repeat())

        found = call_provider(endpoint=alpha, request=request.as_query())

        assert len(simulator.alpha.by_reference(request.reference)) == 2
        assert found.conflicts == ("duplicate",)

    def test_ends_as_approved_when_the_deadline_is_longer_than_the_delay(self, alpha):
        result = authorize(alpha, "late_answer", deadline_seconds=LATE_SECONDS + 5)

        assert result.verdict is V.APPROVED
        assert result.elapsed_ms >= LATE_SECONDS * 1000


class TestAnAnswerThatDiffers:
    def test_in_the_amount_is_conflicted_and_still_approved(self, alpha):
        result = authorize(alpha, "wrong_amount")

        assert (result.verdict, result.conflicts, result.amount_minor) == (V.APPROVED, ("amount_minor",), 12_499)
        assert not result.partial

    def test_by_an_open_partial_approval_is_conflicted_unless_allowed(self, alpha):
        refused = authorize(alpha, "partial_approval")
        allowed = authorize(alpha, "partial_approval", allow_partial=True)

        assert (refused.partial, refused.conflicts) == (True, ("amount_minor",))
        assert (allowed.partial, allowed.conflicts, allowed.amount_minor) == (True, (), 6_250)

    def test_is_conflicted_in_a_query_too(self, alpha):
        request = authorization("wrong_amount")
        call_provider(endpoint=alpha, request=request)

        found = call_provider(endpoint=alpha, request=request.as_query())

        assert found.conflicts == ("amount_minor",)

    def test_even_a_lower_amount_without_the_word_partial_is_not_allowed_by_allow_partial(self, alpha):
        assert authorize(alpha, "wrong_amount", allow_partial=True).conflicts == ("amount_minor",)


class TestACapture:
    def test_is_approved_and_found_again(self, alpha):
        result, _ = authorized(alpha)
        capture = provider_request(Operation.CAPTURE, original_reference=result.provider_reference, amount_minor=5_000)

        done = call_provider(endpoint=alpha, request=replace(capture, final=False))
        found = call_provider(endpoint=alpha, request=capture.as_query())

        assert (done.verdict, done.amount_minor, done.raw_status) == (V.APPROVED, 5_000, "captured")
        assert (found.verdict, found.provider_reference) == (V.APPROVED, done.provider_reference)

    def test_is_declined_where_the_token_says_so(self, alpha):
        result, _ = authorized(alpha, "capture_declined")

        declined = call_provider(
            endpoint=alpha,
            request=provider_request(Operation.CAPTURE, original_reference=result.provider_reference),
        )

        assert (declined.verdict, declined.code, declined.nothing_authorized) == (
            V.HARD_DECLINE,
            "capture_refused",
            True,
        )

    def test_without_an_answer_is_unknown_and_found(self, alpha):
        result, _ = authorized(alpha, "capture_timeout")
        capture = provider_request(
            Operation.CAPTURE, original_reference=result.provider_reference, deadline_seconds=SHORT_SECONDS
        )

        silent = call_provider(endpoint=alpha, request=capture)
        found = call_provider(endpoint=alpha, request=capture.as_query())

        assert (silent.transport, silent.verdict) == (T.SENT_NO_ANSWER, V.UNKNOWN)
        assert found.verdict is V.APPROVED

    @pytest.mark.parametrize("amount_minor", [12_501, 2**53 - 1])
    def test_of_too_much_is_an_invalid_request(self, alpha, amount_minor):
        result, _ = authorized(alpha)
        capture = provider_request(
            Operation.CAPTURE, original_reference=result.provider_reference, amount_minor=amount_minor
        )

        refused = call_provider(endpoint=alpha, request=capture)

        assert (refused.verdict, refused.nothing_authorized) == (V.INVALID_REQUEST, True)
        assert refused.code == "capture_exceeds_authorized"

    def test_of_nothing_known_is_an_invalid_request(self, alpha):
        refused = call_provider(
            endpoint=alpha, request=provider_request(Operation.CAPTURE, original_reference="psp_unknown")
        )

        assert (refused.verdict, refused.code) == (V.INVALID_REQUEST, "operation_not_found")


class TestAVoid:
    def test_is_approved_and_found_again(self, alpha):
        result, _ = authorized(alpha)
        void = provider_request(Operation.VOID, original_reference=result.provider_reference)

        done = call_provider(endpoint=alpha, request=void)
        found = call_provider(endpoint=alpha, request=void.as_query())

        assert (done.verdict, found.verdict) == (V.APPROVED, V.APPROVED)
        assert not done.is_conflicted

    def test_of_what_is_void_already_is_approved_again(self, alpha):
        result, _ = authorized(alpha)
        for _ in range(2):
            void = provider_request(Operation.VOID, original_reference=result.provider_reference)

            done = call_provider(endpoint=alpha, request=void)

            assert (done.verdict, done.conflicts) == (V.APPROVED, ())

    def test_of_captured_money_is_refused(self, alpha):
        result = captured(alpha)

        refused = call_provider(
            endpoint=alpha, request=provider_request(Operation.VOID, original_reference=result.provider_reference)
        )

        assert (refused.verdict, refused.code) == (V.INVALID_REQUEST, "authorization_captured")


class TestARefund:
    def refund(self, authorization_result, **changes):
        return provider_request(Operation.REFUND, original_reference=authorization_result.provider_reference, **changes)

    def test_is_approved_and_found_again(self, alpha):
        refund = self.refund(captured(alpha), amount_minor=500)

        done = call_provider(endpoint=alpha, request=refund)
        found = call_provider(endpoint=alpha, request=refund.as_query())

        assert (done.verdict, done.amount_minor, found.verdict) == (V.APPROVED, 500, V.APPROVED)

    def test_is_declined_where_the_token_says_so(self, alpha):
        declined = call_provider(endpoint=alpha, request=self.refund(captured(alpha, "refund_declined")))

        assert (declined.verdict, declined.code) == (V.HARD_DECLINE, "refund_refused")

    def test_without_an_answer_is_unknown_and_found(self, alpha):
        refund = self.refund(captured(alpha, "refund_timeout"), deadline_seconds=SHORT_SECONDS)

        silent = call_provider(endpoint=alpha, request=refund)
        found = call_provider(endpoint=alpha, request=refund.as_query())

        assert (silent.verdict, found.verdict) == (V.UNKNOWN, V.APPROVED)

    def test_that_is_pending_is_unknown_until_it_ends(self, simulator, alpha):
        refund = self.refund(captured(alpha, "refund_pending"))

        pending = call_provider(endpoint=alpha, request=refund)
        simulator.alpha.control("refunds", {"id": pending.provider_reference, "status": "failed"})
        ended = call_provider(endpoint=alpha, request=refund.as_query())

        assert (pending.transport, pending.verdict, pending.code) == (T.ANSWERED, V.UNKNOWN, CODE_PENDING)
        assert (ended.verdict, ended.code, ended.nothing_authorized) == (V.HARD_DECLINE, "refund_failed", True)

    def test_of_more_than_is_left_is_an_invalid_request(self, alpha):
        refused = call_provider(endpoint=alpha, request=self.refund(captured(alpha), amount_minor=12_501))

        assert (refused.verdict, refused.code) == (V.INVALID_REQUEST, "refund_exceeds_captured")


class TestOurOwnMistake:
    def test_of_a_wrong_credential_is_configuration_and_says_that_nothing_happened(self, simulator, alpha):
        request = authorization()

        result = call_provider(endpoint=replace(alpha, credential="wrong"), request=request)

        assert (result.verdict, result.nothing_authorized, result.code) == (V.CONFIG, True, "unauthorized")
        assert simulator.alpha.by_reference(request.reference) == []

    def test_of_a_wrong_credential_proves_nothing_about_an_earlier_call(self, simulator, alpha):
        request = authorization("accept_then_reset")
        call_provider(endpoint=alpha, request=request)

        result = call_provider(endpoint=replace(alpha, credential="wrong"), request=request.as_repeat())

        assert (result.verdict, result.nothing_authorized) == (V.UNKNOWN, False)

    def test_of_an_unknown_token_is_an_invalid_request(self, alpha):
        result = authorize(alpha, "of_no_such_kind")

        assert (result.verdict, result.code) == (V.INVALID_REQUEST, "unknown_payment_token")
        assert not may_fail_over(result)

    def test_of_a_key_used_for_something_else_is_unknown(self, alpha):
        request = authorization()
        call_provider(endpoint=alpha, request=request)

        result = call_provider(endpoint=alpha, request=replace(request, amount_minor=1))

        assert (result.verdict, result.code) == (V.UNKNOWN, "idempotency_key_reused")
        assert not may_fail_over(result)
