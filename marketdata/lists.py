"""Instrument lists that have become old: names, tokens, lot sizes and freeze quantities change overnight."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from marketdata.models import InstrumentList, Subscription

OLD = timedelta(days=1)


def list_warnings() -> list[str]:
    """Return which lists that are in use are older than a day, for a person."""
    used = Subscription.objects.values_list("instrument__broker", flat=True).distinct()
    old = InstrumentList.objects.filter(broker__in=used, imported_at__lt=timezone.now() - OLD).order_by(
        "broker"
    )
    return [
        f"The instrument list of {row.get_broker_display()} is of {row.imported_at:%Y-%m-%d}: lot sizes, freeze "
        f"quantities and tokens may have changed. Run manage.py import_instruments {row.broker}."
        for row in old
    ]
