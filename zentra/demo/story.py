"""The story: six steps over real HTTP, each checked as it is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from zentra.core.money import Money
from zentra.demo.clients import Reply
from zentra.demo.platform import Platform, Say

WAIT_SECONDS: Final = 25


class StoryFailed(AssertionError):
    """Something did not happen as it is told."""


class Story:
    """Plays the steps in order; ``play`` returns only if every one came out as told."""

    def __init__(self, *, platform: Platform, say: Say) -> None:
        self.platform = platform
        self.say = say
        self.api = platform.api()
        self.receiver = platform.receiver
        self.run = platform.provisioned.workspace_id.hex[-6:]
        self.first: dict[str, Any] = {}

    def play(self) -> None:
        """:raises StoryFailed: a step did not come out as told"""
        self._register_endpoint()
        steps: list[tuple[str, Callable[[], None]]] = [
            ("A payment is created, authorized and captured", self.charge),
            ("Incident 1: the provider accepts, and the answer is lost", self.lost_answer),
            ("A provider fault fails over; a hard decline does not", self.failover),
            ("A partial refund", self.partial_refund),
            ("Incident 2, twice: settlement with a drifted line and a wrong total", self.settlement),
            ("The trace of the first payment", self.trace),
        ]
        for number, (title, step) in enumerate(steps, start=1):
            started = time.monotonic()
            self.say(f"\n{number}. {title}")
            step()
            self.say(f"   ({time.monotonic() - started:.1f} s)")

    # -- steps ---------------------------------------------------------------------------------------------------

    def charge(self) -> None:
        reply = self.pay(125_000, "approved", reference=f"ORD_1001_{self.run}", customer_id="cus_ada")
        self.expect(reply.status == 201 and reply.data["status"] == "authorized", "201 authorized", reply)
        self.tell_payment("answered 201", reply.data)
        self.first = self.until(reply.data["id"], "captured")
        self.tell_payment("captured by a worker", self.first)
        events = self.receiver.wait_for(
            self.first["id"], "payment.created", "payment.authorized", "payment.captured", seconds=WAIT_SECONDS
        )
        for event in events:
            self.say(f"   event {event['sequence']}  {event['type']:<20} {event['id']}  signature verified")

    def lost_answer(self) -> None:
        key = f"pay_live_042_{self.run}"
        started = time.monotonic()
        first = self.pay(48_000, "accept_then_timeout", key=key)
        self.expect(first.status == 202 and first.data["status"] == "processing", "202 processing", first)
        self.say(f"   the acquirer accepted and never answered; after {time.monotonic() - started:.1f} s we say 202:")
        self.tell_payment("first answer", first.data)
        again = self.pay(48_000, "accept_then_timeout", key=key)
        self.expect(again.data["id"] == first.data["id"], "the repeat names the same payment", again)
        self.tell_payment("repeat, same key", again.data)
        known = self.until(first.data["id"], "captured")
        self.tell_payment("resolved", known)
        final = self.pay(48_000, "accept_then_timeout", key=key)
        self.expect(final.status == 201 and final.data["id"] == first.data["id"], "201 at last", final)
        attempts = self.api.get(f"payments/{first.data['id']}/trace").data["attempts"]
        authorizations = [item for item in attempts if item["operation"] == "authorize"]
        charges = self.platform.acquirers["alpha"].get(f"/v1/operations?reference={authorizations[0]['id']}")
        self.expect(len(authorizations) == 1 and len(charges["operations"]) == 1, "one attempt, one charge", final)
        self.say(
            f"   one payment, 1 attempt {authorizations[0]['id']}, 1 charge at the acquirer "
            f"{charges['operations'][0]['id']}, resolved by {authorizations[0]['resolved_by']}"
        )

    def failover(self) -> None:
        moved = self.pay(23_900, "fault_at_alpha")
        self.expect(moved.status == 201, "201 after failover", moved)
        self.tell_payment("failed over", moved.data)
        self.tell_route(moved.data["id"])
        refused = self.pay(23_900, "declined_stolen_card")
        self.expect(refused.status == 402, "402 declined", refused)
        payment = refused.json["error"]["details"]["payment"]
        self.tell_payment(f"answered 402 ({payment['decline_code']})", payment)
        attempts = self.tell_route(payment["id"])
        self.expect(len(attempts) == 1, "a hard decline asks nobody else", refused)

    def partial_refund(self) -> None:
        body = {
            "charge_reference": self.first["reference"],
            "amount_minor": 25_000,
            "reference": f"RF_1001_{self.run}",
            "reason": "one item returned",
        }
        reply = self.api.post("payments/refunds", body)
        self.expect(reply.status == 201 and reply.data["status"] == "pending", "201 pending", reply)
        self.receiver.wait_for(reply.data["id"], "refund.created", "refund.posted", seconds=WAIT_SECONDS)
        refund = self.api.get(f"payments/refunds/{reply.data['reference']}").data
        self.expect(refund["status"] == "succeeded", "the refund succeeded", reply)
        self.say(f"   {refund['id']}  {self.money(refund)}  pending → succeeded, event refund.posted verified")
        payment = self.api.get(f"payments/{self.first['id']}").data
        self.expect(payment["refunded_minor"] == 25_000, "the payment shows the refund", reply)
        self.tell_payment("after the refund", payment)

    def settlement(self) -> None:
        raise NotImplementedError

    def trace(self) -> None:
        raise NotImplementedError

    # -- telling -------------------------------------------------------------------------------------------------

    def pay(self, amount_minor: int, token: str, *, key: str = "", **more: Any) -> Reply:
        body = {
            "amount_minor": amount_minor,
            "currency": "EUR",
            "payment_token_id": f"tok_sandbox_{token}",
            **more,
        }
        return self.api.post("payments", body, key=key)

    def until(self, payment_id: str, status: str) -> dict[str, Any]:
        """The payment, once it has a status. :raises StoryFailed: it does not get it in time"""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            payment = self.api.get(f"payments/{payment_id}").data
            if payment["status"] == status:
                return payment
            time.sleep(0.1)
        raise StoryFailed(f"{payment_id} is {payment['status']}, not {status}, after {WAIT_SECONDS} s")

    def expect(self, held: bool, told: str, reply: Reply) -> None:
        if not held:
            raise StoryFailed(f"expected {told}; got {reply.status} {reply.content[:600].decode(errors='replace')}")

    def tell_payment(self, what: str, payment: dict[str, Any]) -> None:
        states = " ".join(f"{axis}={state}" for axis, state in payment["states"].items() if state != "none")
        self.say(f"   {what:<22} {payment['id']}  {self.money(payment)}  {payment['status']}  [{states}]")

    def tell_route(self, payment_id: str) -> list[dict[str, Any]]:
        trace = self.api.get(f"payments/{payment_id}/trace").data
        for decision in trace["route"]:
            candidates = ", ".join(
                f"{item['name']} (rank {item['rank']}{': ' + ', '.join(item['reasons']) if item['reasons'] else ''})"
                for item in decision["candidates"]
            )
            self.say(f"   decision {decision['id']}: {candidates}")
        attempts = [item for item in trace["attempts"] if item["operation"] == "authorize"]
        for item in attempts:
            self.say(
                f"   attempt {item['number']} at {item['provider_account']}: transport={item['transport']} "
                f"verdict={item['verdict']} code={item['code'] or '–'} → {item['status']}"
            )
        return attempts

    @staticmethod
    def money(item: dict[str, Any]) -> str:
        return str(Money(item["amount_minor"], item["currency"]))

    def _register_endpoint(self) -> None:
        reply = self.api.post("webhooks/endpoints", {"url": self.receiver.url, "description": "the demo's receiver"})
        self.expect(reply.status == 201, "the webhook endpoint is registered", reply)
        self.receiver.secret = reply.data["secret"]
