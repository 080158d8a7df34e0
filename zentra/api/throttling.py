"""Rate limits that hold across processes: one token bucket per workspace in Redis, by the server's own clock.

The generic cell rate algorithm (ITU-T I.371 annex A) keeps one number per bucket and needs one round trip. When
Redis cannot be had, each process falls back to a bucket of its own at a quarter of the rate, so a dead Redis neither
stops payments nor opens the gate.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import structlog
from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from zentra.core.errors import TooManyRequests
from zentra.tenancy.types import Caller

log = structlog.get_logger(__name__)

BURST_FACTOR = 1.5
#: After a failure Redis is left alone for so long, so that a hanging server costs one time-out, not one per request.
REST_AFTER_FAILURE_SECONDS = 2.0

_SCRIPT = """
local now = redis.call('TIME')
local at = tonumber(now[1]) + tonumber(now[2]) / 1e6
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local tat = tonumber(redis.call('GET', KEYS[1]) or at)
if tat < at then tat = at end
local room = burst * interval - (tat - at)
if room < interval then
  return {0, 0, tostring(interval - room), tostring(tat)}
end
tat = tat + interval
redis.call('SET', KEYS[1], tostring(tat), 'PX', math.ceil((tat - at) * 1000) + 1000)
return {1, math.floor((room - interval) / interval), '0', tostring(tat)}
"""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The answer of a bucket: whether the request may pass, and what the headers show."""

    allowed: bool
    limit: int
    remaining: int
    retry_after_seconds: float
    reset_at: int


class WorkspaceThrottle(BaseThrottle):
    """Requests per minute of the caller's workspace; its allowance goes into the X-RateLimit headers."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """:raises TooManyRequests: the bucket is empty"""
        caller = cast(Caller | None, request.user)
        if caller is None:
            return True
        allowance = take(f"rl:{caller.workspace_id}", caller.requests_per_minute)
        request._request.rate_allowance = allowance  # type: ignore[attr-defined]
        if not allowance.allowed:
            retry_after = max(1, int(allowance.retry_after_seconds + 0.999))
            raise TooManyRequests(details={"limit": allowance.limit, "window": "1 minute", "retry_after": retry_after})
        return True


def take(bucket: str, per_minute: int) -> Allowance:
    """Take one token of a bucket that refills at ``per_minute`` and holds 1.5 minutes' worth; 0 refuses all."""
    if per_minute < 1:
        return Allowance(False, 0, 0, 60.0, int(time.time()) + 60)
    if _redis_rested():
        try:
            return _take_shared(bucket, per_minute)
        except (RedisError, OSError) as error:
            _mark_failure(error)
    return _take_local(bucket, per_minute)


def _take_shared(bucket: str, per_minute: int) -> Allowance:
    burst = int(per_minute * BURST_FACTOR)
    script = _client().register_script(_SCRIPT)
    allowed, remaining, wait, tat = script(keys=[bucket], args=[60 / per_minute, burst])
    return Allowance(bool(allowed), per_minute, int(remaining), float(wait), int(float(tat)) + 1)


@lru_cache(maxsize=1)
def _client() -> Redis:
    return Redis.from_url(
        settings.REDIS_URL, socket_timeout=0.25, socket_connect_timeout=0.25, retry=Retry(NoBackoff(), 0)
    )


_lock = threading.Lock()
_local: dict[str, float] = {}
_failed_at = 0.0


def _redis_rested() -> bool:
    return time.monotonic() - _failed_at > REST_AFTER_FAILURE_SECONDS or _failed_at == 0.0


def _mark_failure(error: Exception) -> None:
    global _failed_at
    _failed_at = time.monotonic()
    log.warning("rate_limit_store_unreachable", error=type(error).__name__)


def _take_local(bucket: str, per_minute: int) -> Allowance:
    per_process = max(1, per_minute // 4)
    interval, now = 60 / per_process, time.monotonic()
    with _lock:
        if len(_local) > 10_000:
            _local.clear()
        tat = max(_local.get(bucket, now), now)
        room = per_process * BURST_FACTOR * interval - (tat - now)
        if room < interval:
            return Allowance(False, per_minute, 0, interval - room, int(time.time() + interval - room) + 1)
        _local[bucket] = tat + interval
    return Allowance(True, per_minute, int(room / interval) - 1, 0.0, int(time.time() + (tat - now)) + 1)
