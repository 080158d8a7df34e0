from __future__ import annotations

from typing import Any, cast

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from zentra.core.errors import Forbidden, MethodNotAllowed
from zentra.tenancy.types import Caller


class HasScope(BasePermission):
    """The key must carry the scope that the view names for the method; a view without one serves nobody."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """:raises Forbidden: the scope is missing; it is named in details"""
        scopes = getattr(view, "scopes", {})
        method = "GET" if request.method in ("HEAD", "OPTIONS") else str(request.method)
        if method not in scopes:
            raise MethodNotAllowed(f"{request.method} is not supported here")
        if not cast(Caller, request.user).may(scopes[method]):
            raise Forbidden(details={"required_scope": scopes[method].value})
        return True
