from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.test import Client

from tests.factories.console import client_of, member_of
from tests.factories.tenancy import Tenant, make_tenant
from webhooks.models import Endpoint
from zentra.tenancy.models import MemberRole

ENDPOINTS = "/admin/webhooks/endpoint/"
SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")


@pytest.fixture
def tenant(db: None) -> Tenant:
    return make_tenant()


@pytest.fixture
def admin(tenant: Tenant) -> Client:
    return client_of(member_of(tenant.workspace, MemberRole.ADMIN))


def add(client: Client, tenant: Tenant):
    body = {"workspace": tenant.workspace.id, "url": "http://127.0.0.1:9/", "description": "", "enabled_events": ""}
    return client.post(f"{ENDPOINTS}add/", body)


def kept_by(client: Client) -> str:
    """Everything that outlives an answer: cookies, sessions, the admin's own log."""
    sessions = [session.get_decoded() for session in Session.objects.all()]
    entries = [(entry.object_repr, entry.change_message) for entry in LogEntry.objects.all()]
    return f"{client.cookies} {sessions} {entries}"


class TestASigningSecret:
    def test_is_shown_once_when_the_endpoint_is_made(self, admin: Client, tenant: Tenant):
        answer = add(admin, tenant)

        (secret,) = set(SECRET.findall(answer.content.decode()))
        endpoint = Endpoint.objects.get()
        assert "no-store" in answer["Cache-Control"]
        assert secret not in kept_by(admin)
        assert secret not in admin.get(f"{ENDPOINTS}{endpoint.id}/change/").content.decode()

    def test_is_shown_once_when_it_is_rotated(self, admin: Client, tenant: Tenant):
        first = SECRET.findall(add(admin, tenant).content.decode())[0]
        endpoint = Endpoint.objects.get()

        answer = admin.post(ENDPOINTS, {"action": "rotate_secret", "_selected_action": [str(endpoint.id)]})

        (second,) = set(SECRET.findall(answer.content.decode()))
        assert second != first
        assert second not in kept_by(admin)

    @pytest.mark.parametrize("role", [MemberRole.AUDITOR, MemberRole.OPERATOR])
    def test_is_made_and_rotated_by_admins_alone(self, admin: Client, tenant: Tenant, role: MemberRole):
        add(admin, tenant)
        endpoint = Endpoint.objects.get()
        other = client_of(member_of(tenant.workspace, role))

        answer = other.post(ENDPOINTS, {"action": "rotate_secret", "_selected_action": [str(endpoint.id)]}, follow=True)

        assert not SECRET.search(answer.content.decode())
        assert bytes(Endpoint.objects.get().secret) == bytes(endpoint.secret)
        assert add(other, tenant).status_code == 403

    def test_of_another_workspace_is_out_of_reach(self, admin: Client, tenant: Tenant):
        add(admin, tenant)
        endpoint = Endpoint.objects.get()
        stranger = client_of(member_of(make_tenant("Globex").workspace))

        stranger.post(ENDPOINTS, {"action": "rotate_secret", "_selected_action": [str(endpoint.id)]})

        assert bytes(Endpoint.objects.get().secret) == bytes(endpoint.secret)
        assert stranger.get(f"{ENDPOINTS}{endpoint.id}/change/").status_code == 302
