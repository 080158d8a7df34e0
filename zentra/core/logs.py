"""Structured logs: one JSON object a line (or coloured text on a terminal), with request, workspace and payment ids.

Two layers keep secrets out: fields on the deny list are replaced, and a last filter replaces digit runs that pass
the Luhn check (ISO/IEC 7812-1), wherever they stand, by first six and last four.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

_SECRET_FIELDS = re.compile(
    r"(authorization|secret|password|token_value|api_key|card_number|pan|cvv|cvc|iban|account_number|cookie)$",
    re.I,
)
_SECRET_KEY_TEXT = re.compile(r"\b((?:sk|pk)_(?:sandbox|live)_[0-9a-zA-Z]{4})[0-9A-Za-z]+|\b(whsec_)[A-Za-z0-9+/=]+")
_DIGIT_RUN = re.compile(r"(?<!\d)(?:\d[ -]?){12,18}\d(?!\d)")


def luhn_valid(digits: str) -> bool:
    """Whether a string of digits passes the mod-10 check of ISO/IEC 7812-1 annex B."""
    total = 0
    for position, character in enumerate(reversed(digits)):
        value = int(character)
        if position % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def scrub_text(text: str) -> str:
    """The text with card numbers cut to first six and last four, and key secrets cut to their public head."""

    def cut(match: re.Match[str]) -> str:
        digits = re.sub(r"\D", "", match.group())
        return f"{digits[:6]}…{digits[-4:]}" if luhn_valid(digits) else match.group()

    text = _DIGIT_RUN.sub(cut, text)
    return _SECRET_KEY_TEXT.sub(lambda match: f"{match.group(1) or match.group(2)}…", text)


def scrub(value: Any) -> Any:
    """A copy of a JSON-like value with secret fields masked and text scrubbed, at any depth."""
    if isinstance(value, str):
        return scrub_text(value)
    if isinstance(value, Mapping):
        return {
            key: "[masked]" if isinstance(key, str) and _SECRET_FIELDS.search(key) else scrub(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [scrub(inner) for inner in value]
    return value


def _scrub_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    scrubbed: Mapping[str, Any] = scrub(event)
    return scrubbed


def logging_config(*, level: str, as_json: bool) -> dict[str, Any]:
    """The LOGGING setting: every logger, ours and the libraries', through the same scrubbing processors."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _scrub_event,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
                "foreign_pre_chain": shared,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django.request": {"level": "ERROR"},
            "django.db.backends": {"level": "WARNING"},
            "celery": {"level": "WARNING"},
            "urllib3": {"level": "ERROR"},
        },
    }
