from django.db import migrations

from zentra.core.sql import sql_migration


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0001_initial")]
    operations = [sql_migration("webhooks", "append_only.sql")]
