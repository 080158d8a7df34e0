"""The test suite: fixed secrets, quiet logs, no pool but in the web server."""

from __future__ import annotations

import os

from zentra.core.logs import logging_config
from zentra.settings.base import *  # noqa: F403
from zentra.settings.base import BROKER_OPTIONS, CELERY, DATABASE_URLS, ENVIRON, database_from_url

DEBUG = False
ALLOWED_HOSTS = ["*"]
SECRET_KEY = "tests only: not a secret, and long enough for the framework's own check of keys"  # noqa: S105
ZENTRA_MASTER_KEY = b"tests only: thirty-two bytes key"
ZENTRA_ALLOW_LIVE = ENVIRON.get("ZENTRA_ALLOW_LIVE") == "1"
DATABASES = {
    "default": database_from_url(DATABASE_URLS["app"] or "", pool=ENVIRON.get("ZENTRA_DB_POOL") == "1"),
    "owner": {**database_from_url(DATABASE_URLS["owner"] or "", pool=False), "TEST": {"MIRROR": "default"}},
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
OUTGOING_ALLOWED_NETWORKS = ["127.0.0.1/32"]
LOGGING = logging_config(level="CRITICAL", as_json=True)
# Every run and every database of a test has a queue of its own: a worker must not chew another test's hints.
_QUEUE_PREFIX = ENVIRON.get("CELERY_KEY_PREFIX") or f"zentra-test-{os.getpid()}:"
CELERY = {**CELERY, "broker_transport_options": {**BROKER_OPTIONS, "global_keyprefix": _QUEUE_PREFIX}}
WHITENOISE_AUTOREFRESH = True
