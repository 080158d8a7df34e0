"""What every refusal must be, whoever refuses: typed, enveloped, traceable, and without a trace in the database."""

from __future__ import annotations

from tests.factories.shop import Reply
from zentra.core.errors import catalogue


def require_typed(reply: Reply, status: int, code: str, field: str | None = None) -> None:
    """Assert that an answer is this refusal of the catalogue, in the envelope, under its request id."""
    assert (reply.status, reply.code, reply.error["field"]) == (status, code, field), reply.content[:500]
    body = reply.json
    assert set(body) == {"success", "error", "meta"}
    assert body["success"] is False
    assert set(body["error"]) == {"code", "message", "field", "status", "details"}
    assert body["error"]["status"] == status
    assert body["error"]["message"]
    assert isinstance(body["error"]["details"], dict)
    assert body["meta"]["request_id"] == reply.headers["X-Request-Id"]
    assert body["meta"]["timestamp"].endswith("Z")
    assert reply.headers["Content-Type"] == "application/json"
    assert {kind.status for kind in catalogue() if kind.code == code} == {status}
