"""The web process: threads, because a request waits for a provider; one database pool for all of them.

Run as ``gunicorn -c python:zentra.gunicorn zentra.wsgi``. Sixteen threads share eight connections: a thread that
waits for a provider has given its connection back.
"""

from __future__ import annotations

import os

os.environ.setdefault("ZENTRA_DB_POOL", "1")

bind = os.environ.get("WEB_BIND", "127.0.0.1:8000")
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "1"))
threads = int(os.environ.get("WEB_THREADS", "16"))
timeout = 60
graceful_timeout = 20
keepalive = 15
max_requests = int(os.environ.get("WEB_MAX_REQUESTS", "0"))
accesslog = None
