"""What follows from an attempt, and when the next one is due: values in, values out.

The schedule spreads eleven attempts over about 72 hours; Retry-After is honoured as RFC 9110 §10.2.3 has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from webhooks.states import DeliveryTrigger
from webhooks.types import Outcome, SendTrigger

#: Seconds to wait after attempt 1, 2, … 10. The first attempt is due at once.
RETRY_DELAYS_SECONDS = (5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 72_000)
MAX_ATTEMPTS = len(RETRY_DELAYS_SECONDS) + 1
#: A retry is at most a fifth late and never early, so that receivers that fail together do not retry
#: together.
JITTER_SHARE = 0.2
MAX_RETRY_AFTER_SECONDS = 6 * 3600
_THROTTLED = (429, 503)
_GONE = 410


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an attempt means for its delivery.

    :param error: the stable word that the delivery log shows; '' for success
    :param retry_in_seconds: only with ATTEMPT_FAILED
    """

    trigger: DeliveryTrigger
    error: str = ""
    retry_in_seconds: float | None = None

    @property
    def endpoint_gone(self) -> bool:
        return self.trigger is DeliveryTrigger.ENDPOINT_GONE


def judge(outcome: Outcome, *, attempt: int, trigger: SendTrigger, jitter: float) -> Judgement:
    """Success is any 2xx; 410 means nobody listens there any more; everything else is a failed attempt.

    :param attempt: the number of the attempt that was made, from 1
    :param trigger: a manual replay is one attempt
    :param jitter: a random number in [0, 1)
    """
    if accepted(outcome):
        return Judgement(DeliveryTrigger.ENDPOINT_ACCEPTED)
    error = error_word(outcome)
    if outcome.status == _GONE and not outcome.error:
        return Judgement(DeliveryTrigger.ENDPOINT_GONE, error)
    if trigger is SendTrigger.MANUAL or attempt >= MAX_ATTEMPTS:
        return Judgement(DeliveryTrigger.ATTEMPTS_USED_UP, error)
    asked = None
    if outcome.status in _THROTTLED:
        asked = retry_after_seconds(outcome.headers, outcome.started_at)
    return Judgement(DeliveryTrigger.ATTEMPT_FAILED, error, retry_delay_seconds(attempt, asked=asked, jitter=jitter))


def accepted(outcome: Outcome) -> bool:
    """Whether the endpoint has the event. A 2xx with a body longer than we read has accepted it all the same."""
    return outcome.status is not None and 200 <= outcome.status < 300 and outcome.error in ("", "too_large")


def error_word(outcome: Outcome) -> str:
    """The reason that the delivery log shows."""
    if outcome.error:
        return outcome.error
    if outcome.status is not None and 300 <= outcome.status < 400:
        return "redirect_refused"
    return f"status_{outcome.status}"


def retry_delay_seconds(attempt: int, *, asked: float | None, jitter: float) -> float:
    """The wait after a failed attempt: the step and its jitter, or what the endpoint asked for if that is
    longer.

    :param asked: seconds of Retry-After, counted up to MAX_RETRY_AFTER_SECONDS
    """
    step = RETRY_DELAYS_SECONDS[attempt - 1] * (1 + JITTER_SHARE * jitter)
    return max(step, min(asked or 0.0, MAX_RETRY_AFTER_SECONDS))


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """The Retry-After of an answer, as seconds from now; None when absent or not to be understood."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - now).total_seconds(), 0.0)


def wants(enabled_events: tuple[str, ...] | list[str], event_type: str) -> bool:
    """Whether an endpoint that lists these event types gets this one. An empty list means every type."""
    return not enabled_events or event_type in enabled_events
