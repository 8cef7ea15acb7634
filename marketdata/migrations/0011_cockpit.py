import django.db.models.deletion
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('marketdata', '0010_exit_after_gap'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='brokeraccount',
            options={'permissions': [('control_listener', 'Can start, stop and restart listeners'), ('validate_token', 'Can check logins at the broker')]},
        ),
        migrations.CreateModel(
            name='HistoricalBrokerAccount',
            fields=[
                ('id', models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name='ID')),
                ('broker', models.CharField(choices=[('zerodha', 'Zerodha'), ('dhan', 'Dhan'), ('fyers', 'Fyers'), ('angelone', 'Angel One')], max_length=16)),
                ('name', models.CharField(blank=True, max_length=80)),
                ('client_id', models.CharField(blank=True, help_text='Your client id at the broker.', max_length=32)),
                ('api_key', models.CharField(blank=True, max_length=128)),
                ('token_expires_at', models.DateTimeField(blank=True, null=True)),
                ('live', models.BooleanField(default=False, help_text='Allow real orders from this account.')),
                ('paper', models.BooleanField(default=False, help_text='Never send an order from this account.')),
                ('never_resend', models.BooleanField(default=False, help_text='After a lost reply never send the order again, however sure it is that it did not arrive.')),
                ('exit_after_gap', models.BooleanField(default=False, help_text='When a price went through a stop and came back while it could not be seen: exit all the same. Otherwise you are told, and the stop stays armed.')),
                ('desired_state', models.CharField(choices=[('running', 'Running'), ('stopped', 'Stopped')], default='stopped', max_length=8)),
                ('generation', models.PositiveBigIntegerField(default=0, help_text='Raised to ask for a restart.')),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_change_reason', models.CharField(max_length=100, null=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
                ('history_user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('user', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'historical broker account',
                'verbose_name_plural': 'historical broker accounts',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
    ]
