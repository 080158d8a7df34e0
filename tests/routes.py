"""Every route of the API, as the URL configuration has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

PREFIX = "api/v1/"


@dataclass(frozen=True)
class Route:
    """One method of one route: its pattern below /api/v1/ and its view."""

    method: str
    pattern: str
    view: Any

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"<(?:\w+:)?(\w+)>", self.pattern)

    def path(self, **values: str) -> str:
        """The path with its parameters filled in; 'x' for what is not given."""
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: values.get(found.group(1), "x"), self.pattern)

    def __str__(self) -> str:
        return f"{self.method} {self.pattern}"


@lru_cache(maxsize=1)
def api_routes() -> tuple[Route, ...]:
    """All of them, by pattern and method."""
    found = [
        Route(method, pattern.removeprefix(PREFIX), view)
        for pattern, view in _patterns(get_resolver().url_patterns, "")
        if pattern.startswith(PREFIX)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if hasattr(view, method.lower())
    ]
    return tuple(sorted(found, key=lambda route: (route.pattern, route.method)))


def _patterns(entries: list[Any], before: str) -> Iterator[tuple[str, Any]]:
    for entry in entries:
        here = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _patterns(entry.url_patterns, here)
        elif isinstance(entry, URLPattern):
            yield here, getattr(entry.callback, "view_class", None) or getattr(entry.callback, "cls", None)
