"""
The private PostgreSQL and Valkey of a checkout, and the environment of its first run.

Everything here works before Django is imported, and most of it before anything is installed: the package uses the
standard library and the two client libraries (psycopg, redis) alone, and imports those only where it asks a server.

- `environment`: a private virtual environment from requirements.lock, made by the first run of manage.py.
- `services`: which servers this process needs, their addresses (starts nothing), and starting them.
- `postgres`, `valkey`: one server each. Any number of processes may ask for it; exactly one starts it.
- `cli`: `manage.py services start|status|stop|reset`.

Environment variables
    DATABASE_URL, DATABASE_OWNER_URL   an external PostgreSQL; nothing is embedded for it
    REDIS_URL                          an external Redis or Valkey; nothing is embedded for it
    ZENTRA_STATE_DIR                   where the embedded servers keep their files (default: .zentra in the checkout)
    ZENTRA_PG_BINDIR                   directory of the PostgreSQL programs (default: those of the installed wheel)
    ZENTRA_VALKEY_BIN                  the Valkey or Redis server program (default: that of the installed wheel)
    ZENTRA_VENV                        the private virtual environment (default: .venv in the checkout); `off` says
                                       that the environment is managed elsewhere and is not to be looked at
"""
