"""Accounts, instruments, who watches what, and how the listeners are."""

from __future__ import annotations

from typing import ClassVar, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Upper
from simple_history.models import HistoricalRecords

from marketdata.domain.instruments import canonical, contract_text
from marketdata.fields import EncryptedTextField, PriceField

SECRETS = ("api_secret", "access_token")


class Broker(models.TextChoices):
    ZERODHA = "zerodha", "Zerodha"
    DHAN = "dhan", "Dhan"
    FYERS = "fyers", "Fyers"
    ANGELONE = "angelone", "Angel One"


class BrokerAccounts(models.QuerySet["BrokerAccount"]):
    """Accounts."""

    def without_secrets(self) -> Self:
        """Leave credentials unread: credentials that cannot be decrypted then break nothing."""
        return self.defer(*SECRETS)


class BrokerAccount(models.Model):
    """One login at one broker. Its owner's, and nobody else's."""

    class DesiredState(models.TextChoices):
        RUNNING = "running"
        STOPPED = "stopped"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="broker_accounts")
    broker = models.CharField(max_length=16, choices=Broker)
    name = models.CharField(max_length=80, blank=True)
    client_id = models.CharField(max_length=32, blank=True, help_text="Your client id at the broker.")
    api_key = models.CharField(max_length=128, blank=True)
    api_secret = EncryptedTextField(blank=True, default="")
    access_token = EncryptedTextField(blank=True, default="")
    token_expires_at = models.DateTimeField(null=True, blank=True)
    live = models.BooleanField(default=False, help_text="Allow real orders from this account.")
    paper = models.BooleanField(default=False, help_text="Never send an order from this account.")
    never_resend = models.BooleanField(
        default=False,
        help_text="After a lost reply never send the order again, however sure it is that it did not arrive.",
    )
    exit_after_gap = models.BooleanField(
        default=False,
        help_text=(
            "When a price went through a stop and came back while it could not be seen: exit all the same. "
            "Otherwise you are told, and the stop stays armed."
        ),
    )
    desired_state = models.CharField(max_length=8, choices=DesiredState, default=DesiredState.STOPPED)
    generation = models.PositiveBigIntegerField(default=0, help_text="Raised to ask for a restart.")

    objects = BrokerAccounts.as_manager()
    history = HistoricalRecords(excluded_fields=SECRETS)

    class Meta:
        permissions: ClassVar = [
            ("control_listener", "Can start, stop and restart listeners"),
            ("validate_token", "Can check logins at the broker"),
        ]
        constraints: ClassVar = [
            # Two rows of one login would each send the whole exit. Brokers' ids have no letter case.
            models.UniqueConstraint(
                "broker", Upper("client_id"), condition=~models.Q(client_id=""), name="one_row_per_login"
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"{self.get_broker_display()} {self.client_id}".strip()

    def clean(self) -> None:
        """Refuse a login that another row has; raises ``ValidationError``."""
        self.client_id = self.client_id.strip()
        same = BrokerAccount.objects.filter(broker=self.broker, client_id__iexact=self.client_id)
        if self.client_id and same.exclude(pk=self.pk).exists():
            raise ValidationError({"client_id": self.taken_text(self.client_id)})

    def taken_text(self, client_id: str) -> str:
        """Say that another row has this client id, and what to do; not whose it is."""
        return (
            f"{self.get_broker_display()} {client_id} is an account here already. Use that one, or delete it first: "
            "two of them would each sell the whole position."
        )


class Instrument(models.Model):
    """One contract as one broker lists it. ``token`` is reused after expiry: not an identity."""

    class Type(models.TextChoices):
        EQ = "EQ", "Equity"
        INDEX = "INDEX", "Index"
        FUT = "FUT", "Future"
        CE = "CE", "Call"
        PE = "PE", "Put"

    broker = models.CharField(max_length=16, choices=Broker)
    exchange = models.CharField(max_length=8)
    tradingsymbol = models.CharField(max_length=64)
    token = models.CharField(max_length=32)
    name = models.CharField(max_length=120, blank=True)
    instrument_type = models.CharField(max_length=5, choices=Type, default=Type.EQ)
    expiry = models.DateField(null=True, blank=True)
    strike = PriceField(null=True, blank=True)
    lot_size = models.PositiveIntegerField(default=1)
    tick_size = PriceField(default="0.05")
    freeze_quantity = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=("broker", "exchange", "tradingsymbol"), name="one_row_per_contract"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=("broker", "tradingsymbol")),
            models.Index(fields=("broker", "token")),  # an order book that names contracts by token
        ]

    def __str__(self) -> str:
        return self.symbol

    @property
    def symbol(self) -> str:
        return canonical(self.exchange, self.tradingsymbol)

    @property
    def contract(self) -> str:
        """What the name stands for; another one after an exchange gave the name to another contract."""
        return contract_text(self.instrument_type, self.expiry, self.strike)


class InstrumentList(models.Model):
    """When a broker's instrument list was last taken over."""

    broker = models.CharField(max_length=16, choices=Broker, unique=True)
    imported_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.broker}: {self.imported_at:%Y-%m-%d %H:%M}"


class ClosingPrice(models.Model):
    """What a share last traded at on a day that it was watched, whatever the broker."""

    symbol = models.CharField(max_length=80, unique=True)
    price = PriceField()
    day = models.DateField()

    def __str__(self) -> str:
        return f"{self.symbol} {self.price} on {self.day}"


class Subscription(models.Model):
    """One holder's wish to have an instrument watched; the count of rows is the reference count."""

    account = models.ForeignKey(BrokerAccount, models.CASCADE, related_name="subscriptions")
    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="subscriptions")
    holder = models.CharField(max_length=40, help_text="strategy:ID or watch:ID")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("account", "instrument", "holder"), name="one_row_per_holder"),
        ]

    def __str__(self) -> str:
        return f"{self.holder} -> {self.instrument}"


class Lease(models.Model):
    """Which worker runs a user's accounts and owns their exits. ``token`` only ever rises."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE)
    worker = models.CharField(max_length=64, blank=True)
    token = models.PositiveBigIntegerField(default=0)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: nobody's.")
    place = models.CharField(max_length=120, blank=True, help_text="The lock directory it is held under.")

    def __str__(self) -> str:
        return f"{self.user} by {self.worker or 'nobody'}"


class Worker(models.Model):
    """A ``run_listeners`` process. The row goes with its orderly end; one that stays and is not seen is dead."""

    name = models.CharField(max_length=64, unique=True)
    host = models.CharField(max_length=80)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="Moved on every two seconds, by the database's clock.")

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid} on {self.host})"


class Listener(models.Model):
    """How an account's feed is, as last reported by the worker that runs it."""

    class State(models.TextChoices):
        STOPPED = "stopped", "Stopped"
        IDLE = "idle", "Nothing to watch"
        CONNECTING = "connecting", "Connecting"
        CONNECTED = "connected", "Connected"
        LOGIN_NEEDED = "login_needed", "Log in again"

    account = models.OneToOneField(BrokerAccount, models.CASCADE, related_name="listener")
    state = models.CharField(max_length=16, choices=State, default=State.STOPPED)
    worker = models.CharField(max_length=64, blank=True)
    observed_generation = models.PositiveBigIntegerField(default=0)
    connected_at = models.DateTimeField(null=True, blank=True)
    last_frame_at = models.DateTimeField(null=True, blank=True)
    last_tick_at = models.DateTimeField(null=True, blank=True)
    reported_at = models.DateTimeField(null=True, blank=True)
    subscription_count = models.PositiveIntegerField(default=0)
    reconnect_attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    unseen = models.JSONField(
        default=dict,
        blank=True,
        help_text="Armed instruments whose price is not seen as it should be, and why.",
    )

    def __str__(self) -> str:
        return f"{self.account}: {self.get_state_display()}"


class ListenerEvent(models.Model):
    """Something that happened to a listener. Append-only."""

    account = models.ForeignKey(BrokerAccount, models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=32)
    detail = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.kind}"


class MarketDay(models.Model):
    """A day whose hours differ from the exchange's usual ones. Both times empty: closed."""

    exchange = models.CharField(max_length=8)
    date = models.DateField()
    opens_at = models.TimeField(null=True, blank=True, help_text="IST")
    closes_at = models.TimeField(null=True, blank=True, help_text="IST")
    note = models.CharField(max_length=120, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=("exchange", "date"), name="one_row_per_day"),
        ]

    def __str__(self) -> str:
        return f"{self.exchange} {self.date}: {self.note or 'special hours'}"
