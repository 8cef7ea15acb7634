import django.db.models.deletion
import django.db.models.functions.datetime
import marketdata.fields
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('marketdata', '0011_cockpit'),
        ('strategies', '0006_seen_range'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='WatchedInstrument',
            fields=[
            ],
            options={
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('marketdata.subscription',),
        ),
        migrations.AlterModelOptions(
            name='alert',
            options={'permissions': [('acknowledge_alert', 'Can acknowledge alerts')]},
        ),
        migrations.AlterModelOptions(
            name='strategy',
            options={'permissions': [('arm_strategy', 'Can arm strategies'), ('disarm_strategy', 'Can disarm strategies'), ('exit_strategy', 'Can exit positions now')], 'verbose_name_plural': 'strategies'},
        ),
        migrations.CreateModel(
            name='HistoricalStrategy',
            fields=[
                ('id', models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name='ID')),
                ('name', models.CharField(blank=True, max_length=80)),
                ('status', models.CharField(choices=[('draft', 'Draft'), ('active', 'Active'), ('exiting', 'Exiting'), ('closed', 'Closed'), ('suspended', 'Suspended')], default='draft', max_length=9)),
                ('position', models.CharField(choices=[('NONE', 'None'), ('BOUGHT', 'Bought (long)'), ('SOLD', 'Sold (short)')], default='NONE', max_length=6)),
                ('product', models.CharField(choices=[('MIS', 'MIS (intraday)'), ('CNC', 'CNC (delivery)'), ('NRML', 'NRML (overnight)'), ('MTF', 'MTF (margin funded)')], default='MIS', max_length=4)),
                ('live', models.BooleanField(default=False, help_text='Allow real orders for this strategy.')),
                ('quantity', models.PositiveIntegerField(default=0)),
                ('entry_price', marketdata.fields.PriceField(blank=True, decimal_places=7, max_digits=20, null=True)),
                ('stop_loss', marketdata.fields.PriceField(blank=True, decimal_places=7, max_digits=20, null=True)),
                ('epoch', models.PositiveIntegerField(default=0, editable=False, help_text='Counts the armings.')),
                ('contract', models.CharField(blank=True, editable=False, help_text='What the instrument stood for at the last start.', max_length=48)),
                ('sl_triggered', models.BooleanField(default=False, editable=False)),
                ('sl_trigger_price', marketdata.fields.PriceField(blank=True, decimal_places=7, editable=False, max_digits=20, null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_change_reason', models.CharField(max_length=100, null=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
                ('account', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='marketdata.brokeraccount')),
                ('history_user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('instrument', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='marketdata.instrument')),
                ('user', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'historical strategy',
                'verbose_name_plural': 'historical strategies',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
    ]
