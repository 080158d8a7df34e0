"""The parser of the sandbox acquirer's file: what it reads, what it refuses row by row, and what costs nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.formats.simulator import COLUMNS, MAX_ROW_CHARACTERS, parse
from settlement.types import DeclaredTotals, LineError, LineType, ParsedLine, UnreadableFile
from zentra.core.money import MAX_AMOUNT_MINOR

HEADER = ",".join(COLUMNS)
SALE = "line,bat_1,L1,sale,cap_1,ours_1,EUR,10000,165,9835,2026-03-01,2026-03-02"
REFUND = "line,bat_1,L2,refund,ref_1,ours_2,EUR,-2500,0,-2500,2026-03-01,2026-03-02"
TOTALS = "batch,bat_1,2,payout,,,EUR,7500,165,7335,2026-03-01,2026-03-02"


def rows(*lines: str, header: str = HEADER, end: str = "\n") -> list[ParsedLine | DeclaredTotals | LineError]:
    return list(parse((end.join((header, *lines)) + end).encode()))


def changed(line: str, **columns: str) -> str:
    cells = dict(zip(COLUMNS, line.split(","), strict=True))
    return ",".join({**cells, **columns}.values())


class TestAGoodFile:
    def test_gives_lines_and_totals(self):
        sale, refund, totals = rows(SALE, REFUND, TOTALS)

        assert isinstance(sale, ParsedLine)
        assert (sale.row, sale.line_type, sale.gross_minor, sale.fee_minor, sale.net_minor) == (
            2,
            LineType.SALE,
            10_000,
            165,
            9_835,
        )
        assert isinstance(refund, ParsedLine)
        assert (refund.provider_reference, refund.own_reference, refund.gross_minor) == ("ref_1", "ours_2", -2_500)
        assert isinstance(totals, DeclaredTotals)
        assert (totals.line_count, totals.net_minor) == (2, 7_335)

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_reads_either_line_end_and_a_byte_order_mark(self, end: str):
        content = b"\xef\xbb\xbf" + end.join((HEADER, SALE, REFUND, TOTALS, "")).encode()

        assert not [row for row in parse(content) if isinstance(row, LineError)]

    def test_finds_columns_by_name_and_keeps_those_it_does_not_know(self):
        header = "scheme," + ",".join(reversed(COLUMNS))
        line = "visa," + ",".join(reversed(SALE.split(",")))

        [parsed] = rows(line, header=header)

        assert isinstance(parsed, ParsedLine)
        assert (parsed.gross_minor, parsed.extra) == (10_000, {"scheme": "visa"})

    def test_reads_the_last_row_without_a_line_end(self):
        assert len(list(parse(f"{HEADER}\n{SALE}".encode()))) == 1

    def test_skips_empty_rows(self):
        assert len(rows("", SALE, "", "")) == 1


class TestAFileThatCannotBeRead:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "empty"),
            (b"\xef\xbb\xbf", "empty"),
            (b"\n\n", "lacks"),
            (b"record_type,batch_id\n", "lacks line_id"),
            (b"PK\x03\x04 not a text file", "header"),
            ((HEADER + ",line_id\n").encode(), "twice"),
            (HEADER.encode("utf-16"), "header"),
        ],
    )
    def test_is_refused_with_its_reason(self, content: bytes, reason: str):
        with pytest.raises(UnreadableFile, match=reason):
            parse(content)


class TestABadRow:
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (changed(SALE, gross_minor="100.00"), "gross_minor is not an integer"),
            (changed(SALE, gross_minor="1e4"), "gross_minor is not an integer"),
            (changed(SALE, gross_minor="１００"), "gross_minor is not an integer"),
            (changed(SALE, gross_minor=""), "gross_minor is not an integer"),
            (changed(SALE, gross_minor="99999999999999999999"), "gross_minor is not an integer"),
            (changed(SALE, gross_minor=str(MAX_AMOUNT_MINOR + 1)), "gross_minor is beyond"),
            (changed(SALE, fee_minor="+1"), "fee_minor is not an integer"),
            (changed(SALE, gross_minor="0", net_minor="-165"), "above zero"),
            (changed(SALE, gross_minor="-10000", net_minor="-10165"), "above zero"),
            (changed(REFUND, gross_minor="2500", net_minor="2500"), "below zero"),
            (changed(SALE, net_minor="9836"), "net_minor is not"),
            (changed(SALE, line_type="chargeback"), "line_type"),
            (changed(SALE, record_type="note"), "record_type"),
            (changed(SALE, currency="EURO"), "currency"),
            (changed(SALE, currency="eur"), "currency"),
            (changed(SALE, booked_on="01.03.2026"), "booked_on"),
            (changed(SALE, value_on="2026-02-30"), "value_on"),
            (changed(SALE, batch_id=""), "batch_id is empty"),
            (changed(SALE, line_id=""), "line_id is empty"),
            (changed(SALE, acquirer_reference="", merchant_reference=""), "no reference"),
            (changed(SALE, acquirer_reference="x" * 129), "longer than 128"),
            (SALE + ",more", "13 columns"),
            (SALE.rsplit(",", 3)[0], "9 columns"),
            (changed(SALE, line_id='"L1'), "quotation"),
            (changed(SALE, line_id="L\x001"), "control character"),
            ("x" * (MAX_ROW_CHARACTERS + 1), "longer than"),
        ],
    )
    def test_is_one_error_and_the_rows_around_it_are_read(self, line: str, reason: str):
        before = changed(SALE, line_id="B")
        first, error, last = rows(before, line, REFUND)

        assert isinstance(first, ParsedLine)
        assert isinstance(last, ParsedLine)
        assert isinstance(error, LineError)
        assert error.row == 3
        assert reason in error.reason

    def test_of_other_bytes_than_utf8_costs_itself_alone(self):
        content = f"{HEADER}\n".encode() + SALE.replace("cap_1", "caf\xe9").encode("latin-1") + f"\n{REFUND}\n".encode()

        error, refund = parse(content)

        assert error == LineError(2, "not UTF-8")
        assert isinstance(refund, ParsedLine)

    def test_never_repeats_what_the_row_held(self):
        [error] = rows(changed(SALE, gross_minor="4111111111111111x"))

        assert isinstance(error, LineError)
        assert "4111" not in error.reason

    def test_in_another_currency_than_its_batch_is_refused(self):
        _, error = rows(SALE, changed(REFUND, currency="USD"))

        assert isinstance(error, LineError)
        assert "currency" in error.reason

    def test_declaring_totals_a_second_time_is_refused(self):
        _, error = rows(TOTALS, TOTALS)

        assert isinstance(error, LineError)
        assert "second" in error.reason

    def test_that_would_make_the_batch_too_large_to_book_is_refused(self):
        huge = changed(SALE, gross_minor=str(MAX_AMOUNT_MINOR), fee_minor="0", net_minor=str(MAX_AMOUNT_MINOR))

        first, error = rows(huge, changed(huge, line_id="L9"))

        assert isinstance(first, ParsedLine)
        assert isinstance(error, LineError)
        assert "turnover" in error.reason


class TestAnything:
    @given(st.binary(max_size=400))
    def test_after_a_good_header_is_read_or_refused_row_by_row(self, garbage: bytes):
        found = list(parse(f"{HEADER}\n{SALE}\n".encode() + garbage + f"\n{REFUND}\n".encode()))

        assert isinstance(found[0], ParsedLine)
        assert isinstance(found[-1], ParsedLine)
        assert found[-1].line_id == "L2"
