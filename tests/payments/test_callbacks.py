from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

from payments.models import Attempt, Payment, ProviderCallback
from routing.models import ProviderAccount
from tests.factories.shop import Reply, Shop
from tests.factories.tenancy import make_tenant


def send(shop: Shop, body: dict[str, Any], *, secret: str = "cbk_secret_alpha", age: int = 0) -> Reply:
    """Post a callback as the acquirer alpha would."""
    account = ProviderAccount.objects.get(workspace_id=shop.workspace_id, name="alpha")
    raw, stamp = json.dumps(body).encode(), int(time.time()) - age
    signature = hmac.new(secret.encode(), f"{stamp}.".encode() + raw, hashlib.sha256).hexdigest()
    headers = {"X-Acquirer-Signature": f"t={stamp},v1={signature}", "Authorization": ""}
    return shop.call("POST", f"callbacks/{account.public_id}", raw, **headers)


def approval(attempt: Attempt, **changes: Any) -> dict[str, Any]:
    data = {
        "id": "psp_1",
        "object": "authorization",
        "reference": attempt.reference,
        "status": "authorized",
        "amount_minor": attempt.amount_minor,
        "currency": attempt.currency,
        **changes,
    }
    return {
        "id": "cbk_1",
        "type": f"authorization.{data['status']}",
        "created_at": "2026-01-01T00:00:00Z",
        "data": data,
    }


def unknown_attempt(shop: Shop) -> Attempt:
    shop.pay(10_000, "accept_then_timeout")
    return Attempt.objects.get(workspace_id=shop.workspace_id)


class TestReceiveCallback:
    def test_it_resolves_an_unknown_outcome(self, shop: Shop):
        attempt = unknown_attempt(shop)

        reply = send(shop, approval(attempt))

        assert reply.status == 200
        attempt.refresh_from_db()
        assert (attempt.state, attempt.resolved_by) == ("approved", "callback")
        assert Payment.objects.get(workspace_id=shop.workspace_id).state == "authorized"

    def test_a_second_copy_is_counted_and_changes_nothing(self, shop: Shop):
        attempt = unknown_attempt(shop)
        body = approval(attempt)

        replies = [send(shop, body) for _ in range(3)]

        assert [reply.status for reply in replies] == [200, 200, 200]
        assert ProviderCallback.objects.get(workspace_id=shop.workspace_id).copies == 3
        assert Payment.objects.get(workspace_id=shop.workspace_id).authorized_minor == 10_000

    def test_a_wrong_signature_is_refused_and_nothing_is_kept(self, shop: Shop):
        attempt = unknown_attempt(shop)

        for reply in (send(shop, approval(attempt), secret="another"), send(shop, approval(attempt), age=3600)):
            assert (reply.status, reply.code) == (401, "callback_signature_invalid")

        assert not ProviderCallback.objects.filter(workspace_id=shop.workspace_id).exists()
        attempt.refresh_from_db()
        assert attempt.state == "unknown"

    def test_another_amount_than_asked_is_a_conflict_and_no_approval(self, shop: Shop):
        attempt = unknown_attempt(shop)

        send(shop, approval(attempt, amount_minor=9_999))

        attempt.refresh_from_db()
        assert (attempt.state, attempt.conflicts) == ("conflicted", ["amount_minor"])
        assert Payment.objects.get(workspace_id=shop.workspace_id).state == "processing"

    def test_a_late_decline_changes_no_decided_attempt(self, shop: Shop):
        shop.pay(10_000)
        attempt = Attempt.objects.get(workspace_id=shop.workspace_id)
        decline = {
            "code": "stolen_card",
            "category": "hard",
            "network_code": "43",
            "message": "",
            "retry_advice": "never",
        }

        send(shop, approval(attempt, status="declined", decline=decline))

        attempt.refresh_from_db()
        assert attempt.state == "approved"
        assert ProviderCallback.objects.get(workspace_id=shop.workspace_id).outcome == "nothing_to_do"

    def test_an_account_that_does_not_exist_is_not_found(self, shop: Shop):
        other = Shop(make_tenant())

        reply = other.call("POST", "callbacks/pac_00000000000000000000000000", b"{}")

        assert reply.status == 404
