"""The WSGI entry point of the web process."""

from __future__ import annotations

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from zentra.core.roles import require_fit_role

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zentra.settings.production")
application = get_wsgi_application()

if settings.ZENTRA_ALLOW_LIVE:
    require_fit_role()
