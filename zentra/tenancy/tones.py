"""The colours of state words in the console.

Apart from `console`, because the theme loads template tags while it loads itself, and tags name colours.
"""

from __future__ import annotations

from typing import Final

_WORDS: Final = {
    "success": (
        "approved", "authorized", "captured", "succeeded", "delivered", "settled", "matched", "active", "enabled",
        "closed", "evidenced", "completed", "read", "finished",
    ),
    "danger": (
        "declined", "failed", "rejected", "exhausted", "conflicted", "hard_decline", "provider_fault", "risk_block",
        "revoked", "control_failed", "invalid_request", "config", "unreadable", "live",
    ),
    "warning": (
        "unknown", "outcome_unknown", "sent", "open", "suspended", "expiring", "soft_decline", "sent_no_answer",
        "answered_unreadable", "disputed", "disabled", "drifted", "assigned", "partially_matched", "read_with_errors",
        "amount_differs", "currency_differs", "duplicate", "unknown_reference", "missing_line", "control_total",
    ),
    "info": (
        "processing", "pending", "requires_action", "action_required", "partially_captured", "partially_refunded",
        "partially_settled", "refunded", "sandbox", "voiding", "matching", "received", "running",
    ),
}  # fmt: skip

#: The colour of a state wherever the console shows one, under its name and under its words ('requires action').
TONES: Final = {
    spelling: tone for tone, names in _WORDS.items() for name in names for spelling in (name, name.replace("_", " "))
}


def state_words(state: str) -> str:
    """A state as people read it: 'requires action'."""
    return state.replace("_", " ")
