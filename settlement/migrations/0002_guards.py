from django.db import migrations

from zentra.core.sql import sql_migration


class Migration(migrations.Migration):
    # The reconciler reads the view of open items that payments publishes.
    dependencies = [("settlement", "0001_initial"), ("payments", "0002_settlement_item")]
    operations = [sql_migration("settlement", "guards.sql")]
