import django.db.models.functions.text
from django.db import migrations, models


def assert_single(apps, schema_editor):
    accounts = apps.get_model("marketdata", "BrokerAccount").objects.using(schema_editor.connection.alias)
    seen = {}
    for pk, broker, client_id in accounts.exclude(client_id="").order_by("pk").values_list("pk", "broker", "client_id"):
        first = seen.setdefault((broker, client_id.upper()), pk)
        if first != pk:
            raise RuntimeError(
                f"accounts {first} and {pk} are both {broker} {client_id}, and would each sell the whole position: "
                "delete one (or empty its client id), then migrate again"
            )


class Migration(migrations.Migration):

    dependencies = [
        ('marketdata', '0002_token_index'),
    ]

    operations = [
        migrations.RunPython(assert_single, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name='brokeraccount',
            constraint=models.UniqueConstraint(models.F('broker'), django.db.models.functions.text.Upper('client_id'), condition=models.Q(('client_id', ''), _negated=True), name='one_row_per_login'),
        ),
    ]
