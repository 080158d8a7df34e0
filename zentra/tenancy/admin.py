"""Organizations, workspaces, merchants, API keys and people in the admin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from simple_history.admin import SimpleHistoryAdmin
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from zentra.core.clock import SYSTEM_CLOCK
from zentra.core.errors import ZentraError
from zentra.tenancy import services
from zentra.tenancy.clocks import clock_for
from zentra.tenancy.console import (
    ReadOnlyInline,
    ScopedAdmin,
    SuperuserAdmin,
    actor_of,
    confirm,
    refuse,
    show_once,
)
from zentra.tenancy.models import ApiKey, Member, Merchant, MerchantStatus, Organization, User, Workspace
from zentra.tenancy.tones import TONES
from zentra.tenancy.types import PUBLIC_SCOPES, Environment, KeyKind, Scope

KEY_ADVICE = (
    "Copy it now to where your backend keeps its secrets. Only a keyed hash is stored, so nobody can show it again; "
    "a lost key is rotated."
)

# Roles are memberships of a workspace; the framework's groups would be a second, unused list of permissions.
admin.site.unregister(Group)


class MembershipInline(ReadOnlyInline):
    model = Member
    fields = ("workspace", "role")
    verbose_name_plural = "memberships"


@admin.register(User)
class UserAdmin(DjangoUserAdmin, SuperuserAdmin):
    """The framework's own pages for users, for superusers alone."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "full_name", "email", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser")
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    inlines = (MembershipInline,)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )

    def get_inlines(self, request: HttpRequest, obj: User | None) -> Any:
        return self.inlines if obj else ()

    @display(description="name")
    def full_name(self, user: User) -> str:
        return user.get_full_name() or "-"


@admin.register(Member)
class MemberAdmin(ScopedAdmin):
    """Who belongs to which workspace. Members see their colleagues; superusers decide."""

    list_display = ("user", "workspace", "role_label")
    list_filter = ("workspace", "role")
    list_select_related = ("user", "workspace")
    search_fields = ("user__username", "user__email")
    write_roles = frozenset()

    @display(description="role", label={"admin": "primary", "auditor": "info"})
    def role_label(self, member: Member) -> str:
        return member.role

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, self.write_roles, obj)


@admin.register(Organization)
class OrganizationAdmin(SuperuserAdmin):
    list_display = ("name", "created_at")
    search_fields = ("name",)
    readonly_fields = ("created_at",)


class WorkspaceForm(forms.ModelForm):
    class Meta:
        model = Workspace
        fields = ("organization", "name", "environment", "time_zone", "requests_per_minute", "payment_limit_minor")

    def clean_time_zone(self) -> str:
        name = self.cleaned_data["time_zone"]
        try:
            services.require_time_zone(name)
        except ZentraError as refusal:
            raise ValidationError(refusal.message, code=refusal.code) from refusal
        return name


class HistoryAdmin(SimpleHistoryAdmin, ScopedAdmin):
    """Settings whose changes are kept; an old state is looked at, never brought back."""

    def revert_disabled(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


@admin.register(Workspace)
class WorkspaceAdmin(HistoryAdmin):
    """Superusers make workspaces; the admins of one change its name, day and payment limit."""

    form = WorkspaceForm
    workspace_path = "id"
    id_search = {"wsp": "id"}
    list_display = ("name", "environment_label", "organization", "time_zone", "requests_per_minute", "short_id")
    list_filter = ("environment",)
    list_select_related = ("organization",)
    search_fields = ("name", "organization__name")
    history_list_display = ("time_zone", "requests_per_minute", "payment_limit_minor")
    readonly_fields = ("public_id", "created_at")
    fieldsets = (
        (None, {"fields": ("public_id", "organization", "name", "environment")}),
        ("Rules", {"fields": ("time_zone", "requests_per_minute", "payment_limit_minor")}),
    )

    @display(description="environment", label=TONES)
    def environment_label(self, workspace: Workspace) -> str:
        return workspace.environment

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may(request, ())

    def get_fieldsets(self, request: HttpRequest, obj: Workspace | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("organization", "name", "environment", "time_zone")}),)
        return super().get_fieldsets(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Workspace | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        fixed = ("public_id", "organization", "environment", "created_at")
        return fixed if request.user.is_superuser else (*fixed, "requests_per_minute")

    def save_model(self, request: HttpRequest, obj: Workspace, form: Any, change: bool) -> None:
        if change:
            services.update_workspace(
                workspace_id=obj.id,
                name=obj.name,
                time_zone=obj.time_zone,
                requests_per_minute=obj.requests_per_minute,
                payment_limit_minor=obj.payment_limit_minor,
            )
            return
        made = services.create_workspace(
            organization=obj.organization,
            name=obj.name,
            environment=Environment(obj.environment),
            time_zone=obj.time_zone,
        )
        obj.pk = made.pk
        obj._state.adding = False


class MerchantForm(forms.ModelForm):
    class Meta:
        model = Merchant
        fields = ("workspace", "name", "status", "payout_destination")

    def clean_status(self) -> str:
        status = self.cleaned_data["status"]
        if self.instance.is_default and status != MerchantStatus.ACTIVE:
            refusal = services.DefaultMerchantNeeded()
            raise ValidationError(refusal.message, code=refusal.code)
        return status


@admin.register(Merchant)
class MerchantAdmin(HistoryAdmin):
    form = MerchantForm
    id_search = {"mer": "id"}
    list_display = ("name", "status_label", "is_default", "payout_destination", "workspace", "short_id")
    list_filter = ("status", "workspace")
    list_select_related = ("workspace",)
    search_fields = ("name",)
    history_list_display = ("status", "payout_destination")
    readonly_fields = ("public_id", "is_default", "created_at")

    @display(description="status", label=TONES)
    def status_label(self, merchant: Merchant) -> str:
        return merchant.status

    def get_fields(self, request: HttpRequest, obj: Merchant | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("workspace", "name", "payout_destination")
        return ("public_id", "workspace", "name", "status", "is_default", "payout_destination", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Merchant | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "workspace") if obj else ()

    def save_model(self, request: HttpRequest, obj: Merchant, form: Any, change: bool) -> None:
        if change:
            services.update_merchant(
                merchant_id=obj.id,
                name=obj.name,
                status=MerchantStatus(obj.status),
                payout_destination=obj.payout_destination,
            )
            return
        made = services.create_merchant(
            workspace_id=obj.workspace_id, name=obj.name, payout_destination=obj.payout_destination
        )
        obj.pk = made.pk
        obj._state.adding = False


class ApiKeyForm(forms.ModelForm):
    """A new key. Its scopes are ticked; all that its kind may have are ticked at first."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, scope.value) for scope in Scope],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        initial=[scope.value for scope in Scope],
        help_text=f"Write implies read. A public key may only have {', '.join(PUBLIC_SCOPES)}.",
    )

    class Meta:
        model = ApiKey
        fields = ("workspace", "name", "kind", "scopes")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("kind") == KeyKind.PUBLIC and set(data.get("scopes", ())) - {item.value for item in PUBLIC_SCOPES}:
            refusal = services.ScopeNotAllowed()
            self.add_error("scopes", ValidationError(f"{refusal.summary} {refusal.remedy}", code=refusal.code))
        return data


@admin.register(ApiKey)
class ApiKeyAdmin(ScopedAdmin):
    """Keys are made, rotated and revoked, never edited or deleted. The text of a key is shown once."""

    form = ApiKeyForm
    id_search = {"key": "id"}
    list_display = ("name", "masked", "kind_label", "state", "workspace", "created_at", "expires_at")
    list_filter = ("workspace", "kind", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("workspace",)
    search_fields = ("name", "public__exact")
    ordering = ("-created_at",)
    actions_detail = ("rotate", "revoke")
    shown = ("name", "masked", "kind_label", "state", "workspace", "shown_scopes", "created_at", "created_by",
             "expires_at", "revoked_at", "rotated_from", "public_id")  # fmt: skip

    @display(description="key")
    def masked(self, key: ApiKey) -> str:
        return key.masked

    @display(description="kind", label={"secret": "primary", "public": "info"})
    def kind_label(self, key: ApiKey) -> str:
        return KeyKind(key.kind).name.lower()

    @display(description="state", label=TONES)
    def state(self, key: ApiKey) -> str:
        now = SYSTEM_CLOCK.now()
        if key.revoked_at:
            return "revoked"
        if key.expires_at:
            return "expired" if key.expires_at <= now else "expiring"
        return "active"

    @display(description="scopes")
    def shown_scopes(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_rotate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        key = self.get_object(request, str(object_id))
        return key is not None and key.revoked_at is None and self.may(request, self.write_roles, key)

    has_revoke_permission = has_rotate_permission

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return self.shown if obj else ApiKeyForm.Meta.fields

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return self.shown if obj else ()

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        new = services.create_api_key(
            workspace=obj.workspace,
            name=obj.name,
            kind=KeyKind(obj.kind),
            actor=actor_of(request),
            scopes=[Scope(value) for value in form.cleaned_data["scopes"]],
        )
        obj.__dict__.update(new.key.__dict__)
        # For response_add alone: lives as long as this request.
        obj.text_shown_once = new.text.text  # type: ignore[attr-defined]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        # The page that follows shows the key; there is no other way to leave the form.
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **only_save})

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self._show(request, obj, obj.text_shown_once, f"API key “{obj.name}” was created")

    @action(description="Rotate", icon="autorenew", url_path="rotate", permissions=["rotate"])
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = self._key(request, object_id)
        if request.method != "POST":
            return confirm(
                self,
                request,
                obj=key,
                title="Rotate this API key?",
                consequence="A successor with the same scopes is made and shown once. The old key works for 24 more "
                "hours, so that your backend can change over.",
                button="Rotate the key",
            )
        try:
            new = services.rotate_api_key(key_id=key.id, actor=actor_of(request), clock=clock_for(key.workspace_id))
        except ZentraError as refusal:
            return self._refused(request, refusal, key)
        self.log_change(request, key, f"Rotated; the successor is {new.key.public_id}.")
        return self._show(request, new.key, new.text.text, f"API key “{key.name}” was rotated")

    @action(description="Revoke", icon="block", url_path="revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = self._key(request, object_id)
        if request.method != "POST":
            return confirm(
                self,
                request,
                obj=key,
                title="Revoke this API key?",
                consequence="Every request with it is refused from now on. This cannot be undone.",
                button="Revoke the key",
            )
        try:
            services.revoke_api_key(key_id=key.id, clock=clock_for(key.workspace_id))
        except ZentraError as refusal:
            return self._refused(request, refusal, key)
        self.log_change(request, key, "Revoked.")
        self.message_user(request, f"{key} was revoked.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:tenancy_apikey_change", args=[key.id]))

    def _key(self, request: HttpRequest, object_id: str) -> ApiKey:
        key = self.get_object(request, object_id)
        if key is None:
            raise PermissionDenied
        return key

    def _refused(self, request: HttpRequest, refusal: ZentraError, key: ApiKey) -> HttpResponse:
        refuse(self, request, refusal.message)
        return HttpResponseRedirect(reverse("admin:tenancy_apikey_change", args=[key.id]))

    def _show(self, request: HttpRequest, key: ApiKey, text: str, title: str) -> HttpResponse:
        return show_once(self, request, title=title, secrets=[(key.workspace.name, text)], advice=KEY_ADVICE)
