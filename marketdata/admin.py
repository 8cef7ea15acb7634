"""Accounts, instruments and feeds in the admin. What machines write is read-only here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import Case, F, Model, QuerySet, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from marketdata.logins import LoginError, Logins, token_life
from marketdata.models import (
    BrokerAccount,
    ClosingPrice,
    Instrument,
    InstrumentList,
    Lease,
    Listener,
    ListenerEvent,
    MarketDay,
    Subscription,
    Worker,
)
from marketdata.subscriptions import SubscriptionManager

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Model]
else:
    _Admin = admin.ModelAdmin

RUNNING, STOPPED = BrokerAccount.DesiredState.RUNNING, BrokerAccount.DesiredState.STOPPED


class ReadOnly(_Admin):
    """Shown to people, written by the machine."""

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ListenerActions(_Admin):
    """Start, stop and restart: wishes in the database, which the listeners carry out within 2 s."""

    actions: tuple[str, ...] = ("start_listeners", "stop_listeners", "restart_listeners")

    def accounts(self, queryset: QuerySet[Any]) -> QuerySet[BrokerAccount]:
        """Return the accounts of the chosen rows: here the rows themselves."""
        return queryset

    def has_run_permission(self, request: HttpRequest) -> bool:
        """Whoever may change accounts may start and stop their listeners."""
        user: Any = request.user
        return bool(user.has_perm("marketdata.change_brokeraccount"))

    @admin.action(description="Start listeners", permissions=["run"])
    def start_listeners(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = self.accounts(queryset).update(desired_state=RUNNING)
        self._told(request, f"{count} will be running within 2 seconds.")

    @admin.action(description="Stop listeners (their stops are no longer watched)", permissions=["run"])
    def stop_listeners(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = self.accounts(queryset).update(desired_state=STOPPED)
        self._told(request, f"{count} will be stopped within 2 seconds. Their stops are not watched now.")

    @admin.action(description="Restart listeners", permissions=["run"])
    def restart_listeners(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = self.accounts(queryset).update(desired_state=RUNNING, generation=F("generation") + 1)
        self._told(request, f"{count} will connect again within 2 seconds.")

    def _told(self, request: HttpRequest, text: str) -> None:
        SubscriptionManager().hint()
        self.message_user(request, text, messages.SUCCESS)


@admin.register(BrokerAccount)
class BrokerAccountAdmin(ListenerActions):
    list_display = (
        "__str__",
        "user",
        "broker",
        "client_id",
        "desired_state",
        "state",
        "token",
        "log_in",
        "live",
        "paper",
    )
    list_filter = ("broker", "desired_state", "live", "paper")
    list_select_related = ("user", "listener")
    search_fields = ("name", "client_id", "user__username")
    autocomplete_fields = ("user",)
    readonly_fields = ("generation", "state", "token", "log_in")
    actions = (*ListenerActions.actions, "check_logins")
    fieldsets = (
        (None, {"fields": ("user", "broker", "name", "client_id")}),
        (
            "Credentials",
            {
                "fields": ("api_key", "api_secret", "access_token", "token_expires_at", "token", "log_in"),
                "description": "Stored encrypted and never shown again. Leave a box empty to keep what is stored.",
            },
        ),
        ("Orders", {"fields": ("live", "paper", "never_resend")}),
        ("Listener", {"fields": ("desired_state", "state", "generation")}),
    )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        typed = bool(form.cleaned_data.get("access_token"))
        if typed and "token_expires_at" not in form.changed_data:
            obj.token_expires_at = None  # that was the other token's
        super().save_model(request, obj, form, change)
        SubscriptionManager().hint()

    @admin.display(description="feed")
    def state(self, account: BrokerAccount) -> str:
        listener = getattr(account, "listener", None)
        return "not reported yet" if listener is None else str(listener.get_state_display())

    @admin.display(description="login")
    def token(self, account: BrokerAccount) -> str:
        return token_life(account, timezone.now()).text

    @admin.display(description="log in")
    def log_in(self, account: BrokerAccount) -> str:
        """Link to the login page, for it is the owner's alone."""
        if not getattr(account, "is_own", False):
            return f"only {account.user} can" if account.pk else "once it is saved"
        return format_html('<a href="{}">Log in</a>', reverse("broker-account", args=[account.pk]))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        own = Case(When(user=request.user.pk, then=True), default=False)
        rows: QuerySet[Any] = super().get_queryset(request)
        marked: QuerySet[Any] = rows.annotate(is_own=own)
        return marked

    @admin.action(description="Check logins at the broker", permissions=["run"])
    def check_logins(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for account in queryset:
            try:
                known = token_life(Logins().check(account), timezone.now())
                self.message_user(request, f"{account}: {known.text}.", messages.SUCCESS)
            except LoginError as exc:
                self.message_user(request, f"{account}: {exc}", messages.ERROR)


@admin.register(Instrument)
class InstrumentAdmin(_Admin):
    list_display = (
        "symbol",
        "broker",
        "name",
        "instrument_type",
        "expiry",
        "strike",
        "lot_size",
        "tick_size",
    )
    list_filter = ("broker", "exchange", "instrument_type")
    search_fields = ("tradingsymbol", "name")
    ordering = ("exchange", "tradingsymbol")
    show_full_result_count = False  # counting 120,000 rows for every page helps nobody


@admin.register(Subscription)
class SubscriptionAdmin(_Admin):
    list_display = ("instrument", "account", "holder")
    list_filter = ("account__broker",)
    list_select_related = ("instrument", "account")
    search_fields = ("instrument__tradingsymbol", "holder", "account__name")
    autocomplete_fields = ("account", "instrument")


@admin.register(Listener)
class ListenerAdmin(ReadOnly, ListenerActions):
    list_display = (
        "account", "state", "subscription_count", "connected_at", "last_tick_at", "reconnect_attempts", "worker",
        "reported_at",
    )  # fmt: skip
    list_filter = ("state", "account__broker")
    list_select_related = ("account",)
    search_fields = ("account__name", "account__client_id", "last_error")

    def accounts(self, queryset: QuerySet[Any]) -> QuerySet[BrokerAccount]:
        return BrokerAccount.objects.filter(pk__in=queryset.values("account"))


@admin.register(ListenerEvent)
class ListenerEventAdmin(ReadOnly):
    list_display = ("at", "account", "kind", "detail")
    list_filter = ("kind", "account__broker")
    list_select_related = ("account",)
    search_fields = ("account__name", "kind")
    date_hierarchy = "at"
    ordering = ("-pk",)


@admin.register(Lease)
class LeaseAdmin(ReadOnly):
    list_display = ("user", "worker", "token", "expires_at")
    list_select_related = ("user",)
    search_fields = ("user__username", "worker")


@admin.register(Worker)
class WorkerAdmin(ReadOnly):
    list_display = ("name", "host", "pid", "started_at", "seen_at")


@admin.register(InstrumentList)
class InstrumentListAdmin(ReadOnly):
    list_display = ("broker", "imported_at")


@admin.register(ClosingPrice)
class ClosingPriceAdmin(ReadOnly):
    list_display = ("symbol", "price", "day")
    search_fields = ("symbol",)


@admin.register(MarketDay)
class MarketDayAdmin(_Admin):
    list_display = ("exchange", "date", "opens_at", "closes_at", "note")
    list_filter = ("exchange",)
    search_fields = ("note",)
    date_hierarchy = "date"
    ordering = ("-date",)
