from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from django.db.models import QuerySet

from zentra.core.clock import SYSTEM_CLOCK, Clock, ShiftedClock, business_date
from zentra.core.errors import NotFound, Unprocessable
from zentra.tenancy.models import Member, Merchant, MerchantStatus, Workspace


@dataclass(frozen=True, slots=True)
class WorkspaceTerms:
    """What a business rule needs to know of a workspace: its environment, day, clock and limit."""

    workspace_id: UUID
    environment: str
    time_zone: str
    payment_limit_minor: int | None
    clock: Clock

    @property
    def today(self) -> date:
        """The accounting day of this moment."""
        return business_date(self.clock.now(), self.time_zone)


def terms_of(workspace_id: UUID) -> WorkspaceTerms:
    """The terms of a workspace, in one statement. :raises NotFound:"""
    workspace = Workspace.objects.select_related("workspaceclock").filter(id=workspace_id).first()
    if workspace is None:
        raise NotFound
    test_clock = getattr(workspace, "workspaceclock", None)
    return WorkspaceTerms(
        workspace_id=workspace.id,
        environment=workspace.environment,
        time_zone=workspace.time_zone,
        payment_limit_minor=workspace.payment_limit_minor,
        clock=ShiftedClock(timedelta(seconds=test_clock.offset_seconds)) if test_clock else SYSTEM_CLOCK,
    )


class MerchantUnknown(Unprocessable):
    code = "merchant_unknown"
    summary = "No active merchant of this workspace has this id."
    remedy = "Create the merchant first, or leave `merchant_id` out for the default merchant."


def workspace_by_id(workspace_id: UUID) -> Workspace:
    """:raises NotFound:"""
    found = Workspace.objects.filter(id=workspace_id).first()
    if found is None:
        raise NotFound
    return found


def merchant_for_payment(workspace_id: UUID, merchant_id: UUID | None) -> Merchant:
    """The named merchant, or the workspace's default one.

    :raises MerchantUnknown: none of this workspace, or not active
    """
    rows = Merchant.objects.filter(workspace_id=workspace_id, status=MerchantStatus.ACTIVE)
    found = rows.filter(id=merchant_id).first() if merchant_id else rows.filter(is_default=True).first()
    if found is None:
        raise MerchantUnknown(field="merchant_id")
    return found


def merchants_of(workspace_id: UUID) -> QuerySet[Merchant]:
    """The merchants of a workspace, newest first."""
    return Merchant.objects.filter(workspace_id=workspace_id).order_by("-id")


def workspace_ids() -> list[UUID]:
    """Every workspace, oldest first: for jobs that go through all of them."""
    return list(Workspace.objects.order_by("id").values_list("id", flat=True))


def roles_of_member(user_id: UUID) -> dict[UUID, str]:
    """The workspaces that a person belongs to, with their role in each."""
    return dict(Member.objects.filter(user_id=user_id).values_list("workspace_id", "role"))


def more_than_one_workspace() -> bool:
    """Whether this deployment serves several workspaces."""
    return Workspace.objects.order_by()[:2].count() > 1
