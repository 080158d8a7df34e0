"""The envelope of every answer: `{"success", "data", "meta"}`, or `{"success": false, "error", "meta"}`.

Bytes are made here once, so that a stored answer can be given again exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from zentra.core.clock import SYSTEM_CLOCK, iso_utc
from zentra.core.errors import ZentraError


def meta(request_id: str, moment: datetime | None = None) -> dict[str, str]:
    """Request id and time of the answer."""
    return {"request_id": request_id, "timestamp": iso_utc(moment or SYSTEM_CLOCK.now())}


def success(data: Any, *, request_id: str, pagination: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A success envelope; pagination stands beside data."""
    beside = {"pagination": dict(pagination)} if pagination is not None else {}
    return {"success": True, "data": data, **beside, "meta": meta(request_id)}


def failure(error: ZentraError, *, request_id: str) -> dict[str, Any]:
    """An error envelope from a refusal of the catalogue."""
    body = {
        "code": error.code,
        "message": error.message,
        "field": error.field,
        "status": error.status,
        "details": error.details,
    }
    return {"success": False, "error": body, "meta": meta(request_id)}


def to_bytes(body: Mapping[str, Any]) -> bytes:
    """Compact UTF-8 JSON (RFC 8259); refuses NaN and infinities."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
