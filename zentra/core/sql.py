"""SQL that lives in files beside its app: functions, triggers and views, run by migrations."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations

_ROOT = Path(__file__).resolve().parent.parent.parent


def sql_migration(app: str, name: str, *, reverse: str = migrations.RunSQL.noop) -> migrations.RunSQL:
    """A migration step that runs `<app>/sql/<name>` whole, for example ("ledger", "guards.sql").

    :param app: the app's package as a path from the root ('ledger', 'zentra/evidence')
    """
    return migrations.RunSQL((_ROOT / app / "sql" / name).read_text(encoding="utf-8"), reverse)
