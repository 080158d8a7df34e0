"""The story: six steps over real HTTP, each checked as it is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from zentra.core.money import Money
from zentra.demo.clients import AcquirerClient, AdminBrowser, Reply
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
        self.lost: dict[str, Any] = {}

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
        known = self.lost = self.until(first.data["id"], "captured")
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
        self.tell_payment("failed over", self.until(moved.data["id"], "captured"))
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
        alpha, beta = self.platform.acquirers["alpha"], self.platform.acquirers["beta"]
        drifting = self._capture_reference(self.lost)
        drifted = self._import("alpha", alpha, [{"type": "wrong_amount", "reference": drifting, "delta_minor": -500}])
        self.expect_batch(drifted, "partially_matched")
        wrong_total = self._import("beta", beta, [{"type": "declared_total", "delta_minor": -1_000}])
        self.expect_batch(wrong_total, "control_failed")
        operator = self.platform.operator()
        operator.accept_batch(wrong_total["id"], "The acquirer confirmed the lower payout by phone.")
        for batch, expected in ((drifted, "amount_differs"), (wrong_total, "control_total")):
            self._work_case(operator, batch["id"], expected)
        self._books_are_clean()

    def trace(self) -> None:
        trace = self.api.get(f"payments/{self.first['id']}/trace").data
        self.tell_payment("payment", trace["payment"])
        for step in trace["runtime"]:
            self.say(f"   runtime   {step['at']}  {step['stage']}")
        self.tell_route(self.first["id"])
        for item in trace["attempts"]:
            self.say(
                f"   attempt   {item['operation']:<10} {item['provider_account']:<6} {item['status']:<9} "
                f"provider reference {item['provider_reference']}"
            )
        for line in trace["ledger"]:
            self.say(
                f"   ledger    {line['side']:<6} {line['account']:<22} {line['amount_minor']:>+9} mu  "
                f"{line['kind']:<22} {line['journal_id']}"
            )
        for event in trace["events"]:
            self.say(f"   event     {event['sequence']}  {event['type']:<20} {_deliveries(event)}")
        for line in trace["settlement"]["lines"]:
            self.say(
                f"   settled   {line['line_type']:<6} {line['gross_minor']:>+9} mu  {line['verdict']}  "
                f"batch {line['batch_id']} ({line['file']} row {line['row']})  {line['journal_id']}"
            )
        hashes = [record["content_hash"] for record in trace["evidence"]]
        self.say(f"   evidence  {len(hashes)} records, the last one {hashes[-1][:16]}…")
        states = trace["payment"]["states"]
        if states["settlement"] != "settled" or states["refund"] != "partially_refunded":
            raise StoryFailed(f"the first payment ends as {states}")

    # -- settlement ----------------------------------------------------------------------------------------------

    def _capture_reference(self, payment: dict[str, Any]) -> str:
        attempts = self.api.get(f"payments/{payment['id']}/trace").data["attempts"]
        return next(item["id"] for item in attempts if item["operation"] == "capture")

    def _import(self, name: str, acquirer: AcquirerClient, anomalies: list[dict[str, Any]]) -> dict[str, Any]:
        """Let the acquirer close a batch, upload its file, and wait until it has been matched."""
        (made,) = acquirer.control("settlement", currency="EUR", anomalies=anomalies)["batches"]
        content = acquirer.file(made["batch_id"])
        account = self.platform.provisioned.accounts[name]
        reply = self.api.upload("settlement/files", content, provider_account=account, name=f"{made['batch_id']}.csv")
        self.expect(reply.status == 201, "the file is imported", reply)
        (batch_id,) = reply.data["batch_ids"]
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            batch = self.api.get(f"settlement/batches/{batch_id}").data
            if batch["status"] not in ("received", "matching"):
                break
            if time.monotonic() > deadline:
                raise StoryFailed(f"{batch_id} is still {batch['status']} after {WAIT_SECONDS} s")
            time.sleep(0.2)
        declared, computed = batch["declared"]["net_minor"], batch["computed"]["net_minor"]
        self.say(
            f"   file {made['batch_id']}.csv from {name}: batch {batch_id}  {batch['status']}  "
            f"{batch['computed']['count']} lines, {batch['matched_count']} matched, {batch['drifted_count']} drifted, "
            f"net {computed} (declared {declared})"
        )
        return batch

    def expect_batch(self, batch: dict[str, Any], status: str) -> None:
        if batch["status"] != status:
            raise StoryFailed(f"batch {batch['id']} is {batch['status']}, not {status}")

    def _work_case(self, operator: AdminBrowser, batch_id: str, drift_class: str) -> None:
        """An operator takes the batch's case in the admin and closes it with a journal."""
        case = self._case_of(batch_id, drift_class)
        self.say(
            f"   case {case['id']}  {case['class']}  expected {case['expected_minor']}, got {case['actual_minor']}, "
            f"suspense {case['suspense_minor']}"
        )
        operator.take_case(case["id"])
        operator.close_case(case["id"], "written_off", "Agreed with the acquirer: the difference is written off.")
        closed = self._case_of(batch_id, drift_class)
        if closed["status"] != "closed" or not closed["closing_journal_id"]:
            raise StoryFailed(f"case {case['id']} is {closed['status']}")
        journal = self.api.get(f"ledger/journals/{closed['closing_journal_id']}").data
        lines = ", ".join(f"{entry['account_code']} {entry['amount_minor']:+}" for entry in journal["entries"])
        self.say(
            f"        batch {batch_id}  captured {closed['expected_minor']}  ledger {closed['closing_journal_id']} "
            f"({lines})  owner {self.platform.provisioned.username}  closeout {closed['resolution']}"
        )

    def _case_of(self, batch_id: str, drift_class: str) -> dict[str, Any]:
        cases = self.api.get(f"settlement/batches/{batch_id}").data["cases"]
        return next(case for case in cases if case["class"] == drift_class)

    def _books_are_clean(self) -> None:
        trial = self.api.get("ledger/trial-balance").data
        left = sum(row["balance_minor"] for row in trial["accounts"])
        suspense = sum(row["balance_minor"] for row in trial["accounts"] if row["code"] == "2900")
        if left or suspense:
            raise StoryFailed(f"the trial balance leaves {left}, suspense holds {suspense}")
        self.say(f"   trial balance {left}, suspense account 2900 {suspense}, over {len(trial['accounts'])} accounts")

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


def _deliveries(event: dict[str, Any]) -> str:
    return ", ".join(f"{item['state']} after {item['attempts']} attempt(s)" for item in event["deliveries"])
