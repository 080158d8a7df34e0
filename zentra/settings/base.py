"""What every environment shares. Importing it starts nothing and connects to nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.templatetags.static import static

from zentra.core.logs import logging_config
from zentra.embedded.services import broker_url, database_urls, redis_url

BASE_DIR = Path(__file__).resolve().parent.parent.parent
ENVIRON = os.environ


def database_from_url(url: str, *, pool: bool) -> dict[str, Any]:
    """A Django database entry from postgresql://user:password@host:port/name?host=/socket/dir&role=name.

    ``role`` makes every session take on that role at once (SET ROLE), for servers with one login.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    role = f" -c role={query['role']}" if query.get("role", "").isidentifier() else ""
    options: dict[str, Any] = {
        "options": f"-c timezone=UTC -c idle_in_transaction_session_timeout=60000{role}",
        **({"sslmode": query["sslmode"]} if "sslmode" in query else {}),
    }
    if pool:
        # Eight backends serve sixteen threads: the connection goes back before a provider is called.
        options["pool"] = {"min_size": 1, "max_size": 8, "timeout": 5, "max_idle": 60}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.get("host", parts.hostname or ""),
        "PORT": str(query.get("port", parts.port or "")),
        "OPTIONS": options,
        "CONN_MAX_AGE": 0 if pool else 60,
        "CONN_HEALTH_CHECKS": True,
    }


DATABASE_URLS = database_urls(ENVIRON, BASE_DIR)
REDIS_URL = redis_url(ENVIRON, BASE_DIR)
DATABASES = {
    # Only the threaded web process pools (zentra.gunicorn); a forked worker must not inherit a pool.
    "default": database_from_url(DATABASE_URLS["app"] or "", pool=ENVIRON.get("ZENTRA_DB_POOL") == "1"),
    # For `migrate` alone.
    "owner": database_from_url(DATABASE_URLS["owner"] or "", pool=False),
}
ATOMIC_REQUESTS = False

INSTALLED_APPS = [
    "zentra.apps.ZentraConfig",
    # Not the theme's own configuration: it would replace the site of zentra.admin_site.
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.simple_history",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "zentra.admin_site.ZentraAdminConfig",
    "simple_history",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "zentra.core",
    "zentra.tenancy",
    "zentra.evidence",
    "zentra.idempotency",
    "zentra.api",
    "routing",
    "ledger",
    "webhooks",
    "payments",
    "settlement",
    "zentra.demo",
]

MIDDLEWARE = [
    "zentra.api.middleware.RequestContextMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "zentra.api.middleware.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "zentra.api.middleware.BodyLimitMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "zentra.api.middleware.SessionLimitMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
]

ROOT_URLCONF = "zentra.urls"
WSGI_APPLICATION = "zentra.wsgi.application"
APPEND_SLASH = False
AUTH_USER_MODEL = "tenancy.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = ["zentra.settings.formats"]
LANGUAGE_CODE = "en-us"
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static"
WHITENOISE_USE_FINDERS = True
# People are asked to log in again after 15 idle minutes, and 8 hours after they did in any case.
SESSION_COOKIE_AGE = 15 * 60
SESSION_SAVE_EVERY_REQUEST = True
SESSION_LIMIT_SECONDS = 8 * 3600
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# A body is read whole before it is parsed, so it is bounded first. Settlement files have a bound of their own.
API_BODY_LIMIT_BYTES = 256 * 1024
FILE_BODY_LIMIT_BYTES = 64 * 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = FILE_BODY_LIMIT_BYTES

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["zentra.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["zentra.api.permissions.HasScope"],
    "DEFAULT_PARSER_CLASSES": ["zentra.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["zentra.api.renderers.EnvelopeRenderer"],
    "DEFAULT_THROTTLE_CLASSES": ["zentra.api.throttling.WorkspaceThrottle"],
    "EXCEPTION_HANDLER": "zentra.api.errors.handle_exception",
    "DEFAULT_SCHEMA_CLASS": "zentra.api.schema.ContractSchema",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Zentra payments API",
    "DESCRIPTION": "From charge to settlement. Amounts are integers of minor units; times are UTC.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # No validator: it would send the schema's address to another host.
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None, "docExpansion": "list"},
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}

# Without these bounds a publish to a dead broker holds the request for seconds.
BROKER_OPTIONS = {
    "visibility_timeout": 300,
    "max_retries": 0,
    "interval_start": 0,
    "socket_connect_timeout": 0.5,
    "socket_timeout": 1.5,
}

CELERY = {
    "broker_url": broker_url(ENVIRON, BASE_DIR),
    "broker_connection_retry_on_startup": True,
    "broker_transport_options": BROKER_OPTIONS,
    "task_ignore_result": True,
    "task_acks_late": True,
    "task_time_limit": 120,
    "task_soft_time_limit": 90,
    "worker_prefetch_multiplier": 1,
    "worker_soft_shutdown_timeout": 5,
    # A job whose broker went away finishes: ending it mid-call would make an unknown outcome, or hold a lease for
    # nothing. Its hint may come again; every job is guarded by the state of its rows.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_hijack_root_logger": False,
    "timezone": "UTC",
    "beat_schedule": {
        "resolve-unknown-outcomes": {"task": "payments.resolve_unknown", "schedule": 2.0},
        "resume-unsent-operations": {"task": "payments.resume_unsent", "schedule": 5.0},
        "reconcile-nightly": {"task": "settlement.run_nightly", "schedule": 300.0},
    },
}

# Business bounds, in seconds, that an operator may tune.
PROVIDER_CALLS_IN_FLIGHT = int(ENVIRON.get("PROVIDER_CALLS_IN_FLIGHT", "6"))
# Networks that outgoing calls may reach although they are private, as CIDR. Empty by default.
OUTGOING_ALLOWED_NETWORKS = [item for item in ENVIRON.get("OUTGOING_ALLOWED_NETWORKS", "").split(",") if item]

LOGGING = logging_config(level=ENVIRON.get("LOG_LEVEL", "INFO"), as_json=ENVIRON.get("LOG_FORMAT", "json") == "json")


def _console_file(name: str) -> Callable[[object], str]:
    return lambda _request: static(f"zentra/{name}")


UNFOLD = {
    "SITE_TITLE": "Zentra payments",
    "SITE_HEADER": "Zentra payments",
    "SITE_SUBHEADER": "From charge to settlement",
    "SITE_SYMBOL": "account_balance",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _console_file("favicon.svg")}],
    "SITE_URL": "/api/docs/",
    "STYLES": [_console_file("console.css")],
    "ENVIRONMENT": "zentra.admin_site.environment_label",
    "DASHBOARD_CALLBACK": "zentra.dashboard.dashboard",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "oklch(98.4% .014 180.72)",
            "100": "oklch(95.3% .051 180.801)",
            "200": "oklch(91% .096 180.426)",
            "300": "oklch(85.5% .138 181.071)",
            "400": "oklch(77.7% .152 181.912)",
            "500": "oklch(70.4% .14 182.503)",
            "600": "oklch(60% .118 184.704)",
            "700": "oklch(51.1% .096 186.391)",
            "800": "oklch(43.7% .078 188.216)",
            "900": "oklch(38.6% .063 188.416)",
            "950": "oklch(27.7% .046 192.524)",
        },
    },
}
