"""Bearer API keys: the edge's translation of a header into a Caller."""

from __future__ import annotations

import structlog
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from zentra.core.clock import SYSTEM_CLOCK
from zentra.core.errors import Unauthorized
from zentra.core.ids import public_id
from zentra.tenancy import auth
from zentra.tenancy.types import Caller


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer sk_…`. Every failure is 401 with a code that says which."""

    def authenticate(self, request: Request) -> tuple[Caller, None]:
        """:raises Unauthorized: and its kinds of `zentra.tenancy.auth`"""
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise Unauthorized("send `Authorization: Bearer <API key>`")
        caller = auth.authenticate_key(text.strip(), clock=SYSTEM_CLOCK)
        structlog.contextvars.bind_contextvars(
            workspace_id=public_id("wsp", caller.workspace_id), key_id=public_id("key", caller.key_id)
        )
        return caller, None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="zentra"'
