from django.db import migrations

from zentra.core.sql import sql_migration


class Migration(migrations.Migration):
    dependencies = [("evidence", "0001_initial")]
    operations = [sql_migration("zentra/evidence", "append_only.sql")]
