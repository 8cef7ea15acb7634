"""Accounts, instruments and feeds in the admin. What machines write is read-only here."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Case, QuerySet, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html

from marketdata.admin_base import Admin, ReadOnly, WithHistory, badge, may, timeline
from marketdata.badges import listener_badges
from marketdata.listening import (
    StillWatching,
    restart_listening,
    start_listening,
    stop_listening,
    what_is_lost,
)
from marketdata.logins import LoginError, Logins, token_life
from marketdata.models import (
    SECRETS,
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

_EVENTS_SHOWN = 50
_WISHES = {
    "start": (start_listening, "will run within 2 seconds; it connects once there is something to watch"),
    "restart": (restart_listening, "will make a new connection within 2 seconds; no other account notices"),
    "stop": (
        stop_listening,
        "will be stopped within 2 seconds. Its stops are not watched until it is started",
    ),
}


class ListenerActions(Admin):
    """Start, stop and restart the listeners of the chosen rows; ``listening`` says what that means."""

    actions: tuple[str, ...] = ("start_listeners", "stop_listeners", "restart_listeners")
    change_form_template = "admin/marketdata/listener_form.html"

    def account_ids(self, queryset: QuerySet[Any]) -> list[int]:
        """Return the accounts of the chosen rows: here the rows themselves."""
        return list(queryset.values_list("pk", flat=True))

    def account_id(self, row: Any) -> int:
        """Return the account of one row."""
        return int(row.pk)

    def has_control_permission(self, request: HttpRequest) -> bool:
        return may(request, "marketdata.control_listener")

    @admin.action(description="Start listeners", permissions=["control"])
    def start_listeners(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        _carry_out(request, "start", self.account_ids(queryset))

    @admin.action(description="Stop listeners (their stops are no longer watched)", permissions=["control"])
    def stop_listeners(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        try:
            _carry_out(request, "stop", self.account_ids(queryset))
        except StillWatching as exc:
            chosen = [(ACTION_CHECKBOX_NAME, pk) for pk in queryset.values_list("pk", flat=True)]
            fields = [("action", "stop_listeners"), *chosen]
            return _ask(self, request, "stop", str(exc), fields, target=request.get_full_path())
        return None

    @admin.action(description="Restart listeners", permissions=["control"])
    def restart_listeners(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        _carry_out(request, "restart", self.account_ids(queryset))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the form with a way to each wish for the listener."""
        row = self.get_object(request, unquote(object_id))
        wishes = (
            [] if row is None or not self.has_control_permission(request) else _ways(self.account_id(row))
        )
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), "listener_wishes": wishes}
        )


@admin.register(BrokerAccount)
class BrokerAccountAdmin(WithHistory, ListenerActions):
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
    list_filter = ("broker", "desired_state", "listener__state", "live", "paper")
    list_select_related = ("user", "listener")
    search_fields = ("name", "client_id", "user__username")
    show_facets = admin.ShowFacets.ALWAYS
    readonly_fields = ("generation", "state", "token", "log_in", "happened")
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
        ("Orders", {"fields": ("live", "paper", "never_resend", "exit_after_gap")}),
        ("Listener", {"fields": ("desired_state", "state", "generation")}),
        ("What happened", {"fields": ("happened",)}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Stopping a listener has to be asked for by its own way, which says what it costs."""
        is_free = obj is None and self.has_control_permission(request)
        return self.readonly_fields if is_free else (*self.readonly_fields, "desired_state")

    def has_validate_permission(self, request: HttpRequest) -> bool:
        return may(request, "marketdata.validate_token")

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Name both halves of the moment for those who cannot see the label beside them."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "token_expires_at" and field is not None:
            for widget, half in zip(field.widget.widgets, ("date", "time"), strict=True):
                widget.attrs["aria-label"] = f"Token expires at, {half}"
        return field

    def get_urls(self) -> list[URLPattern]:
        """Add the page that asks before a wish for one account's listener."""
        asking = self.admin_site.admin_view(self.listener_view)
        way = path("<int:pk>/listener/<slug:wish>/", asking, name="marketdata_brokeraccount_listener")
        return [way, *super().get_urls()]

    def listener_view(self, request: HttpRequest, pk: int, wish: str) -> HttpResponse:
        """Ask, then carry out."""
        if not self.has_control_permission(request):
            raise PermissionDenied
        account = get_object_or_404(BrokerAccount.objects.without_secrets(), pk=pk)
        if wish not in _WISHES:
            raise Http404
        seen = self.has_view_permission(request)
        back = reverse("admin:marketdata_brokeraccount_change", args=[pk]) if seen else reverse("admin:index")
        if request.method != "POST":
            return _ask(self, request, wish, _meaning(wish, account), [], target=request.path, back=back)
        _carry_out(request, wish, [pk])
        return HttpResponseRedirect(back)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        typed = bool(form.cleaned_data.get("access_token"))
        if kept := [name for name in SECRETS if name in form.changed_data]:
            obj._change_reason = f"changed: {', '.join(kept)}".replace("_", " ")
        if typed and "token_expires_at" not in form.changed_data:
            obj.token_expires_at = None  # that was the other token's
        super().save_model(request, obj, form, change)
        SubscriptionManager().hint()

    @admin.display(description="feed", ordering="listener__state")
    def state(self, account: BrokerAccount) -> str:
        return badge("listener", account.pk or 0, "state", *listener_badges(account, timezone.now())["state"])

    @admin.display(description="the last 50")
    def happened(self, account: BrokerAccount) -> str:
        """Show the journal of the listener."""
        rows = account.events.order_by("-pk")[:_EVENTS_SHOWN] if account.pk else ()
        return timeline((row.at, _told(row), "quiet") for row in rows)

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

    @admin.action(description="Check logins at the broker", permissions=["validate"])
    def check_logins(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for account in queryset:
            try:
                known = token_life(Logins().check(account), timezone.now())
                self.message_user(request, f"{account}: {known.text}.", messages.SUCCESS)
            except LoginError as exc:
                self.message_user(request, f"{account}: {exc}", messages.ERROR)


@admin.register(Instrument)
class InstrumentAdmin(Admin):
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
class SubscriptionAdmin(ReadOnly):
    list_display = ("instrument", "account", "holder")
    list_filter = ("account__broker",)
    list_select_related = ("instrument", "account")
    search_fields = ("instrument__tradingsymbol", "holder", "account__name")


@admin.register(Listener)
class ListenerAdmin(ReadOnly, ListenerActions):
    list_display = (
        "account", "feed", "prices", "carries", "connected_at", "reconnect_attempts", "worker", "last_error",
    )  # fmt: skip
    list_filter = ("state", "account__broker", "worker")
    list_select_related = ("account",)
    show_facets = admin.ShowFacets.ALWAYS
    search_fields = ("account__name", "account__client_id", "last_error")

    def account_ids(self, queryset: QuerySet[Any]) -> list[int]:
        return list(queryset.values_list("account_id", flat=True))

    def account_id(self, row: Any) -> int:
        return int(row.account_id)

    @admin.display(description="feed", ordering="state")
    def feed(self, row: Listener) -> str:
        return self._badge(row, "state")

    @admin.display(description="prices", ordering="last_tick_at")
    def prices(self, row: Listener) -> str:
        return self._badge(row, "prices")

    @admin.display(description="carries", ordering="subscription_count")
    def carries(self, row: Listener) -> str:
        return self._badge(row, "carries")

    def _badge(self, row: Listener, field: str) -> str:
        return badge("listener", row.account_id, field, *listener_badges(row.account, timezone.now())[field])


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
class MarketDayAdmin(Admin):
    list_display = ("exchange", "date", "opens_at", "closes_at", "note")
    list_filter = ("exchange",)
    search_fields = ("note",)
    date_hierarchy = "date"
    ordering = ("-date",)


# --- wishes for listeners -----------------------------------------------------------------


def _carry_out(request: HttpRequest, wish: str, account_ids: list[int]) -> None:
    """Do it and say so. Raises ``StillWatching`` where a person has not been asked yet."""
    ask, meaning = _WISHES[wish]
    confirmed = {"even_watching": "confirmed" in request.POST} if wish == "stop" else {}
    for account in ask(account_ids, by=request.user, **confirmed):
        messages.success(request, f"The listener of {account} {meaning}.")


def _ask(
    model_admin: Admin,
    request: HttpRequest,
    wish: str,
    says: str,
    fields: list[Any],
    *,
    target: str,
    back: str = "",
) -> HttpResponse:
    """Show what the wish means, with a button that carries it out."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"{wish.capitalize()} the listener?",
        "says": says,
        "fields": fields,
        "target": target,
        "back": back or target,
        "button": f"Yes, {wish}",
    }
    return TemplateResponse(request, "admin/ask.html", context)


def _ways(account_id: int) -> list[tuple[str, str]]:
    return [
        (
            f"{wish.capitalize()} listener",
            reverse("admin:marketdata_brokeraccount_listener", args=[account_id, wish]),
        )
        for wish in _WISHES
    ]


def _meaning(wish: str, account: BrokerAccount) -> str:
    lost = what_is_lost([account.pk]) if wish == "stop" else ""
    return f"The listener of {account} {_WISHES[wish][1]}. {lost}"


def _told(event: ListenerEvent) -> str:
    """Say in a line what happened to a listener, and who asked for it."""
    detail = event.detail
    why = next((str(detail[key]) for key in ("text", "error", "reason", "symbol") if detail.get(key)), "")
    by = f"by {detail['by']}" if detail.get("by") else ""
    return ": ".join(part for part in (event.kind.replace("_", " ").capitalize(), why, by) if part)
