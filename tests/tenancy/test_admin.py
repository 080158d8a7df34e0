from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.test import Client

from tests.factories.console import client_of, member_of, superuser
from tests.factories.tenancy import Tenant, make_tenant
from zentra.core.clock import SYSTEM_CLOCK
from zentra.tenancy.auth import ExpiredApiKey, authenticate_key
from zentra.tenancy.models import ApiKey, Member, MemberRole, Merchant, Organization, User, Workspace

pytestmark = pytest.mark.django_db

KEY = re.compile(r"[sp]k_sandbox_[0-9A-Za-z]{46}")
ADD_KEY = "/admin/tenancy/apikey/add/"


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("Acme")


@pytest.fixture
def other() -> Tenant:
    return make_tenant("Globex")


@pytest.fixture
def root() -> Client:
    return client_of(superuser())


@pytest.fixture
def admin(tenant: Tenant) -> Client:
    return client_of(member_of(tenant.workspace, MemberRole.ADMIN))


def new_key(tenant: Tenant, **changes: object) -> dict[str, object]:
    return {
        "workspace": str(tenant.workspace.id),
        "name": "shop backend",
        "kind": "sk",
        "scopes": ["payments:write"],
        **changes,
    }


class TestAnApiKey:
    def test_is_shown_once_on_the_page_that_answers_its_creation(self, admin: Client, tenant: Tenant):
        answer = admin.post(ADD_KEY, new_key(tenant))

        (text,) = set(KEY.findall(answer.content.decode()))
        key = ApiKey.objects.get(name="shop backend")
        assert answer.status_code == 200
        assert authenticate_key(text, clock=SYSTEM_CLOCK).key_id == key.id
        assert "no-store" in answer["Cache-Control"]
        for page in ("", f"{key.id}/change/", f"{key.id}/history/"):
            shown = admin.get(f"/admin/tenancy/apikey/{page}")
            assert shown.status_code == 200
            assert text not in shown.content.decode()

    def test_is_in_no_cookie_session_address_or_log_entry(self, admin: Client, tenant: Tenant):
        answer = admin.post(ADD_KEY, new_key(tenant))

        (text,) = set(KEY.findall(answer.content.decode()))
        kept = [str(answer.headers), str(answer.cookies), str(admin.cookies)]
        kept += [str(session.get_decoded()) for session in Session.objects.all()]
        kept += [f"{entry.object_repr} {entry.change_message}" for entry in LogEntry.objects.all()]
        assert len(kept) >= 5
        assert not any(text in piece or text[20:] in piece for piece in kept)

    def test_gets_the_scopes_that_were_ticked_and_the_person_as_its_maker(self, admin: Client, tenant: Tenant):
        admin.post(ADD_KEY, new_key(tenant, scopes=["payments:read", "ledger:read"]))

        key = ApiKey.objects.get(name="shop backend")
        assert key.scopes == ["payments:read", "ledger:read"]
        assert key.created_by.startswith("operator:admin-")

    def test_that_is_public_gets_no_more_than_tokenization(self, admin: Client, tenant: Tenant):
        answer = admin.post(ADD_KEY, new_key(tenant, kind="pk"))

        assert "Public keys may only tokenize" in answer.content.decode()
        assert not ApiKey.objects.filter(name="shop backend").exists()

    def test_is_rotated_only_after_a_confirmation(self, admin: Client, tenant: Tenant):
        old = ApiKey.objects.get(workspace=tenant.workspace)
        address = f"/admin/tenancy/apikey/{old.id}/rotate/"

        asked = admin.get(address)
        before = ApiKey.objects.count()
        answer = admin.post(address)

        (text,) = set(KEY.findall(answer.content.decode()))
        assert "Rotate this API key?" in asked.content.decode()
        assert before == 1
        assert ApiKey.objects.get(rotated_from=old).id == authenticate_key(text, clock=SYSTEM_CLOCK).key_id
        assert authenticate_key(tenant.secret_key, clock=SYSTEM_CLOCK).key_id == old.id
        assert ApiKey.objects.get(id=old.id).expires_at is not None

    def test_is_revoked_only_after_a_confirmation(self, admin: Client, tenant: Tenant):
        key = ApiKey.objects.get(workspace=tenant.workspace)
        address = f"/admin/tenancy/apikey/{key.id}/revoke/"

        asked = admin.get(address)
        assert "cannot be undone" in asked.content.decode()
        assert authenticate_key(tenant.secret_key, clock=SYSTEM_CLOCK).key_id == key.id

        answer = admin.post(address)

        assert answer.status_code == 302
        with pytest.raises(ExpiredApiKey):
            authenticate_key(tenant.secret_key, clock=SYSTEM_CLOCK)
        assert LogEntry.objects.filter(object_id=str(key.id), change_message__contains="Revoked").exists()

    def test_is_neither_edited_nor_deleted(self, admin: Client, tenant: Tenant):
        key = ApiKey.objects.get(workspace=tenant.workspace)

        assert admin.post(f"/admin/tenancy/apikey/{key.id}/change/", {"name": "x"}).status_code == 403
        assert admin.post(f"/admin/tenancy/apikey/{key.id}/delete/", {"post": "yes"}).status_code == 403
        assert ApiKey.objects.get(id=key.id).name == key.name

    @pytest.mark.parametrize("role", [MemberRole.AUDITOR, MemberRole.OPERATOR, MemberRole.FINANCE])
    def test_is_made_rotated_and_revoked_by_admins_alone(self, tenant: Tenant, role: MemberRole):
        client = client_of(member_of(tenant.workspace, role))
        key = ApiKey.objects.get(workspace=tenant.workspace)

        assert client.post(ADD_KEY, new_key(tenant)).status_code == 403
        for action in ("rotate", "revoke"):
            assert client.post(f"/admin/tenancy/apikey/{key.id}/{action}/").status_code == 403
        assert ApiKey.objects.count() == 1
        assert ApiKey.objects.get().revoked_at is None


class TestAMember:
    def test_sees_the_rows_of_their_workspaces_alone(self, admin: Client, tenant: Tenant, other: Tenant):
        colleague, stranger = member_of(tenant.workspace), member_of(other.workspace)
        ours, theirs = (ApiKey.objects.get(workspace=item.workspace).masked for item in (tenant, other))
        pages = {
            "workspace": ("Acme", "Globex"),
            "merchant": ("Acme", "Globex"),
            "apikey": (ours, theirs),
            "member": (colleague.username, stranger.username),
        }

        for page, (seen, hidden) in pages.items():
            shown = admin.get(f"/admin/tenancy/{page}/").content.decode()
            assert seen in shown
            assert hidden not in shown
            assert "Globex" not in shown

    def test_is_told_the_workspace_of_a_row_only_when_there_are_several(self, tenant: Tenant, other: Tenant):
        user = member_of(tenant.workspace)
        one = client_of(user).get("/admin/tenancy/apikey/").content.decode()
        Member.objects.create(workspace=other.workspace, user=user, role=MemberRole.AUDITOR)
        two = client_of(user).get("/admin/tenancy/apikey/").content.decode()

        assert "field-workspace" not in one
        assert two.count("field-workspace") >= 2

    def test_does_not_reach_another_workspace_s_rows(self, admin: Client, other: Tenant):
        key = ApiKey.objects.get(workspace=other.workspace)
        rows = {"workspace": other.workspace.id, "merchant": other.merchant.id, "apikey": key.id}

        for page, row in rows.items():
            assert admin.get(f"/admin/tenancy/{page}/{row}/change/").status_code == 302
            assert "Globex" not in admin.get(f"/admin/tenancy/{page}/{row}/history/", follow=True).content.decode()
        assert admin.post(f"/admin/tenancy/apikey/{key.id}/revoke/").status_code == 403
        assert ApiKey.objects.get(id=key.id).revoked_at is None

    def test_makes_no_key_for_another_workspace(self, admin: Client, other: Tenant):
        answer = admin.post(ADD_KEY, new_key(other))

        assert "Select a valid choice" in answer.content.decode()
        assert not ApiKey.objects.filter(name="shop backend").exists()

    def test_writes_only_where_their_role_allows_it(self, admin: Client, tenant: Tenant, other: Tenant):
        auditor_here = User.objects.get(memberships__workspace=tenant.workspace)
        Member.objects.create(workspace=other.workspace, user=auditor_here, role=MemberRole.AUDITOR)
        key = ApiKey.objects.get(workspace=other.workspace)

        assert admin.get(f"/admin/tenancy/apikey/{key.id}/change/").status_code == 200
        assert admin.post(f"/admin/tenancy/apikey/{key.id}/revoke/").status_code == 403
        assert "Select a valid choice" in admin.post(ADD_KEY, new_key(other)).content.decode()
        assert ApiKey.objects.get(id=key.id).revoked_at is None

    def test_sees_neither_people_nor_organizations(self, admin: Client):
        assert admin.get("/admin/tenancy/user/").status_code == 403
        assert admin.get("/admin/tenancy/organization/").status_code == 403
        assert "Organizations" not in admin.get("/admin/tenancy/apikey/").content.decode()

    def test_without_membership_sees_nothing(self, tenant: Tenant):
        client = client_of(User.objects.create_user("new", is_staff=True))

        assert client.get("/admin/tenancy/workspace/").status_code == 403
        assert "no workspace yet" in client.get("/admin/").content.decode()

    def test_who_is_not_staff_does_not_get_in(self, tenant: Tenant):
        user = member_of(tenant.workspace)
        User.objects.filter(id=user.id).update(is_staff=False)

        answer = client_of(User.objects.get(id=user.id)).get("/admin/tenancy/apikey/")

        assert answer.status_code == 302
        assert "/admin/login/" in answer["Location"]


class TestAWorkspace:
    def test_is_made_through_its_service_with_a_default_merchant(self, root: Client):
        organization = Organization.objects.create(name="Initech")
        body = {"organization": organization.id, "name": "Initech", "environment": "sandbox", "time_zone": "UTC"}

        answer = root.post("/admin/tenancy/workspace/add/", body)

        assert answer.status_code == 302
        assert Merchant.objects.get(workspace__name="Initech").is_default

    def test_is_not_made_by_a_member(self, admin: Client, tenant: Tenant):
        body = {
            "organization": tenant.workspace.organization_id,
            "name": "x",
            "environment": "live",
            "time_zone": "UTC",
        }

        assert admin.post("/admin/tenancy/workspace/add/", body).status_code == 403
        assert Workspace.objects.count() == 1

    def test_keeps_a_history_of_its_changes(self, root: Client, tenant: Tenant):
        body = {"name": "Acme", "time_zone": "Europe/Amsterdam", "requests_per_minute": 50, "payment_limit_minor": ""}

        root.post(f"/admin/tenancy/workspace/{tenant.workspace.id}/change/", body)

        history = root.get(f"/admin/tenancy/workspace/{tenant.workspace.id}/history/").content.decode()
        assert Workspace.objects.get(id=tenant.workspace.id).time_zone == "Europe/Amsterdam"
        assert "Europe/Amsterdam" in history

    def test_refuses_a_time_zone_that_does_not_exist(self, root: Client, tenant: Tenant):
        body = {"name": "Acme", "time_zone": "Mars/Base", "requests_per_minute": 50, "payment_limit_minor": ""}

        answer = root.post(f"/admin/tenancy/workspace/{tenant.workspace.id}/change/", body)

        assert "not a name of the IANA database" in answer.content.decode()
        assert Workspace.objects.get(id=tenant.workspace.id).time_zone == "UTC"

    def test_gets_its_request_rate_from_superusers_alone(self, admin: Client, tenant: Tenant):
        before = Workspace.objects.get(id=tenant.workspace.id).requests_per_minute
        body = {"name": "Renamed", "time_zone": "UTC", "requests_per_minute": before + 1, "payment_limit_minor": ""}

        admin.post(f"/admin/tenancy/workspace/{tenant.workspace.id}/change/", body)

        workspace = Workspace.objects.get(id=tenant.workspace.id)
        assert (workspace.name, workspace.requests_per_minute) == ("Renamed", before)


class TestAMerchant:
    def test_is_added_and_found_by_its_id(self, admin: Client, tenant: Tenant):
        admin.post("/admin/tenancy/merchant/add/", {"workspace": tenant.workspace.id, "name": "Second shop"})

        merchant = Merchant.objects.get(name="Second shop")
        found = admin.get("/admin/tenancy/merchant/", {"q": merchant.public_id}).content.decode()
        assert "Second shop" in found
        assert tenant.merchant.public_id not in found

    def test_that_is_the_default_is_not_suspended(self, admin: Client, tenant: Tenant):
        body = {"name": "Acme", "status": "suspended", "payout_destination": ""}

        answer = admin.post(f"/admin/tenancy/merchant/{tenant.merchant.id}/change/", body)

        assert "cannot be suspended" in answer.content.decode()
        assert Merchant.objects.get(id=tenant.merchant.id).status == "active"


class TestAUser:
    def test_is_added_and_gets_a_new_password(self, root: Client):
        body = {"username": "grace", "password1": "a long phrase 1", "password2": "a long phrase 1"}

        root.post("/admin/tenancy/user/add/", {**body, "usable_password": "true"})
        user = User.objects.get(username="grace")
        page = root.get(f"/admin/tenancy/user/{user.id}/change/")
        root.post(
            f"/admin/tenancy/user/{user.id}/password/",
            {"password1": "another phrase 2", "password2": "another phrase 2", "usable_password": "true"},
        )

        assert page.status_code == 200
        assert User.objects.get(username="grace").check_password("another phrase 2")


class TestTheSession:
    def test_ends_after_its_limit_however_busy(self, root: Client):
        assert root.get("/admin/").status_code == 200
        session = root.session
        session["began"] -= 8 * 3600 + 1
        session.save()

        answer = root.get("/admin/")

        assert answer.status_code == 302
        assert "/admin/login/" in answer["Location"]

    def test_is_renewed_by_every_request_and_ends_after_idle_minutes(self, root: Client):
        cookie = root.get("/admin/").cookies["sessionid"]

        assert cookie["max-age"] == 15 * 60
        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"


class TestSecurityHeaders:
    @pytest.mark.parametrize("path", ["/admin/login/", "/api/docs/"])
    def test_a_page_loads_nothing_from_elsewhere_and_runs_no_inline_script(self, client: Client, path: str):
        answer = client.get(path)

        policy = dict(part.strip().partition(" ")[::2] for part in answer["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'self'"
        assert "unsafe-inline" not in policy["script-src"]
        assert not re.search(r"https?:|\*", answer["Content-Security-Policy"])
        assert not re.search(r"<script(?![^>]*\ssrc=)", answer.content.decode())
        assert policy["frame-ancestors"] == "'none'"
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["X-Content-Type-Options"] == "nosniff"

    def test_an_answer_of_the_api_may_load_nothing(self, client: Client):
        assert client.get("/api/v1/payments")["Content-Security-Policy"].startswith("default-src 'none'")
