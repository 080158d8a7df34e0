"""The colours of state words in the console.

Apart from `console`, because the theme loads template tags while it loads itself, and tags name colours.
"""

from __future__ import annotations

from typing import Final

#: The colour of a state word wherever the console shows one: a label variant of the theme.
TONES: Final = {
    **dict.fromkeys(
        ("approved", "authorized", "captured", "succeeded", "delivered", "settled", "matched", "active", "enabled",
         "closed", "evidenced", "completed"),
        "success",
    ),
    **dict.fromkeys(
        ("declined", "failed", "rejected", "exhausted", "conflicted", "hard_decline", "provider_fault", "risk_block",
         "revoked", "control_failed", "invalid_request", "config"),
        "danger",
    ),
    **dict.fromkeys(
        ("unknown", "outcome_unknown", "sent", "open", "suspended", "expiring", "soft_decline", "sent_no_answer",
         "answered_unreadable", "disputed", "disabled", "drifted", "assigned"),
        "warning",
    ),
    **dict.fromkeys(
        ("processing", "pending", "requires_action", "action_required", "partially_captured", "partially_refunded",
         "partially_settled", "refunded", "sandbox", "voiding"),
        "info",
    ),
    "live": "danger",
}  # fmt: skip
