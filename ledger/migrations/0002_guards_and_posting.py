from django.db import migrations

from zentra.core.sql import sql_migration


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial")]
    operations = [
        sql_migration("ledger", "columns.sql"),
        sql_migration("ledger", "chart.sql"),
        sql_migration("ledger", "guards.sql"),
        sql_migration("ledger", "posting.sql"),
    ]
