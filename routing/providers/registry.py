"""Which providers are installed: a table in code, so that a typo in an account's provider is found at once."""

from __future__ import annotations

from typing import Final

from routing.providers.base import ProviderAdapter
from routing.providers.simulator import SimulatorAdapter

_ADAPTERS: Final[dict[str, ProviderAdapter]] = {adapter.code: adapter for adapter in (SimulatorAdapter(),)}


class UnknownProvider(LookupError):
    """No adapter is installed under this code."""


def adapter_for(code: str) -> ProviderAdapter:
    """The adapter of a provider. :raises UnknownProvider:"""
    try:
        return _ADAPTERS[code]
    except KeyError:
        raise UnknownProvider(code) from None


def adapter_codes() -> tuple[str, ...]:
    """Every installed provider, for choices and forms."""
    return tuple(sorted(_ADAPTERS))
