"""The settlement file of the sandbox acquirer, as `docs/sandbox.md` ("The file") defines it.

UTF-8 with or without BOM, comma separated, LF or CRLF, one header row; columns are found by name and unknown ones are
kept. Amounts are integers of minor units. Rows `line` carry a sale (gross above zero) or a refund (gross below zero),
net = gross − fee; one row `batch` per batch declares its totals and, as `line_id`, its number of lines.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from settlement.types import DeclaredTotals, LineError, LineType, ParsedLine, ParsedRow, UnreadableFile
from zentra.core.money import MAX_AMOUNT_MINOR, UnknownCurrency, currency_exponent

COLUMNS: Final = (
    "record_type",
    "batch_id",
    "line_id",
    "line_type",
    "acquirer_reference",
    "merchant_reference",
    "currency",
    "gross_minor",
    "fee_minor",
    "net_minor",
    "booked_on",
    "value_on",
)
MAX_ROWS: Final = 1_000_000
MAX_ROW_CHARACTERS: Final = 4096
MAX_COLUMNS: Final = 64
MAX_BATCHES: Final = 100
#: Characters of the texts that are stored; more is a line error.
_LENGTHS: Final = {"batch_id": 64, "line_id": 128, "acquirer_reference": 128, "merchant_reference": 128}
_INTEGER: Final = re.compile(r"-?[0-9]{1,16}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class _BadRowError(ValueError):
    """This row cannot be used; the message is the reason that the operator reads."""


@dataclass(slots=True)
class _BatchSoFar:
    currency: str
    declared: bool = False
    turnover_minor: int = 0


def parse(content: bytes) -> Iterator[ParsedRow]:
    """The rows of a file in their order. A row that cannot be used comes as a LineError; the others are not affected.

    :raises UnreadableFile: at the first step: the file is empty, or its header lacks a column
    """
    # Bytes that are not UTF-8 survive as lone surrogates, and cost their own row only. The file's lines are split at
    # LF before the CSV reader sees them: a stray quotation mark cannot swallow the rows that follow.
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", errors="surrogateescape", newline="\n")
    try:
        header = _header(next(text))
    except StopIteration:
        raise UnreadableFile("the file is empty") from None
    return _rows(text, header)


def _header(line: str) -> list[str]:
    try:
        names = [name.strip() for name in _cells(line)]
    except _BadRowError as error:
        raise UnreadableFile(f"the header cannot be read: {error}") from None
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise UnreadableFile(f"the header lacks {', '.join(missing)}")
    if len(set(names)) != len(names):
        raise UnreadableFile("the header names a column twice")
    return names


def _rows(text: Iterator[str], header: Sequence[str]) -> Iterator[ParsedRow]:
    batches: dict[str, _BatchSoFar] = {}
    for row, line in enumerate(text, start=2):
        if row > MAX_ROWS + 1:
            yield LineError(row, f"the file has more than {MAX_ROWS} rows; the rest was not read")
            return
        if not line.strip():
            continue
        try:
            cells = _cells(line)
            if len(cells) != len(header):
                raise _BadRowError(f"{len(cells)} columns where the header has {len(header)}")
            parsed = _parsed(row, dict(zip(header, cells, strict=True)))
            _check_batch(parsed, batches)
        except _BadRowError as error:
            yield LineError(row, str(error))
        else:
            yield parsed


def _cells(line: str) -> list[str]:
    line = line.rstrip("\r\n")
    if len(line) > MAX_ROW_CHARACTERS:
        raise _BadRowError(f"longer than {MAX_ROW_CHARACTERS} characters")
    if any("\udc80" <= character <= "\udcff" for character in line):
        raise _BadRowError("not UTF-8")
    if any(ord(character) < 32 or ord(character) == 127 for character in line):
        raise _BadRowError("a control character")
    try:
        cells = next(csv.reader([line], strict=True), [])
    except csv.Error:
        raise _BadRowError("the quotation marks are not closed") from None
    if len(cells) > MAX_COLUMNS:
        raise _BadRowError(f"more than {MAX_COLUMNS} columns")
    return cells


def _parsed(row: int, cells: Mapping[str, str]) -> ParsedLine | DeclaredTotals:
    for name, longest in _LENGTHS.items():
        if len(cells[name]) > longest:
            raise _BadRowError(f"{name} is longer than {longest} characters")
    if not cells["batch_id"]:
        raise _BadRowError("batch_id is empty")
    kind = cells["record_type"]
    if kind == "line":
        return _line(row, cells)
    if kind == "batch":
        return _totals(row, cells)
    raise _BadRowError("record_type is neither line nor batch")


def _line(row: int, cells: Mapping[str, str]) -> ParsedLine:
    try:
        line_type = LineType(cells["line_type"])
    except ValueError:
        raise _BadRowError("line_type is neither sale nor refund") from None
    gross, fee, net = (_integer(cells, name) for name in ("gross_minor", "fee_minor", "net_minor"))
    if gross == 0 or (gross > 0) != (line_type is LineType.SALE):
        raise _BadRowError(f"gross_minor of a {line_type} must be {'above' if line_type == 'sale' else 'below'} zero")
    if net != gross - fee:
        raise _BadRowError("net_minor is not gross_minor − fee_minor")
    if not cells["line_id"]:
        raise _BadRowError("line_id is empty")
    if not (cells["acquirer_reference"] or cells["merchant_reference"]):
        raise _BadRowError("the line carries no reference")
    return ParsedLine(
        row=row,
        batch=cells["batch_id"],
        line_id=cells["line_id"],
        line_type=line_type,
        provider_reference=cells["acquirer_reference"],
        own_reference=cells["merchant_reference"],
        currency=_currency(cells),
        gross_minor=gross,
        fee_minor=fee,
        net_minor=net,
        booked_on=_day(cells, "booked_on"),
        value_on=_day(cells, "value_on"),
        extra={name: text for name, text in cells.items() if name not in COLUMNS and text},
    )


def _totals(row: int, cells: Mapping[str, str]) -> DeclaredTotals:
    if cells["line_type"] != "payout":
        raise _BadRowError("line_type of a batch row is not payout")
    count = _integer(cells, "line_id")
    if not 0 <= count <= MAX_ROWS:
        raise _BadRowError("the number of lines is out of range")
    return DeclaredTotals(
        row=row,
        batch=cells["batch_id"],
        currency=_currency(cells),
        line_count=count,
        gross_minor=_integer(cells, "gross_minor"),
        fee_minor=_integer(cells, "fee_minor"),
        net_minor=_integer(cells, "net_minor"),
        value_on=_day(cells, "value_on"),
    )


def _check_batch(parsed: ParsedLine | DeclaredTotals, batches: dict[str, _BatchSoFar]) -> None:
    """A batch has one currency and a sum that can be booked, or its total would mean nothing; and one row of totals."""
    batch = batches.setdefault(parsed.batch, _BatchSoFar(parsed.currency))
    if len(batches) > MAX_BATCHES:
        del batches[parsed.batch]
        raise _BadRowError(f"more than {MAX_BATCHES} batches in one file")
    if batch.currency != parsed.currency:
        raise _BadRowError("the row's currency is not the one of its batch")
    if isinstance(parsed, DeclaredTotals):
        if batch.declared:
            raise _BadRowError("a second row of totals for the batch")
        batch.declared = True
        return
    turnover = batch.turnover_minor + abs(parsed.gross_minor) + abs(parsed.fee_minor)
    if turnover > MAX_AMOUNT_MINOR:
        raise _BadRowError(f"the batch's turnover is beyond {MAX_AMOUNT_MINOR}")
    batch.turnover_minor = turnover


def _integer(cells: Mapping[str, str], name: str) -> int:
    text = cells[name]
    if not _INTEGER.fullmatch(text):
        raise _BadRowError(f"{name} is not an integer of minor units")
    value = int(text)
    if abs(value) > MAX_AMOUNT_MINOR:
        raise _BadRowError(f"{name} is beyond {MAX_AMOUNT_MINOR}")
    return value


def _currency(cells: Mapping[str, str]) -> str:
    try:
        currency_exponent(cells["currency"])
    except UnknownCurrency:
        raise _BadRowError("currency is not an ISO 4217 code") from None
    return cells["currency"]


def _day(cells: Mapping[str, str], name: str) -> date:
    text = cells[name]
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise _BadRowError(f"{name} is not a day as YYYY-MM-DD")
