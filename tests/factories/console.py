from __future__ import annotations

from uuid import uuid4

from django.test import Client

from zentra.tenancy.models import Member, MemberRole, User, Workspace


def member_of(workspace: Workspace, role: MemberRole = MemberRole.ADMIN) -> User:
    """A person of the staff with one membership."""
    user = User.objects.create_user(f"{role.value}-{uuid4().hex[:6]}", is_staff=True)
    Member.objects.create(workspace=workspace, user=user, role=role)
    return user


def client_of(user: User) -> Client:
    """A browser in which the person is logged in."""
    client = Client()
    client.force_login(user)
    return client


def superuser(name: str = "ada") -> User:
    return User.objects.create_superuser(name)
