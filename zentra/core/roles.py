"""Two database roles: the owner migrates, the app role works. What the app role may do is decided here, once.

An app's AppConfig names ``append_only_tables`` (SELECT, INSERT) and ``read_only_tables`` (SELECT; written through
functions of the owner). Every other table gets full row access. Nothing may be truncated, nothing altered.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import connections
from psycopg import sql

APP_ROLE = "zentra_app"


class UnsafeDatabaseRole(RuntimeError):
    """A live deployment connects as an owner or superuser, whom no guard of the database stops."""


def grant_app_role(*, using: str, **_signal: Any) -> None:
    """Give the app role its privileges, after each migration. A cluster without that role is left as it is."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [APP_ROLE])
        if cursor.fetchone() is None:
            return
        role = sql.Identifier(APP_ROLE)
        for statement in (
            "GRANT USAGE ON SCHEMA public TO {role}",
            "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
            "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
            "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}",
        ):
            cursor.execute(sql.SQL(statement).format(role=role))
        for table, taken in _restricted_tables():
            cursor.execute(
                sql.SQL("REVOKE {taken} ON {table} FROM {role}").format(
                    taken=sql.SQL(taken), table=sql.Identifier(table), role=role
                )
            )


def _restricted_tables() -> list[tuple[str, str]]:
    found = []
    for config in apps.get_app_configs():
        found += [(table, "UPDATE, DELETE") for table in getattr(config, "append_only_tables", ())]
        found += [(table, "INSERT, UPDATE, DELETE") for table in getattr(config, "read_only_tables", ())]
    return found


def require_fit_role(*, using: str = "default") -> None:
    """Refuse to serve live money as a role that the database's guards cannot stop.

    :raises UnsafeDatabaseRole: names what is wrong with the connected role
    """
    faults = role_faults(using=using)
    if faults:
        raise UnsafeDatabaseRole(f"a live deployment must not connect as a role that is: {', '.join(faults)}")


def role_faults(*, using: str = "default") -> list[str]:
    """Why the connected role is too powerful for live money; empty when it is fit."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            """
            SELECT r.rolsuper, r.rolbypassrls,
                   EXISTS (SELECT 1 FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
                            AND c.relkind = 'r' AND c.relowner = r.oid)
              FROM pg_roles r WHERE r.rolname = session_user
            """
        )
        superuser, bypass, owner = cursor.fetchone()
    faults = {"superuser": superuser, "bypasses row security": bypass, "owns tables": owner}
    return [name for name, present in faults.items() if present]
