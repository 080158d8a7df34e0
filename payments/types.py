"""Values of payments that cross borders: what is asked for, and what an intake came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID


class CaptureMode(StrEnum):
    """Who is present: the customer, or the merchant alone with a stored credential."""

    CUSTOMER_ACTION_REQUIRED = "customer_action_required"
    MERCHANT_INITIATED = "merchant_initiated"


class CaptureMethod(StrEnum):
    """When money is taken: at once by a worker, or by the merchant's own call."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


class RuntimeStage(StrEnum):
    """The six stages of the product's runtime, recorded per payment with their time."""

    ACCEPTED = "accepted"
    CONTROLLED = "controlled"
    LEDGERED = "ledgered"
    ROUTED = "routed"
    SYNCHRONIZED = "synchronized"
    EVIDENCED = "evidenced"


#: The token of a payment that names none, in a sandbox workspace.
DEFAULT_SANDBOX_TOKEN: Final = "tok_sandbox_approved"  # noqa: S105 - published, opens nothing
SANDBOX_TOKEN_PREFIX: Final = "tok_sandbox_"  # noqa: S105
METADATA_MAX_ENTRIES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPayment:
    """A payment as it was asked for, already checked for form.

    :param amount_minor: minor units of ``currency``, 1 to 2^53−1
    :param reference: the merchant's own, '' to take the payment's id
    :param customer_id: the merchant's own name of the customer, '' for none
    """

    amount_minor: int
    currency: str
    reference: str = ""
    customer_id: str = ""
    merchant_id: UUID | None = None
    payment_token_id: str = DEFAULT_SANDBOX_TOKEN
    capture_mode: CaptureMode = CaptureMode.CUSTOMER_ACTION_REQUIRED
    capture_method: CaptureMethod = CaptureMethod.AUTOMATIC
    allow_partial: bool = False
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementItem:
    """A capture or refund as settlement sees it, under its row lock. ``kind`` is 'capture' or 'refund'."""

    kind: str
    id: UUID
    payment_id: UUID
    merchant_id: UUID
    provider_account_id: UUID | None
    currency: str
    amount_minor: int
    pending_minor: int
    has_line: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledItem:
    """What one matched line did to a capture or refund.

    :param settled_minor: the line's gross amount, positive minor units
    :param released_minor: what of the capture's pending this line released to the merchant; 0 for a refund
    :param explained: False for a drifted line, whose case is still open
    """

    kind: str
    item_id: UUID
    payment_id: UUID
    settled_minor: int
    released_minor: int = 0
    explained: bool = True
