"""The reference model of the books: what each event of a payment's life books, and what must hold after every one.

A `Books` state machine draws random histories (partial captures, refunds, disputes, wrong, duplicate and unknown lines,
short and over deposits, payouts) and keeps the expected state beside them. The ledger underneath is exchangeable: a
dictionary for the pure test, the dictionary and PostgreSQL side by side for the other one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from ledger.types import AccountKey

CURRENCIES = ("USD", "EUR", "JPY")
MERCHANTS = ("A", "B")
PROVIDERS = ("alpha", "beta")
MEMO = {"9010", "9020", "9030"}
BANK = AccountKey("1010", "bank", "main")

Line = tuple[AccountKey, int]


def merchant(code: str, owner: str) -> AccountKey:
    return AccountKey(code, "merchant", owner)


def provider(code: str, owner: str, dimension: str = "") -> AccountKey:
    return AccountKey(code, "provider", owner, dimension)


class ModelLedger:
    """A ledger of a dictionary. It refuses what does not balance, memo accounts apart."""

    def __init__(self) -> None:
        self.balances: dict[tuple[AccountKey, str], int] = defaultdict(int)
        self.journals: list[tuple[str, str, tuple[Line, ...]]] = []

    def post(self, kind: str, currency: str, *lines: Line) -> None:
        booked = tuple(line for line in lines if line[1] != 0)
        if not booked:
            return
        for memo in (False, True):
            left = sum(amount for account, amount in booked if (account.code in MEMO) is memo)
            assert left == 0, f"{kind} leaves {left}: {booked}"
        for account, amount in booked:
            self.balances[account, currency] += amount
        self.journals.append((kind, currency, booked))

    def balance(self, code: str, currency: str, owner: str | None = None) -> int:
        return sum(
            amount
            for (account, booked_currency), amount in self.balances.items()
            if account.code == code and booked_currency == currency and owner in (None, account.owner_id)
        )


@dataclass
class ExpectedLine:
    """What a provider's file still has to say about a payment."""

    kind: str
    amount: int
    net_to_merchant: int = 0
    fee: int = 0
    settled: bool = False


@dataclass
class ExpectedPayment:
    merchant: str
    provider: str
    currency: str
    held: int
    captured: int = 0
    pending: int = 0
    refunded: int = 0
    disputed: int = 0
    open_dispute: int = 0
    lines: list[ExpectedLine] = field(default_factory=list)

    @property
    def room(self) -> int:
        """What may still be refunded or disputed."""
        return self.captured - self.refunded - self.disputed


@dataclass
class ExpectedBatch:
    id: str
    provider: str
    currency: str
    net: int
    banked: bool = False


@dataclass
class ExpectedCase:
    id: str
    provider: str
    currency: str
    amount: int  # debit positive: we are short


class Books(RuleBasedStateMachine):
    payments = Bundle("payments")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = self.make_ledger()
        self.all_payments: list[ExpectedPayment] = []
        self.batches: list[ExpectedBatch] = []
        self.cases: list[ExpectedCase] = []
        self.case_count = 0
        self.payouts: list[tuple[str, str, int]] = []

    def make_ledger(self) -> ModelLedger:
        return ModelLedger()

    # What merchants owe and are owed -------------------------------------------------------------------------------

    def take(self, kind: str, payment: ExpectedPayment, amount: int, credited: AccountKey) -> None:
        """Debit the merchant: this payment's pending money, then available money, then what the merchant owes us."""
        owner, currency = payment.merchant, payment.currency
        from_pending = min(amount, payment.pending)
        from_available = min(amount - from_pending, -self.ledger.balance("2020", currency, owner))
        payment.pending -= from_pending
        self.ledger.post(
            kind,
            currency,
            (merchant("2010", owner), from_pending),
            (merchant("2020", owner), from_available),
            (merchant("1200", owner), amount - from_pending - from_available),
            (credited, -amount),
        )

    def give(self, kind: str, owner: str, currency: str, amount: int, debited: AccountKey) -> None:
        """Credit the merchant's available money, after what the merchant owes us."""
        repaid = min(self.ledger.balance("1200", currency, owner), amount)
        self.ledger.post(
            kind,
            currency,
            (debited, amount),
            (merchant("1200", owner), -repaid),
            (merchant("2020", owner), repaid - amount),
        )

    def suspend(self, provider_id: str, currency: str, amount: int) -> AccountKey:
        """Open a case; the account that takes ``amount`` (debit positive) until it is closed."""
        self.case_count += 1
        case = ExpectedCase(f"case-{self.case_count}", provider_id, currency, amount)
        if amount:
            self.cases.append(case)
        return provider("2900", provider_id, case.id)

    # The life of a payment -----------------------------------------------------------------------------------------

    @rule(
        target=payments,
        currency=st.sampled_from(CURRENCIES),
        amount=st.integers(1, 10_000),
        owner=st.sampled_from(MERCHANTS),
        provider_id=st.sampled_from(PROVIDERS),
    )
    def authorise(self, currency: str, amount: int, owner: str, provider_id: str) -> ExpectedPayment:
        self.ledger.post("authorise", currency, (merchant("9010", owner), amount), (merchant("9020", owner), -amount))
        payment = ExpectedPayment(owner, provider_id, currency, held=amount)
        self.all_payments.append(payment)
        return payment

    @rule(payment=payments, percent=st.integers(1, 100), final=st.booleans())
    def capture(self, payment: ExpectedPayment, percent: int, final: bool) -> None:
        if payment.held <= 0:
            return
        owner, amount = payment.merchant, max(1, payment.held * percent // 100)
        released = payment.held - amount if final else 0
        fee = min(amount, amount * 29 // 1000 + 1)
        self.ledger.post(
            "capture",
            payment.currency,
            (merchant("9020", owner), amount + released),
            (merchant("9030", owner), -amount),
            (merchant("9010", owner), -released),
            (provider("1100", payment.provider), amount),
            (merchant("2010", owner), -amount),
            (merchant("2010", owner), fee),
            (AccountKey("4010"), -fee),
        )
        payment.held -= amount + released
        payment.captured += amount
        payment.pending += amount - fee
        payment.lines.append(ExpectedLine("sale", amount, net_to_merchant=amount - fee))

    @rule(payment=payments)
    def void(self, payment: ExpectedPayment) -> None:
        owner, amount = payment.merchant, payment.held
        self.ledger.post(
            "void", payment.currency, (merchant("9020", owner), amount), (merchant("9010", owner), -amount)
        )
        payment.held = 0

    @rule(payment=payments, percent=st.integers(1, 100))
    def refund(self, payment: ExpectedPayment, percent: int) -> None:
        if payment.room <= 0 or payment.open_dispute:
            return
        amount = max(1, payment.room * percent // 100)
        self.take("refund", payment, amount, provider("2050", payment.provider))
        payment.refunded += amount
        payment.lines.append(ExpectedLine("refund", amount))

    @rule(payment=payments)
    def reverse_before_clearing(self, payment: ExpectedPayment) -> None:
        """A whole capture is undone before any file names it: no line will ever come for it."""
        open_sales = [line for line in payment.lines if line.kind == "sale" and not line.settled]
        if not open_sales or payment.open_dispute or payment.room < open_sales[0].amount:
            return
        line, owner = open_sales[0], payment.merchant
        self.take("refund", payment, line.amount, provider("2050", payment.provider))
        self.ledger.post(
            "reverse_before_clearing",
            payment.currency,
            (provider("2050", payment.provider), line.amount),
            (provider("1100", payment.provider), -line.amount),
            (merchant("9030", owner), line.amount),
            (merchant("9010", owner), -line.amount),
        )
        payment.refunded += line.amount
        payment.lines.remove(line)

    @rule(payment=payments, percent=st.integers(1, 100))
    def open_dispute(self, payment: ExpectedPayment, percent: int) -> None:
        if payment.room <= 0 or payment.open_dispute:
            return
        amount = max(1, payment.room * percent // 100)
        self.ledger.post(
            "dispute_opened",
            payment.currency,
            (provider("1130", payment.provider), amount),
            (provider("2055", payment.provider), -amount),
        )
        self.take("dispute_held", payment, amount, merchant("2030", payment.merchant))
        payment.open_dispute = amount
        payment.disputed += amount
        payment.lines.append(ExpectedLine("chargeback", amount, fee=15))

    @rule(payment=payments, ending=st.sampled_from(("won", "lost by merchant", "lost by platform")))
    def close_dispute(self, payment: ExpectedPayment, ending: str) -> None:
        amount, currency, held = payment.open_dispute, payment.currency, merchant("2030", payment.merchant)
        contested = provider("1130", payment.provider)
        if not amount:
            return
        payment.open_dispute = 0
        if ending == "lost by merchant":
            self.ledger.post("dispute_lost", currency, (held, amount), (contested, -amount))
            return
        if ending == "won":
            self.ledger.post(
                "dispute_won", currency, (provider("2055", payment.provider), amount), (contested, -amount)
            )
            payment.disputed -= amount
            payment.lines.append(ExpectedLine("reinstatement", amount))
        else:
            self.ledger.post("dispute_lost_by_platform", currency, (AccountKey("5020"), amount), (contested, -amount))
        self.give("dispute_released", payment.merchant, currency, amount, held)

    # Settlement ----------------------------------------------------------------------------------------------------

    @rule(
        provider_id=st.sampled_from(PROVIDERS),
        currency=st.sampled_from(CURRENCIES),
        difference=st.integers(-5, 5),
        unknown=st.integers(0, 20),
        duplicate=st.booleans(),
    )
    def settle(self, provider_id: str, currency: str, difference: int, unknown: int, duplicate: bool) -> None:
        """A batch with every open line; its first sale may be wrong by ``difference`` and repeated."""
        transit = provider("1110", provider_id, f"batch-{len(self.batches) + 1}")
        before = self.ledger.balances[transit, currency]
        lines = [
            (payment, line)
            for payment in self.all_payments
            if payment.provider == provider_id and payment.currency == currency
            for line in payment.lines
            if not line.settled
        ]
        for payment, line in lines:
            line.settled = True
            if line.kind == "sale":
                self.settle_sale(payment, line, transit, max(1 - line.amount, difference))
                if duplicate:
                    self.settle_stranger("duplicate_line", provider_id, currency, transit, line.amount)
                difference, duplicate = 0, False
            else:
                self.settle_other(payment, line, transit)
        if unknown:
            self.settle_stranger("unknown_line", provider_id, currency, transit, unknown)
        if lines or unknown:
            net = self.ledger.balances[transit, currency] - before
            self.batches.append(ExpectedBatch(transit.dimension, provider_id, currency, net))

    def settle_sale(self, payment: ExpectedPayment, line: ExpectedLine, transit: AccountKey, difference: int) -> None:
        owner, currency, gross = payment.merchant, payment.currency, line.amount + difference
        cost = gross * 18 // 1000
        self.ledger.post(
            "sale_line",
            currency,
            (transit, gross - cost),
            (AccountKey("5010"), cost),
            (provider("1100", payment.provider), -line.amount),
            (self.suspend(payment.provider, currency, -difference), -difference),
            (merchant("9030", owner), line.amount),
            (merchant("9010", owner), -line.amount),
        )
        released = min(line.net_to_merchant, payment.pending)  # earlier refunds may have used it
        payment.pending -= released
        self.give("release", owner, currency, released, merchant("2010", owner))

    def settle_other(self, payment: ExpectedPayment, line: ExpectedLine, transit: AccountKey) -> None:
        refunds, disputes = provider("2050", payment.provider), provider("2055", payment.provider)
        booked: dict[str, tuple[Line, ...]] = {
            "refund": ((refunds, line.amount), (transit, -line.amount)),
            "chargeback": (
                (disputes, line.amount),
                (AccountKey("5030"), line.fee),
                (transit, -line.amount - line.fee),
            ),
            "reinstatement": ((transit, line.amount), (disputes, -line.amount)),
        }
        self.ledger.post(f"{line.kind}_line", payment.currency, *booked[line.kind])

    def settle_stranger(self, kind: str, provider_id: str, currency: str, transit: AccountKey, amount: int) -> None:
        """Money that belongs to nothing we know waits in suspense."""
        self.ledger.post(kind, currency, (transit, amount), (self.suspend(provider_id, currency, -amount), -amount))

    @precondition(lambda self: any(not batch.banked for batch in self.batches))
    @rule(over=st.integers(-7, 7), data=st.data())
    def deposit(self, over: int, data: Any) -> None:
        batch = data.draw(st.sampled_from([batch for batch in self.batches if not batch.banked]))
        self.bank(batch, over)

    def bank(self, batch: ExpectedBatch, over: int) -> None:
        self.ledger.post(
            "deposit",
            batch.currency,
            (BANK, batch.net + over),
            (provider("1110", batch.provider, batch.id), -batch.net),
            (self.suspend(batch.provider, batch.currency, -over), -over),
        )
        batch.banked = True

    @precondition(lambda self: self.cases)
    @rule(by_bank=st.booleans(), data=st.data())
    def close_case(self, by_bank: bool, data: Any) -> None:
        self.clear(self.cases[data.draw(st.integers(0, len(self.cases) - 1))], by_bank)

    def clear(self, case: ExpectedCase, by_bank: bool) -> None:
        self.cases.remove(case)
        difference = AccountKey("5090") if case.amount > 0 else AccountKey("4090")
        other = BANK if by_bank else difference
        suspended = provider("2900", case.provider, case.id)
        self.ledger.post("case_closed", case.currency, (other, case.amount), (suspended, -case.amount))

    # Payouts -------------------------------------------------------------------------------------------------------

    @rule(owner=st.sampled_from(MERCHANTS), currency=st.sampled_from(CURRENCIES), percent=st.integers(1, 100))
    def pay_out(self, owner: str, currency: str, percent: int) -> None:
        amount = -self.ledger.balance("2020", currency, owner) * percent // 100
        if amount <= 0:
            return
        self.ledger.post("payout", currency, (merchant("2020", owner), amount), (merchant("2040", owner), -amount))
        self.payouts.append((owner, currency, amount))

    @precondition(lambda self: self.payouts)
    @rule(paid=st.booleans(), data=st.data())
    def finish_payout(self, paid: bool, data: Any) -> None:
        self.end_payout(data.draw(st.integers(0, len(self.payouts) - 1)), paid)

    def end_payout(self, index: int, paid: bool) -> None:
        owner, currency, amount = self.payouts.pop(index)
        if paid:
            self.ledger.post("payout_paid", currency, (merchant("2040", owner), amount), (BANK, -amount))
        else:
            self.give("payout_failed", owner, currency, amount, merchant("2040", owner))

    # What holds after every step -----------------------------------------------------------------------------------

    @invariant()
    def both_groups_net_to_zero(self) -> None:
        for currency in CURRENCIES:
            for memo in (False, True):
                left = sum(
                    amount
                    for (account, booked), amount in self.ledger.balances.items()
                    if booked == currency and (account.code in MEMO) is memo
                )
                assert left == 0

    @invariant()
    def memo_accounts_say_what_is_held_and_what_waits_for_settlement(self) -> None:
        for currency in CURRENCIES:
            held = sum(payment.held for payment in self.all_payments if payment.currency == currency)
            waiting = self.open_lines("sale", currency)
            assert -self.ledger.balance("9020", currency) == held
            assert -self.ledger.balance("9030", currency) == waiting
            assert self.ledger.balance("9010", currency) == held + waiting

    @invariant()
    def clearing_accounts_are_explained(self) -> None:
        book = self.ledger.balance
        for currency in CURRENCIES:
            disputed = sum(payment.open_dispute for payment in self.all_payments if payment.currency == currency)
            batches = [batch.net for batch in self.batches if batch.currency == currency and not batch.banked]
            assert book("1100", currency) == self.open_lines("sale", currency)
            assert -book("2050", currency) == self.open_lines("refund", currency)
            assert book("1110", currency) == sum(batches)
            assert book("2900", currency) == sum(case.amount for case in self.cases if case.currency == currency)
            assert -book("2040", currency) == sum(payout[2] for payout in self.payouts if payout[1] == currency)
            assert book("1130", currency) == disputed == -book("2030", currency)

    @invariant()
    def merchants_are_owed_what_their_payments_say(self) -> None:
        book = self.ledger.balance
        for currency in CURRENCIES:
            for owner in MERCHANTS:
                mine = [item for item in self.all_payments if (item.merchant, item.currency) == (owner, currency)]
                assert -book("2010", currency, owner) == sum(payment.pending for payment in mine)
                for code in ("2010", "2020", "2030"):
                    assert book(code, currency, owner) <= 0
                assert book("1200", currency, owner) >= 0

    def open_lines(self, kind: str, currency: str) -> int:
        return sum(
            line.amount
            for payment in self.all_payments
            if payment.currency == currency
            for line in payment.lines
            if line.kind == kind and not line.settled
        )

    def teardown(self) -> None:
        """When everything has come to its end, the clearing accounts are empty and the cash is accounted for."""
        for payment in self.all_payments:
            self.void(payment)
            self.close_dispute(payment, "won")
        for provider_id in PROVIDERS:
            for currency in CURRENCIES:
                self.settle(provider_id, currency, 0, 0, False)
        for batch in self.batches:
            if not batch.banked:
                self.bank(batch, 0)
        for case in list(self.cases):
            self.clear(case, by_bank=False)
        while self.payouts:
            self.end_payout(0, paid=True)
        for currency in CURRENCIES:
            for code in ("1100", "1110", "1130", "2010", "2030", "2040", "2050", "2055", "2900", *MEMO):
                assert self.ledger.balance(code, currency) == 0, f"{code} {currency} is not empty"
            owed = ("2020", "1200", "4010", "4090", "5010", "5020", "5030", "5090")
            assert self.ledger.balance("1010", currency) == -sum(self.ledger.balance(code, currency) for code in owed)
