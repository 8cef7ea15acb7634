"""Strategies, and the durable record of every exit."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from simple_history.models import HistoricalRecords

from marketdata.fields import EncryptedTextField, PriceField
from marketdata.models import BrokerAccount, Instrument, Subscription
from marketdata.subscriptions import WATCH
from strategies.domain.exits import ExitState, OrderState


class Strategy(models.Model):
    """A position with a stop. ``services`` is the only writer of its life."""

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        ACTIVE = "active", "Active"
        EXITING = "exiting", "Exiting"
        CLOSED = "closed", "Closed"
        SUSPENDED = "suspended", "Suspended"

    class Position(models.TextChoices):
        NONE = "NONE", "None"
        BOUGHT = "BOUGHT", "Bought (long)"
        SOLD = "SOLD", "Sold (short)"

    class Product(models.TextChoices):
        MIS = "MIS", "MIS (intraday)"
        CNC = "CNC", "CNC (delivery)"
        NRML = "NRML", "NRML (overnight)"
        MTF = "MTF", "MTF (margin funded)"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="strategies")
    account = models.ForeignKey(BrokerAccount, models.PROTECT, related_name="strategies")
    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="strategies")
    name = models.CharField(max_length=80, blank=True)
    status = models.CharField(max_length=9, choices=Status, default=Status.DRAFT)
    position = models.CharField(max_length=6, choices=Position, default=Position.NONE)
    product = models.CharField(max_length=4, choices=Product, default=Product.MIS)
    live = models.BooleanField(default=False, help_text="Allow real orders for this strategy.")
    quantity = models.PositiveIntegerField(default=0)
    entry_price = PriceField(null=True, blank=True)
    stop_loss = PriceField(null=True, blank=True)
    epoch = models.PositiveIntegerField(default=0, editable=False, help_text="Counts the armings.")
    contract = models.CharField(
        max_length=48,
        blank=True,
        editable=False,
        help_text="What the instrument stood for at the last start.",
    )
    sl_triggered = models.BooleanField(default=False, editable=False)
    sl_trigger_price = PriceField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    history = HistoricalRecords()

    class Meta:
        verbose_name_plural = "strategies"
        permissions: ClassVar = [
            ("arm_strategy", "Can arm strategies"),
            ("disarm_strategy", "Can disarm strategies"),
            ("exit_strategy", "Can exit positions now"),
        ]
        indexes: ClassVar = [models.Index(fields=("status",))]

    def __str__(self) -> str:
        return self.name or f"{self.instrument} {self.get_position_display()}"

    @property
    def symbol(self) -> str:
        return self.instrument.symbol


class Exit(models.Model):
    """The intent to leave a position: at most one for each arming of a strategy."""

    strategy = models.ForeignKey(Strategy, models.PROTECT, related_name="exits")
    epoch = models.PositiveIntegerField()
    reason = models.CharField(max_length=16)
    trigger_price = PriceField(null=True)
    quantity = models.PositiveIntegerField()
    state = models.CharField(max_length=12, choices=[(s.value, s.value) for s in ExitState])
    version = models.PositiveIntegerField(
        default=0, help_text="Raised by every change: of two writers one wins."
    )
    resumed_at = models.DateTimeField(null=True, help_text="When a person last asked to try again.")
    resumed_after = models.PositiveIntegerField(default=0, help_text="How many orders there were then.")
    concern = models.TextField(blank=True, help_text="What a person has to know, while it is so.")
    evidence = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("strategy", "epoch"), name="one_exit_per_arming"),
        ]
        indexes: ClassVar = [models.Index(fields=("state",))]

    def __str__(self) -> str:
        return f"{self.strategy} exit {self.epoch}: {self.state}"


class ExitOrder(models.Model):
    """One attempt: one order, sent at most once. Its tag is how the broker's book shows it."""

    exit = models.ForeignKey(Exit, models.PROTECT, related_name="orders")
    account = models.ForeignKey(BrokerAccount, models.PROTECT, related_name="exit_orders")
    slice_no = models.PositiveSmallIntegerField(default=1)
    try_no = models.PositiveSmallIntegerField(default=1)
    trading_day = models.DateField()
    tag = models.CharField(max_length=18)
    side = models.CharField(max_length=4)
    product = models.CharField(max_length=4)
    quantity = models.PositiveIntegerField()
    price = PriceField(null=True, help_text="Limit; empty: protected market order.")
    is_queued = models.BooleanField(default=False, help_text="Placed at the circuit limit, to wait there.")
    opening = models.BigIntegerField(
        null=True, help_text="The position when it was planned, less the day's fills in the broker's book."
    )
    lookalikes = models.PositiveIntegerField(
        default=0, help_text="Orders without a tag that looked like it when it was planned."
    )
    state = models.CharField(max_length=10, choices=[(s.value, s.value) for s in OrderState])
    broker_order_id = models.CharField(max_length=40, blank=True)
    filled_quantity = models.PositiveIntegerField(default=0)
    average_price = PriceField(null=True)
    reject_class = models.CharField(max_length=8, blank=True)
    reject_reason = models.CharField(max_length=16, blank=True)
    message = models.TextField(blank=True, help_text="The broker's own words.")
    planned_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    cancels = models.PositiveSmallIntegerField(default=0, help_text="Requests to cancel it.")
    cancel_asked_at = models.DateTimeField(null=True, help_text="When the last of them was made.")
    updated_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("exit", "slice_no", "try_no"), name="one_row_per_try"),
            models.UniqueConstraint(fields=("account", "trading_day", "tag"), name="one_order_per_tag"),
        ]
        indexes: ClassVar = [
            models.Index(fields=("account", "state")),
            models.Index(fields=("account", "trading_day")),
        ]

    def __str__(self) -> str:
        return f"{self.tag}: {self.state}"


class SeenRange(models.Model):
    """How far the price had been that day when it was last seen, for one arming of a strategy."""

    strategy = models.OneToOneField(Strategy, models.CASCADE, related_name="seen_range")
    epoch = models.PositiveIntegerField()
    low = PriceField()
    high = PriceField()
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.strategy} {self.epoch}: {self.low} to {self.high}"


class StrategyEvent(models.Model):
    """Something that happened to a strategy. Append-only."""

    strategy = models.ForeignKey(Strategy, models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=32)
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=("strategy", "at"))]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.kind}"


class Alert(models.Model):
    """Something a person has to know, committed with the change it tells of.

    *Closed* means that its cause is over; *acknowledged*, that a person has seen it. Either ends
    the telling. ``alerts`` is the only writer.
    """

    class Urgency(models.TextChoices):
        INFO = "info", "Told once"
        URGENT = "urgent", "Repeated until acknowledged"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="alerts")
    account = models.ForeignKey(BrokerAccount, models.CASCADE, related_name="alerts", null=True)
    strategy = models.ForeignKey(Strategy, models.CASCADE, related_name="alerts", null=True)
    exit = models.ForeignKey(Exit, models.CASCADE, related_name="alerts", null=True)
    kind = models.CharField(max_length=32)
    urgency = models.CharField(max_length=6, choices=Urgency, default=Urgency.URGENT)
    mode = models.CharField(max_length=10, blank=True, help_text="LIVE, simulator, paper or no orders.")
    text = models.TextField()
    cause = models.CharField(max_length=64, help_text="The same for alerts of the same cause.")
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True, help_text="When it is told next; empty: no more.")
    last_told_at = models.DateTimeField(null=True)
    repeats = models.PositiveIntegerField(default=0)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, related_name="+", null=True
    )
    closed_at = models.DateTimeField(null=True)

    class Meta:
        permissions: ClassVar = [("acknowledge_alert", "Can acknowledge alerts")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=("user", "cause"),
                condition=models.Q(closed_at=None),
                name="one_open_alert_per_cause",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=("due_at",)), models.Index(fields=("user", "created_at"))]

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class AlertDelivery(models.Model):
    """How one alert got through one channel."""

    alert = models.ForeignKey(Alert, models.CASCADE, related_name="deliveries")
    channel = models.CharField(max_length=64)
    attempts = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    next_at = models.DateTimeField(null=True, help_text="When it is tried next; empty: nothing is owed.")
    delivered_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "alert deliveries"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("alert", "channel"), name="one_delivery_per_channel"),
        ]
        indexes: ClassVar = [models.Index(fields=("next_at",))]

    def __str__(self) -> str:
        return f"{self.channel}: {self.error or self.delivered_at or 'not yet'}"


class WatchListRows(models.Manager["WatchedInstrument"]):
    """What people watch; strategies hold their instruments by rows of the same table."""

    def get_queryset(self) -> models.QuerySet[WatchedInstrument]:
        return super().get_queryset().filter(holder__startswith=WATCH)


class WatchedInstrument(Subscription):
    """An instrument on somebody's watch list. ``live.watching`` is the only writer."""

    objects: ClassVar = WatchListRows()

    class Meta:
        proxy = True

    def __str__(self) -> str:
        return f"{self.instrument} of {self.account.user}"


class AlertChannel(models.Model):
    """A way to reach one user, entered by them. Its address holds credentials and is never shown again."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="alert_channels")
    name = models.CharField(max_length=60)
    url = EncryptedTextField()
    service = models.CharField(max_length=60, editable=False, help_text="What apprise calls it.")
    enabled = models.BooleanField("switched on", default=True)
    urgent_only = models.BooleanField("urgent alerts only", default=False)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name

    @property
    def delivery_name(self) -> str:
        """Its name in ``AlertDelivery``."""
        return f"own {self.pk}"
