"""Money, ids and times: the values that everything else is made of."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentra.core.clock import SYSTEM_CLOCK, FixedClock, ShiftedClock, business_date, iso_utc
from zentra.core.errors import NotFound
from zentra.core.ids import PREFIXES, InvalidId, new_id, parse_or_not_found, parse_public_id, public_id
from zentra.core.money import (
    MAX_AMOUNT_MINOR,
    InvalidAmount,
    Money,
    UnknownCurrency,
    currency_exponent,
    decimal_text,
    require_amount,
)


class TestAnAmount:
    @pytest.mark.parametrize("value", [1, 125_000, MAX_AMOUNT_MINOR])
    def test_is_an_integer_of_minor_units(self, value: int):
        assert require_amount(value) == value

    @pytest.mark.parametrize("value", [0, -1, MAX_AMOUNT_MINOR + 1, 1.0, float("nan"), "1", True, None, [1], 10**30])
    def test_is_nothing_else(self, value: object):
        with pytest.raises(InvalidAmount) as refusal:
            require_amount(value, field="amount_minor")

        assert refusal.value.field == "amount_minor"

    def test_goes_up_to_the_largest_integer_that_every_json_reader_keeps(self):
        assert MAX_AMOUNT_MINOR == 9_007_199_254_740_991
        assert float(MAX_AMOUNT_MINOR) == MAX_AMOUNT_MINOR
        assert float(MAX_AMOUNT_MINOR + 2) != MAX_AMOUNT_MINOR + 2


class TestACurrency:
    @pytest.mark.parametrize(
        ("code", "exponent"),
        [("EUR", 2), ("USD", 2), ("JPY", 0), ("KRW", 0), ("CLP", 0), ("ISK", 0), ("UGX", 0), ("KWD", 3), ("BHD", 3)],
    )
    def test_has_the_exponent_of_the_iso_table(self, code: str, exponent: int):
        assert currency_exponent(code) == exponent

    @pytest.mark.parametrize("code", ["eur", "EURO", "", "XXX", "XTS", "XAU", "978", "E R", "ÉUR"])
    def test_that_is_none_is_refused(self, code: str):
        with pytest.raises(UnknownCurrency):
            currency_exponent(code)

    @pytest.mark.parametrize(
        ("minor", "code", "text"),
        [
            (125_000, "EUR", "1250.00"),
            (5, "EUR", "0.05"),
            (-5, "EUR", "-0.05"),
            (0, "EUR", "0.00"),
            (1250, "JPY", "1250"),
            (-1, "JPY", "-1"),
            (1, "KWD", "0.001"),
            (MAX_AMOUNT_MINOR, "EUR", "90071992547409.91"),
        ],
    )
    def test_is_written_with_its_own_digits(self, minor: int, code: str, text: str):
        assert decimal_text(minor, code) == text

    def test_belongs_to_money(self):
        assert str(Money(125_000, "EUR")) == "1250.00 EUR"
        for wrong in (1.5, True, "1"):
            with pytest.raises(TypeError):
                Money(wrong, "EUR")  # type: ignore[arg-type]
        with pytest.raises(UnknownCurrency):
            Money(1, "ABC")


class TestAPublicId:
    @given(st.uuids(), st.sampled_from(sorted(PREFIXES)))
    def test_names_its_uuid_and_comes_back(self, value: UUID, prefix: str):
        text = public_id(prefix, value)

        assert parse_public_id(prefix, text) == value
        assert len(text) == len(prefix) + 27

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            # The worked examples of the TypeID specification, with one of our prefixes.
            ("pay_00000000000000000000000000", "00000000-0000-0000-0000-000000000000"),
            ("pay_00000000000000000000000001", "00000000-0000-0000-0000-000000000001"),
            ("pay_0000000000000000000000000a", "00000000-0000-0000-0000-00000000000a"),
            ("pay_0000000000000000000000000g", "00000000-0000-0000-0000-000000000010"),
            ("pay_00000000000000000000000010", "00000000-0000-0000-0000-000000000020"),
            ("pay_7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
            ("pay_0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"),
            ("pay_01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"),
        ],
    )
    def test_is_written_as_the_specification_says(self, text: str, value: str):
        assert public_id("pay", UUID(value)) == text
        assert parse_public_id("pay", text) == UUID(value)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "pay_",
            "pay",
            "pay_8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "pay_01h455vb4pex5vsknk084sn02",
            "pay_01h455vb4pex5vsknk084sn02qq",
            "pay_01H455VB4PEX5VSKNK084SN02Q",
            "pay_01h455vb4pex5vsknk084sn02i",
            "pay_01h455vb4pex5vsknk084sn02u",
            "att_01h455vb4pex5vsknk084sn02q",
            "01h455vb4pex5vsknk084sn02q",
            "pay__01h455vb4pex5vsknk084sn02q",
            " pay_01h455vb4pex5vsknk084sn02q",
        ],
    )
    def test_that_is_none_is_refused_and_names_nothing(self, text: str):
        with pytest.raises(InvalidId):
            parse_public_id("pay", text)
        with pytest.raises(NotFound):
            parse_or_not_found("pay", text)

    def test_of_a_kind_that_does_not_exist_cannot_be_made(self):
        with pytest.raises(KeyError):
            public_id("chg", new_id())

    def test_is_a_uuid_7_that_follows_the_ones_before(self):
        made = [new_id() for _ in range(1000)]

        assert {(value.version, type(value)) for value in made} == {(7, UUID)}
        assert made == sorted(made)
        assert abs((made[0].int >> 80) / 1000 - SYSTEM_CLOCK.now().timestamp()) < 60


class TestTheClock:
    def test_is_aware_and_in_utc(self):
        for clock in (SYSTEM_CLOCK, ShiftedClock(timedelta(days=30))):
            assert clock.now().tzinfo is UTC

    def test_may_be_shifted_and_goes_on(self):
        shifted = ShiftedClock(timedelta(days=30))

        first, second = shifted.now(), shifted.now()

        assert timedelta(days=30) <= first - SYSTEM_CLOCK.now() + timedelta(seconds=5)
        assert second >= first

    def test_may_stand_still_until_it_is_moved(self):
        clock = FixedClock(datetime(2026, 3, 2, tzinfo=UTC))

        clock.advance(timedelta(hours=1))

        assert clock.now() == clock.now() == datetime(2026, 3, 2, 1, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("moment", "zone", "day"),
        [
            (datetime(2026, 3, 2, 23, 30, tzinfo=UTC), "UTC", date(2026, 3, 2)),
            (datetime(2026, 3, 2, 23, 30, tzinfo=UTC), "Europe/Vienna", date(2026, 3, 3)),
            (datetime(2026, 3, 2, 23, 30, tzinfo=UTC), "America/New_York", date(2026, 3, 2)),
            (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), "Europe/Vienna", date(2026, 3, 29)),
            (datetime(2026, 10, 24, 22, 0, tzinfo=UTC), "Europe/Vienna", date(2026, 10, 25)),
        ],
    )
    def test_has_the_accounting_day_of_the_workspace(self, moment: datetime, zone: str, day: date):
        assert business_date(moment, zone) == day

    def test_is_shown_in_milliseconds_with_a_z(self):
        assert iso_utc(datetime(2026, 3, 2, 9, 30, 0, 123_999, tzinfo=UTC)) == "2026-03-02T09:30:00.123Z"
