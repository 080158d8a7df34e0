"""Which parser reads the files of which provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from settlement.formats import simulator
from settlement.types import ParsedRow
from zentra.core.errors import Unprocessable

Parser = Callable[[bytes], Iterator[ParsedRow]]

PARSERS: Final[dict[str, Parser]] = {"simulator": simulator.parse}


class FormatUnknown(Unprocessable):
    code = "settlement_format_unknown"
    summary = "The platform cannot read settlement files of this provider."
    remedy = "Upload the file for a provider account whose provider has a settlement format."


def parser_for(provider: str) -> Parser:
    """:raises FormatUnknown: no format is known for the provider"""
    try:
        return PARSERS[provider]
    except KeyError:
        raise FormatUnknown(f"no settlement format is known for {provider:.32}", field="provider_account") from None
