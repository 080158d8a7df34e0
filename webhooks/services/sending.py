"""Sending due deliveries: claim, send on a few threads, record.

One thread, the caller's, talks to the database; the sending threads get a claim and give an outcome. Nothing
is claimed that cannot be sent within its lease, and while slow endpoints keep some threads the others go on.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from webhooks.models import MAX_RESPONSE_BYTES_KEPT
from webhooks.rules import judge
from webhooks.selectors import FIRST_TURN
from webhooks.services import claims, endpoints
from webhooks.services.claims import Result
from webhooks.signing import signature_headers
from webhooks.types import Claim, Outcome
from zentra.core import http
from zentra.core.clock import Clock
from zentra.core.ids import public_id
from zentra.core.logs import scrub_text

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_SECONDS = 3.0
DEADLINE_SECONDS = 15.0
MAX_RESPONSE_BYTES = 64 * 1024
SENDER_THREADS = 16
#: Claims in hand at most: with SENDER_THREADS and the deadline, all are answered within 30 s of a 60 s lease.
MAX_IN_HAND = 2 * SENDER_THREADS
#: A run stops claiming after this long, well inside the worker's time limit.
RUN_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.5
USER_AGENT = "Zentra-Webhooks/1"


@dataclass(slots=True)
class Rotation:
    """Which endpoint was served last, so that the next claim begins after it. One per sending process."""

    after: UUID = FIRST_TURN
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def move(self, found: Iterable[Claim], *, asked: int) -> None:
        served = [claim.endpoint_id for claim in found]
        with self._lock:
            # Fewer than asked for: everybody from here on was served, so the round begins anew.
            self.after = max(served) if len(served) >= asked else FIRST_TURN


_rotation = Rotation()


def never() -> bool:
    """Runs to its own end."""
    return False


def deliver_due(*, clock: Clock, should_stop: Callable[[], bool] = never) -> int:
    """Send what is due, until nothing is or RUN_SECONDS are over, and wait for what is under way.

    Must run outside a transaction.

    :param clock: the machine's clock; delivery timers are infrastructure (docs/decisions/0022)
    :param should_stop: asked between sends; true gives unsent claims back and ends the run
    :returns: how many attempts were made
    """
    endpoints.erase_expired_secrets(now=clock.now())
    stop_claiming_at = time.monotonic() + RUN_SECONDS
    in_hand: dict[Future[Outcome], Claim] = {}
    attempts = 0
    with ThreadPoolExecutor(SENDER_THREADS, thread_name_prefix="webhook-send") as pool:
        while True:
            if should_stop():
                _give_back(in_hand)
            elif len(in_hand) <= MAX_IN_HAND // 2 and time.monotonic() < stop_claiming_at:
                for claim in _claim(clock, MAX_IN_HAND - len(in_hand)):
                    in_hand[pool.submit(send_claim, claim, clock=clock)] = claim
            if not in_hand:
                return attempts
            done, _ = wait(in_hand, timeout=_LOOK_AGAIN_SECONDS, return_when=FIRST_COMPLETED)
            attempts += len(done)
            _record([(in_hand.pop(future), future.result()) for future in done], clock)


def send_claim(claim: Claim, *, clock: Clock) -> Outcome:
    """Make one attempt; every failure is an outcome, and nothing is raised. Touches no database."""
    started_at, started = clock.now(), time.monotonic()
    signed_at = int(started_at.timestamp())

    def outcome(status: int | None, error: str, body: bytes = b"", **more: dict[str, str]) -> Outcome:
        return Outcome(
            started_at=started_at,
            duration_ms=int((time.monotonic() - started) * 1000),
            status=status,
            error=error,
            response=kept_response(body),
            signed_at=signed_at if claim.secrets else None,
            **more,
        )

    if not claim.secrets:
        return outcome(None, "no_secret")
    try:
        answer = http.send(
            method="POST",
            url=claim.url,
            headers=request_headers(claim, timestamp=signed_at),
            body=claim.body,
            connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
            total_deadline_seconds=DEADLINE_SECONDS,
            max_response_bytes=MAX_RESPONSE_BYTES,
        )
    except http.AnswerTooLarge as large:
        return outcome(large.status, large.kind, large.body)
    except http.UnreadableAnswer as unreadable:
        return outcome(unreadable.status, unreadable.kind)
    except http.HttpFailure as failure:
        return outcome(None, failure.kind)
    except Exception:
        # Whatever it is, it must count as an attempt: a delivery that breaks its sender would come back for
        # ever.
        log.exception("webhook_sender_failed", delivery_id=public_id("whd", claim.delivery_id))
        return outcome(None, "sender_failed")
    return outcome(answer.status, "", answer.body, headers=dict(answer.headers))


def request_headers(claim: Claim, *, timestamp: int) -> dict[str, str]:
    """The headers of one attempt. Receivers deduplicate by ``webhook-id``, which never changes."""
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        **signature_headers(
            event_id=public_id("evt", claim.event_id),
            timestamp=timestamp,
            body=claim.body,
            secrets=claim.secrets,
        ),
        "x-event-type": claim.event_type,
        "x-delivery-id": public_id("whd", claim.delivery_id),
        "x-attempt": str(claim.attempt),
    }


def kept_response(body: bytes) -> str:
    """What the log keeps of an answer: text, scrubbed, at most MAX_RESPONSE_BYTES_KEPT bytes of UTF-8."""
    text = scrub_text(body.decode("utf-8", errors="replace").replace("\x00", "\ufffd"))
    return text.encode()[:MAX_RESPONSE_BYTES_KEPT].decode("utf-8", errors="ignore")


def _claim(clock: Clock, room: int) -> list[Claim]:
    found = claims.claim_due(clock=clock, limit=room, after=_rotation.after)
    _rotation.move(found, asked=room)
    return found


def _give_back(in_hand: dict[Future[Outcome], Claim]) -> None:
    """Drop what no thread has begun, and end its lease."""
    unsent = [future for future in in_hand if future.cancel()]
    if unsent:
        claims.release_claims(claims=[in_hand.pop(future) for future in unsent])


def _record(made: list[tuple[Claim, Outcome]], clock: Clock) -> None:
    results = [
        Result(
            claim,
            outcome,
            judge(
                outcome,
                attempt=claim.attempt,
                trigger=claim.trigger,
                jitter=random.random(),  # noqa: S311 - spreads retries, guards nothing
            ),
        )
        for claim, outcome in made
    ]
    counted = claims.record_results(results=results, clock=clock)
    for result in results:
        claim, outcome = result.claim, result.outcome
        log.info(
            "webhook_attempt" if claim.delivery_id in counted else "webhook_lease_lost",
            workspace_id=public_id("wsp", claim.workspace_id),
            delivery_id=public_id("whd", claim.delivery_id),
            endpoint_id=public_id("whe", claim.endpoint_id),
            event_id=public_id("evt", claim.event_id),
            event_type=claim.event_type,
            attempt=claim.attempt,
            status=outcome.status,
            error=result.judgement.error,
            result=result.judgement.trigger.value,
            retry_in_seconds=result.judgement.retry_in_seconds,
            duration_ms=outcome.duration_ms,
        )
