from __future__ import annotations

from datetime import date
from uuid import UUID, uuid4

import pytest

from ledger.rules import CHART, check_account
from ledger.types import (
    MAX_LEGS,
    AccountClass,
    AccountKey,
    InvalidPosting,
    Leg,
    Posting,
    Side,
    UnbalancedPosting,
    UnknownAccountCode,
    legs_of,
)
from tests.ledger.booking import AVAILABLE, BANK, CUSTOMER, FEES, PENDING, RECEIVABLE, RESERVED, posting
from zentra.core.money import MAX_AMOUNT_MINOR, UnknownCurrency


class TestAPosting:
    def test_needs_two_legs(self):
        with pytest.raises(InvalidPosting, match="1 legs"):
            posting("k", (BANK, 5))

    def test_has_a_bounded_number_of_legs(self):
        lines = [(BANK, 1), (AVAILABLE, -1)] * (MAX_LEGS // 2)

        assert len(posting("k", *lines).legs) == MAX_LEGS
        with pytest.raises(InvalidPosting, match="22 legs"):
            posting("k", *lines, (BANK, 1), (AVAILABLE, -1))

    def test_must_sum_to_zero(self):
        with pytest.raises(UnbalancedPosting, match="on-balance legs leave 1 "):
            posting("k", (BANK, 6), (AVAILABLE, -5))

    def test_must_sum_to_zero_in_the_memo_group_by_itself(self):
        with pytest.raises(UnbalancedPosting):
            posting("k", (CUSTOMER, 5), (AVAILABLE, -5))

    @pytest.mark.parametrize("amount", [0, MAX_AMOUNT_MINOR + 1, -MAX_AMOUNT_MINOR - 1, True, 1.5])
    def test_refuses_amounts_that_no_entry_may_carry(self, amount):
        with pytest.raises(InvalidPosting):
            Posting(
                key="k",
                kind="test",
                currency="EUR",
                legs=(Leg(BANK, amount), Leg(AVAILABLE, -amount)),
                effective_date=date(2026, 3, 2),
            )

    def test_takes_the_largest_amount(self):
        assert posting("k", (BANK, MAX_AMOUNT_MINOR), (AVAILABLE, -MAX_AMOUNT_MINOR))

    def test_refuses_an_unknown_currency(self):
        with pytest.raises(UnknownCurrency):
            posting("k", (BANK, 5), (AVAILABLE, -5), currency="EURO")

    @pytest.mark.parametrize("key", ["", "k" * 201])
    def test_refuses_a_key_that_is_empty_or_too_long(self, key):
        with pytest.raises(InvalidPosting, match="key has"):
            posting(key, (BANK, 5), (AVAILABLE, -5))

    def test_refuses_meta_beyond_its_bound(self):
        with pytest.raises(InvalidPosting, match="meta"):
            posting("k", (BANK, 5), (AVAILABLE, -5), meta={"note": "n" * 5000})

    def test_leaves_out_lines_of_zero(self):
        assert legs_of((BANK, 5), (FEES, 0), (AVAILABLE, -5)) == (Leg(BANK, 5), Leg(AVAILABLE, -5))


class TestAFingerprint:
    def test_is_the_same_for_the_same_content_in_another_order_under_another_key(self):
        assert (
            posting("a", (BANK, 5), (AVAILABLE, -5)).fingerprint()
            == posting("b", (AVAILABLE, -5), (BANK, 5)).fingerprint()
        )

    @pytest.mark.parametrize(
        "other",
        [
            posting("k", (BANK, 6), (AVAILABLE, -6)),
            posting("k", (BANK, 5), (PENDING, -5)),
            posting("k", (BANK, 5), (AVAILABLE, -5), currency="USD"),
            posting("k", (BANK, 5), (AVAILABLE, -5), kind="other"),
            posting("k", (BANK, 5), (AVAILABLE, -5), day=date(2026, 3, 3)),
            posting("k", (BANK, 5), (AVAILABLE, -5), payment_id=uuid4()),
            posting("k", (BANK, 5), (AVAILABLE, -5), batch_id=uuid4()),
            posting("k", (BANK, 5), (AVAILABLE, -5), case_id=uuid4()),
            posting("k", (BANK, 5), (AVAILABLE, -5), reverses_id=uuid4()),
            posting("k", (BANK, 5), (AVAILABLE, -5), meta={"rule": 2}),
        ],
        ids=["amount", "account", "currency", "kind", "day", "payment", "batch", "case", "reversal", "meta"],
    )
    def test_differs_as_soon_as_one_part_does(self, other):
        assert other.fingerprint() != posting("k", (BANK, 5), (AVAILABLE, -5)).fingerprint()

    def test_stays_what_it_is_from_version_to_version(self):
        """A changed canonical form would make every repeat of an older booking look like another content."""
        first = posting("k", (RECEIVABLE, 5), (PENDING, -5), payment_id=UUID(int=7), meta={"fee_schedule": 3})

        assert first.fingerprint().hex() == "92f068b04b0db51acf05f01bfa5f30a1339e5d4dee60e42c45dd685f725578db"


class TestTheChart:
    def test_the_first_digit_of_a_code_says_its_class(self):
        assert {code: account.account_class for code, account in CHART.items()} == {
            code: AccountClass.of(code) for code in CHART
        }

    def test_assets_and_expenses_are_debit_accounts_and_liabilities_and_income_are_not(self):
        debit = {AccountClass.ASSET, AccountClass.EXPENSE}

        for account in CHART.values():
            if account.account_class is not AccountClass.MEMO:
                assert (account.normal_side is Side.DEBIT) == (account.account_class in debit), account.code

    def test_the_product_names_of_traces_map_to_accounts(self):
        assert [CHART[code].shown_as for code in ("9010", "9020", "9030", "2010", "2020", "2040")] == [
            "customer_balance",
            "reserved_balance",
            "settlement_account",
            "merchant",
            "merchant",
            "payout",
        ]

    def test_an_unknown_code_is_refused(self):
        with pytest.raises(UnknownAccountCode):
            check_account(AccountKey("2999"))

    @pytest.mark.parametrize("code", ["1110", "2900"])
    def test_money_in_transit_names_its_batch_and_suspense_its_case(self, code):
        with pytest.raises(InvalidPosting, match="as dimension"):
            check_account(AccountKey(code, "provider", "alpha"))

    def test_a_code_outside_every_class_is_refused_in_a_posting(self):
        with pytest.raises(UnknownAccountCode):
            posting("k", (AccountKey("7000"), 5), (RESERVED, -5))
