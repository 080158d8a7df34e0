"""`page` and `limit` as the contract has them, with a bound on how deep a page may lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request

from zentra.core.errors import InvalidFormat

DEFAULT_LIMIT, MAX_LIMIT, MAX_PAGE = 20, 100, 1000


def page_of(request: Request, rows: QuerySet[Any], present: Callable[[Any], Any]) -> tuple[list[Any], dict[str, Any]]:
    """One page of an ordered queryset and its pagination object {page, limit, total, pages, has_more}.

    :raises InvalidFormat: page or limit is not a whole number within its bounds
    """
    page, limit = _whole(request, "page", 1, MAX_PAGE), _whole(request, "limit", DEFAULT_LIMIT, MAX_LIMIT)
    total = rows.count()
    start = (page - 1) * limit
    found = [present(row) for row in rows[start : start + limit]]
    pages = -(-total // limit)
    return found, {"page": page, "limit": limit, "total": total, "pages": pages, "has_more": page < pages}


def _whole(request: Request, name: str, default: int, maximum: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 1 <= int(text) <= maximum:
        raise InvalidFormat(
            f"{name} must be a whole number from 1 to {maximum}",
            field=name,
            details={"expected": f"integer, 1 to {maximum}"},
        )
    return int(text)
