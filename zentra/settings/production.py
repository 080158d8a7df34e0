"""A deployment: every secret comes from the environment, and a missing one stops the start with its name."""

from __future__ import annotations

import base64

from django.core.exceptions import ImproperlyConfigured

from zentra.settings.base import *  # noqa: F403
from zentra.settings.base import ENVIRON


def _required(name: str) -> str:
    value = ENVIRON.get(name, "")
    if not value:
        raise ImproperlyConfigured(f"{name} must be set in production")
    return value


for _name in ("DATABASE_URL", "REDIS_URL"):
    _required(_name)

DEBUG = False
SECRET_KEY = _required("SECRET_KEY")
ZENTRA_MASTER_KEY = base64.b64decode(_required("ZENTRA_MASTER_KEY"))
if len(ZENTRA_MASTER_KEY) != 32:
    raise ImproperlyConfigured("ZENTRA_MASTER_KEY must be 32 bytes in base64: `openssl rand -base64 32` makes one")
ALLOWED_HOSTS = _required("ALLOWED_HOSTS").split(",")
CSRF_TRUSTED_ORIGINS = [item for item in ENVIRON.get("CSRF_TRUSTED_ORIGINS", "").split(",") if item]
ZENTRA_ALLOW_LIVE = ENVIRON.get("ZENTRA_ALLOW_LIVE", "") == "1"
_HTTPS = ENVIRON.get("ZENTRA_HTTPS", "1") == "1"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if _HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _HTTPS else None
