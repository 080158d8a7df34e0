from __future__ import annotations

from django.db import migrations

from zentra.core.sql import sql_migration


class Migration(migrations.Migration):
    dependencies = (("routing", "0001_initial"),)
    operations = (sql_migration("routing", "guards.sql"),)
