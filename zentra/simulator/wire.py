"""Requests and answers as values, without sockets: what the listener hands in and what it must send back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from zentra.simulator.behaviours import Delivery

MAX_AMOUNT_MINOR = 2**53 - 1
MAX_URL_CHARS = 2048

# References and keys travel in CSV files and URLs: a plain alphabet, starting with a letter or digit.
REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
CURRENCY = re.compile(r"[A-Z]{3}")
TOKEN = re.compile(r"[A-Za-z0-9_]{1,100}")

JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request whose body was read whole. Header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer. ``keep`` says whether it is stored under the idempotency key of its request."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = field(default=())
    delivery: Delivery = Delivery.ANSWERED
    keep: bool = True


class RequestRefusedError(Exception):
    """A request that is answered with an error and recorded nowhere; ``code`` is stable snake_case."""

    def __init__(self, status: int, code: str, message: str, *, field_name: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field_name = field_name

    def answer(self) -> Answer:
        """Return the error document for the caller."""
        return error_answer(self.status, self.code, self.message, field=self.field_name)


def json_answer(status: int, document: Mapping[str, Any], **options: Any) -> Answer:
    """Return an answer whose body is the document, in the key order it was built with."""
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    return Answer(status=status, body=body + b"\n", **options)


def error_answer(status: int, code: str, message: str, **extra: Any) -> Answer:
    """Return the one shape of every error: ``{"error": {"code", "message", …}}``."""
    details = {name: value for name, value in extra.items() if value is not None}
    return json_answer(status, {"error": {"code": code, "message": message, **details}})


class Fields:
    """The JSON object of a request, read field by field; every reader raises ``RequestRefusedError`` 400."""

    def __init__(self, document: object) -> None:
        if not isinstance(document, dict):
            raise RequestRefusedError(400, "invalid_body", "The body must be a JSON object.")
        self._document = document

    @classmethod
    def parse(cls, body: bytes) -> Fields:
        """Read the body as JSON; an empty body counts as an empty object."""
        try:
            return cls(json.loads(body or b"{}", parse_constant=_refuse_constant))
        # A body of brackets alone is deeper than the parser's stack.
        except (ValueError, RecursionError):
            raise RequestRefusedError(400, "invalid_json", "The body is not valid JSON.") from None

    def canonical(self) -> bytes:
        """Return the object in one spelling, for comparing the bodies of two requests."""
        return json.dumps(self._document, sort_keys=True, separators=(",", ":")).encode()

    def has(self, name: str) -> bool:
        """Tell whether the field is present and not null."""
        return self._document.get(name) is not None

    def value(self, name: str) -> Any:
        """Return the raw value, or None."""
        return self._document.get(name)

    def text(self, name: str, pattern: re.Pattern[str]) -> str:
        """Return a required string that matches the pattern as a whole."""
        value = self._required(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise _invalid(name, f"{name} must be text of the form {pattern.pattern}")
        return value

    def optional_text(self, name: str, pattern: re.Pattern[str]) -> str | None:
        """Return a string that matches the pattern, or None when it is absent."""
        return self.text(name, pattern) if self.has(name) else None

    def integer(self, name: str, low: int, high: int) -> int:
        """Return a required integer within its bounds; a float or a boolean is not one."""
        value = self._required(name)
        if type(value) is not int or not low <= value <= high:
            raise _invalid(name, f"{name} must be an integer from {low} to {high}")
        return value

    def amount(self, name: str = "amount_minor") -> int:
        """Return a required amount in minor units, 1 to 2^53 - 1."""
        return self.integer(name, 1, MAX_AMOUNT_MINOR)

    def flag(self, name: str) -> bool:
        """Return a boolean that is false when absent."""
        value = self._document.get(name, False)
        if not isinstance(value, bool):
            raise _invalid(name, f"{name} must be true or false")
        return value

    def seconds(self, name: str, low: float, high: float) -> float:
        """Return a required number of seconds within its bounds."""
        value = self._required(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise _invalid(name, f"{name} must be a number from {low:g} to {high:g}")
        return float(value)

    def optional_url(self, name: str) -> str | None:
        """Return an absolute http(s) address, or None when it is absent."""
        value = self._document.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not is_http_url(value):
            raise _invalid(name, f"{name} must be an http or https address")
        return value

    def _required(self, name: str) -> Any:
        if not self.has(name):
            raise RequestRefusedError(400, "missing_field", f"{name} is required", field_name=name)
        return self._document[name]


def is_http_url(text: str) -> bool:
    """Tell whether a text is an absolute http(s) address without control characters or blanks."""
    if len(text) > MAX_URL_CHARS or not text.isascii() or any(char <= " " or char == "\x7f" for char in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _invalid(name: str, message: str) -> RequestRefusedError:
    return RequestRefusedError(400, "invalid_field", message, field_name=name)


def _refuse_constant(name: str) -> None:
    # NaN and Infinity are not JSON, though the parser takes them by default.
    raise ValueError(name)
