"""What the pages of the operator console share: who sees which workspace, what a role may do, how secrets are shown.

A member of the staff sees the workspaces of their memberships; a superuser sees all of them. A role that is not among
a page's ``write_roles`` reads. Pages of other packages build on `ScopedAdmin`, `ReadOnlyAdmin` and `ReadOnlyInline`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Final, TypeVar
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin import RelatedFieldListFilter
from django.core.exceptions import FieldDoesNotExist
from django.db.models import ForeignKey, Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from zentra.core.ids import PREFIXES, InvalidId, abbreviated, parse_public_id
from zentra.core.money import grouped_text
from zentra.tenancy.models import MemberRole, Workspace
from zentra.tenancy.selectors import more_than_one_workspace, roles_of_member
from zentra.tenancy.types import Actor

ANY_ROLE: Final = frozenset(MemberRole)
ADMINS: Final = frozenset({MemberRole.ADMIN})
#: Who works on payments, deliveries and cases; an auditor only reads.
OPERATORS: Final = frozenset({MemberRole.ADMIN, MemberRole.OPERATOR})
MONEY_OPERATORS: Final = OPERATORS | {MemberRole.FINANCE}

_Row = TypeVar("_Row", bound=Model)


def actor_of(request: HttpRequest) -> Actor:
    """The person at the console, as evidence names them."""
    return Actor(kind="operator", id=request.user.get_username())


def reach_of(request: HttpRequest, roles: Collection[MemberRole] = ANY_ROLE) -> list[UUID] | None:
    """The workspaces in which the person has one of the roles; None means all of them (a superuser)."""
    if request.user.is_superuser and request.user.is_active:
        return None
    held: dict[UUID, str] | None = getattr(request, "_roles_held", None)
    if held is None:
        held = roles_of_member(request.user.pk) if request.user.is_active else {}
        request._roles_held = held  # type: ignore[attr-defined]
    return [workspace_id for workspace_id, role in held.items() if role in roles]


def _sees_several(request: HttpRequest) -> bool:
    """Whether the person sees more than one workspace."""
    reach = reach_of(request)
    return len(reach) > 1 if reach is not None else more_than_one_workspace()


def within_reach(rows: QuerySet[_Row], reach: list[UUID] | None, path: str) -> QuerySet[_Row]:
    """The rows of the workspaces in reach. ``path`` leads from a row to its workspace's id."""
    return rows if reach is None else rows.filter(**{f"{path}__in": reach})


class ScopedRelatedFilter(RelatedFieldListFilter):
    """A list filter that offers nothing of other people's workspaces."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        path = workspace_path_of(field.remote_field.model)
        reach = reach_of(request)
        if reach is None or path is None:
            return super().field_choices(field, request, model_admin)
        ordering = self.field_admin_ordering(field, request, model_admin)
        return field.get_choices(include_blank=False, ordering=ordering, limit_choices_to={f"{path}__in": reach})


def workspace_path_of(model: type[Model]) -> str | None:
    """How a model leads to its workspace's id; None for one that belongs to no workspace."""
    if model is Workspace:
        return "id"
    try:
        model._meta.get_field("workspace")
    except FieldDoesNotExist:
        return None
    return "workspace_id"


class WorkspaceScope:
    """Mixin of a ModelAdmin whose rows belong to workspaces: reading by membership, writing by role.

    :cvar workspace_path: leads from a row to its workspace's id
    :cvar write_roles: who may add, change and run actions
    :cvar id_search: public id prefix → field, so that 'pay_…' in the search box finds its row
    """

    workspace_path: ClassVar[str] = "workspace_id"
    write_roles: ClassVar[Collection[MemberRole]] = ADMINS
    id_search: ClassVar[dict[str, str]] = {}
    show_full_result_count = False
    list_fullwidth = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return within_reach(super().get_queryset(request), reach_of(request), self.workspace_path)  # type: ignore[misc]

    def may(self, request: HttpRequest, roles: Collection[MemberRole], obj: Any = None) -> bool:
        """Whether the person has one of the roles in the row's workspace, or in any when no row is given."""
        reach = reach_of(request, roles)
        if reach is None or obj is None:
            return reach is None or bool(reach)
        return _follow(obj, self.workspace_path) in reach

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may(request, ANY_ROLE)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, ANY_ROLE, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may(request, self.write_roles)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, self.write_roles, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_work_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For actions on rows that are otherwise read-only."""
        return self.may(request, self.write_roles, obj)

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """A workspace column that would say the same in every row is left out."""
        columns = tuple(super().get_list_display(request))  # type: ignore[misc]
        return columns if _sees_several(request) else tuple(name for name in columns if name != "workspace")

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [self._scoped(item) for item in super().get_list_filter(request)]  # type: ignore[misc]

    def _scoped(self, item: Any) -> Any:
        if not isinstance(item, str) or "__" in item:
            return item
        field = self.model._meta.get_field(item)  # type: ignore[attr-defined]
        return (item, ScopedRelatedFilter) if isinstance(field, ForeignKey) else item

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        remote = db_field.remote_field.model
        path = workspace_path_of(remote)
        if path is not None:
            rows = kwargs.get("queryset", remote._default_manager.all())
            kwargs["queryset"] = within_reach(rows, reach_of(request, self.write_roles), path)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        prefix, _, _ = search_term.strip().rpartition("_")
        if prefix in self.id_search and prefix in PREFIXES:
            try:
                found = parse_public_id(prefix, search_term.strip())
            except InvalidId:
                return queryset.none(), False
            return queryset.filter(**{self.id_search[prefix]: found}), False
        return super().get_search_results(request, queryset, search_term)  # type: ignore[misc]

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """An action touches only rows of workspaces in which the person may write, whatever was ticked."""
        writable = within_reach(queryset, reach_of(request, self.write_roles), self.workspace_path)
        return super().response_action(request, writable)  # type: ignore[misc]


def shown_id(text: str) -> SafeString:
    """A public id in a narrow column; the whole of it is in the title."""
    return format_html('<span class="z-id" title="{}">{}</span>', text, abbreviated(text))


def shown_amount(minor: int | None, currency: str) -> SafeString:
    """An amount in a column; zero and nothing stand back."""
    text = "-" if minor is None else grouped_text(minor, currency)
    return format_html('<span class="z-amount{}">{}</span>', "" if minor else " z-faint", text)


class ScopedAdmin(WorkspaceScope, ModelAdmin):
    """A page of rows that belong to workspaces."""

    @display(description="id")
    def short_id(self, row: Any) -> SafeString:
        return shown_id(row.public_id)


class ReadOnly:
    """Neither add nor change nor delete; for money and evidence the database would refuse all three."""

    def has_add_permission(self, request: HttpRequest, *_object: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, *_object: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, *_object: Any) -> bool:
        return False


class ReadOnlyAdmin(ReadOnly, ScopedAdmin):
    """Rows to look at. The pages are numbered without counting the table, which may be very long."""

    paginator = InfinitePaginator


class ReadOnlyInline(ReadOnly, TabularInline):
    """Rows under a row that may be seen: whoever sees the page sees them."""

    hide_title = True

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


class SuperuserAdmin(ModelAdmin):
    """What belongs to no workspace: people and organizations."""

    def _is_superuser(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_superuser(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def show_once(
    model_admin: ModelAdmin, request: HttpRequest, *, title: str, secrets: list[tuple[str, str]], advice: str
) -> HttpResponse:
    """The answer to a POST that made secrets: the only page that ever shows them.

    They go into the body of this one answer: no redirect carries them, no message, cookie or session keeps them, and
    the page is not stored by a browser.

    :param secrets: what each is called, and its text
    """
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.model._meta,
        "title": title,
        "secrets": secrets,
        "advice": advice,
    }
    response = TemplateResponse(request, "admin/show_once.html", context)
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    return response


def confirm(
    model_admin: ModelAdmin, request: HttpRequest, *, obj: Model, title: str, consequence: str, button: str
) -> HttpResponse:
    """The page that asks before an action runs; its form posts to the same address."""
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.model._meta,
        "object": obj,
        "title": title,
        "consequence": consequence,
        "button": button,
    }
    return TemplateResponse(request, "admin/confirm.html", context)


def refuse(model_admin: admin.ModelAdmin, request: HttpRequest, message: str) -> None:
    model_admin.message_user(request, message, messages.ERROR)


def _follow(obj: Any, path: str) -> Any:
    """The value at the end of a lookup path ('payment__workspace_id')."""
    for name in path.split("__"):
        obj = getattr(obj, name)
    return obj
