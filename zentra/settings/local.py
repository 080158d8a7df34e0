"""A checkout on one machine: embedded services unless DATABASE_URL and REDIS_URL are set. Not for the internet."""

from __future__ import annotations

from zentra.settings.base import *  # noqa: F403
from zentra.settings.base import BASE_DIR, ENVIRON
from zentra.settings.local_secrets import local_secret

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
SECRET_KEY = ENVIRON.get("SECRET_KEY") or local_secret(BASE_DIR, "django").hex()
ZENTRA_MASTER_KEY = local_secret(BASE_DIR, "master")
ZENTRA_ALLOW_LIVE = False
