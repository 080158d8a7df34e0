from django.db import migrations

from zentra.core.sql import sql_migration


class Migration(migrations.Migration):
    dependencies = [("payments", "0001_initial")]
    operations = [sql_migration("payments", "settlement_item.sql")]
