"""A JSON parser that refuses what different readers would read differently."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.parsers import BaseParser

from zentra.core.errors import BadRequest

MAX_DEPTH = 20
MAX_KEYS = 2_000


class MalformedJson(BadRequest):
    code = "malformed_json"
    summary = "The body is not valid JSON."
    remedy = "Send one JSON object in UTF-8, without duplicate names, NaN or infinities."


class StrictJSONParser(BaseParser):
    """RFC 8259 in UTF-8, one object, no duplicate names, no NaN, at most 20 levels and 2,000 names."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """:raises MalformedJson: for anything else"""
        raw = stream.read()
        if not raw.strip():
            return {}
        counter = _KeyCounter()
        try:
            value = json.loads(raw.decode("utf-8"), object_pairs_hook=counter.collect, parse_constant=_refuse_constant)
            if b"\\u" in raw:
                # An escape may name half a character (RFC 8259 §8.2): no UTF-8 can hold it, so nothing could store it.
                json.dumps(value, ensure_ascii=False).encode("utf-8")
        except (UnicodeDecodeError, RecursionError, ValueError) as error:
            raise MalformedJson(f"the body is not valid JSON: {_reason(error)}") from None
        if not isinstance(value, dict):
            raise MalformedJson("the body must be one JSON object")
        if _depth(value) > MAX_DEPTH:
            raise MalformedJson(f"the body is nested deeper than {MAX_DEPTH} levels")
        return value


class _KeyCounter:
    def __init__(self) -> None:
        self.seen = 0

    def collect(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        self.seen += len(pairs)
        if self.seen > MAX_KEYS:
            raise ValueError(f"more than {MAX_KEYS} names")
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name occurs twice in one object")
        return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno} column {error.colno}"
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]


def _depth(value: Any) -> int:
    deepest, todo = 0, [(value, 1)]
    while todo:
        item, level = todo.pop()
        deepest = max(deepest, level)
        if level > MAX_DEPTH:
            return level
        children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        todo.extend((child, level + 1) for child in children if isinstance(child, dict | list))
    return deepest


class RawParser(BaseParser):
    """Leaves the body as it came: for signed bytes, which must be verified before they are parsed."""

    media_type = "*/*"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return stream.read()
