"""Strategies and their record in the admin. A strategy's life is changed by ``services`` alone."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from marketdata.admin_base import ReadOnly, WithHistory, badge, may, moment, timeline
from strategies import alerts, services
from strategies.admin_sheets import WithSheets
from strategies.admin_wishes import StrategyWishes
from strategies.badges import exit_badge, present_market, strategy_badge, with_parts
from strategies.live.forms import StaffStrategyForm
from strategies.live.words import event_words
from strategies.models import (
    Alert,
    AlertChannel,
    AlertDelivery,
    Exit,
    ExitOrder,
    SeenRange,
    Strategy,
    StrategyEvent,
    WatchedInstrument,
)
from strategies.reporting import plain
from strategies.services import StrategyError
from strategies.sheets import StrategySheet, WatchSheet

if TYPE_CHECKING:
    _Inline = admin.TabularInline[Model, Model]
else:
    _Inline = admin.TabularInline

_LIFE = ("status", "epoch", "sl_triggered", "sl_trigger_price", "created_at")
_TERMS = ("user", "account", "instrument", "position", "product", "quantity", "entry_price", "live")
_COPIED = ("user", "account", "instrument", "position", "product", "quantity", "entry_price", "stop_loss")
_EVENTS_SHOWN = 100


class _ReadOnlyInline(_Inline):
    extra = 0
    can_delete = False
    template = "admin/journal_inline.html"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ExitInline(_ReadOnlyInline):
    model = Exit
    fields = ("created_at", "epoch", "reason", "trigger_price", "quantity", "state", "concern")


class ExitOrderInline(_ReadOnlyInline):
    model = ExitOrder
    fields = (
        "tag",
        "side",
        "quantity",
        "state",
        "broker_order_id",
        "filled_quantity",
        "average_price",
        "message",
    )


@admin.register(Strategy)
class StrategyAdmin(WithSheets, WithHistory, StrategyWishes):
    form: Any = StaffStrategyForm
    resource_classes = (StrategySheet,)
    list_display = ("__str__", "user", "instrument", "stop", "position", "quantity", "live")
    list_filter = (
        "status", "position", "product", "live", "account__broker", ("user", admin.RelatedOnlyFieldListFilter),
    )  # fmt: skip
    search_fields = ("name", "instrument__tradingsymbol", "user__username")
    show_facets = admin.ShowFacets.ALWAYS
    actions = (*StrategyWishes.actions, "copy_as_drafts")
    inlines = (ExitInline,)
    fieldsets = (
        (None, {"fields": ("user", "account", "instrument", "name")}),
        ("Position", {"fields": ("position", "product", "quantity", "entry_price", "live")}),
        ("Stop", {"fields": ("stop_loss",)}),
        ("Life", {"fields": _LIFE, "description": "Changed by arming, disarming and exiting only."}),
        ("What happened", {"fields": ("happened",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Read each account once, however many strategies it has: its credentials are decrypted."""
        rows: QuerySet[Any] = super().get_queryset(request)
        return with_parts(rows)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Add the state, for which the calendar is read once a page."""
        market = cache(present_market)

        @admin.display(description="state", ordering="status")
        def state(strategy: Strategy) -> str:
            return badge("strategy", strategy.pk, "state", *strategy_badge(strategy, market()))

        return (*self.list_display[:3], state, *self.list_display[3:])

    @admin.display(description="stop-loss", ordering="stop_loss")
    def stop(self, strategy: Strategy) -> str:
        return plain(strategy.stop_loss) or "–"

    @admin.display(description=f"the last {_EVENTS_SHOWN}")
    def happened(self, strategy: Strategy) -> str:
        """Show the journal of the strategy."""
        rows = strategy.events.order_by("-pk")[:_EVENTS_SHOWN] if strategy.pk else ()
        return timeline(_line(row) for row in rows)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """While a stop is armed only the stop may move; while it exits, nothing may."""
        status = obj.status if obj else Strategy.Status.DRAFT
        fixed = (*_LIFE, "happened")
        if status == Strategy.Status.ACTIVE:
            return (*fixed, *_TERMS)
        return (*fixed, *_TERMS, "stop_loss") if status == Strategy.Status.EXITING else fixed

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save what the person changed; a stop that moved goes through its service."""
        if not change:
            services.create_strategy(obj, by=request.user)
            return
        names = [name for name in form.changed_data if name != "stop_loss"]
        if names:
            self._save_terms(request, obj, names)
        if "stop_loss" in form.changed_data:
            self._move_stop(request, obj)

    def _save_terms(self, request: HttpRequest, strategy: Strategy, names: list[str]) -> None:
        columns = {name: getattr(strategy, name) for name in names}
        try:
            services.change_strategy(Strategy.objects.get(pk=strategy.pk), columns, by=request.user)
        except StrategyError as exc:
            self.message_user(request, f"Nothing was changed: {exc}", messages.ERROR)

    def _move_stop(self, request: HttpRequest, strategy: Strategy) -> None:
        if strategy.stop_loss is None:
            self._save_terms(request, strategy, ["stop_loss"])
            return
        try:
            services.update_stop(strategy, strategy.stop_loss, by=request.user)
        except StrategyError as exc:
            self.message_user(request, f"The stop was not moved: {exc}", messages.ERROR)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Offer no deletion in bulk: a stop must not go with a tick box."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow deletion only while nothing is armed."""
        armed = obj is not None and obj.status in (Strategy.Status.ACTIVE, Strategy.Status.EXITING)
        return not armed and super().has_delete_permission(request, obj)

    def has_copy_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request)

    @admin.action(description="Copy as drafts", permissions=["copy"])
    def copy_as_drafts(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Copy what a person typed; the copies are not armed, and their live switch is off."""
        count = 0
        for row in queryset:
            terms = {name: getattr(row, name) for name in _COPIED}
            copy = Strategy(**terms, name=f"{row.name} copy".strip()[:80])
            services.create_strategy(copy, by=request.user)
            count += 1
        self.message_user(request, f"{count} copied.", messages.SUCCESS)


@admin.register(Exit)
class ExitAdmin(ReadOnly):
    list_display = ("at", "strategy", "reason", "trigger", "quantity", "stands")
    list_filter = ("state", "reason", "strategy__account__broker")
    list_select_related = ("strategy__instrument",)
    search_fields = ("strategy__name", "strategy__instrument__tradingsymbol")
    show_facets = admin.ShowFacets.ALWAYS
    date_hierarchy = "created_at"
    ordering = ("-pk",)
    readonly_fields = ("stands", "happened")
    inlines = (ExitOrderInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Read the orders along: an exit stands as its last order does."""
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.prefetch_related("orders")

    @admin.display(description="when", ordering="pk")
    def at(self, row: Exit) -> str:
        return moment(row.created_at)

    @admin.display(description="trigger price", ordering="trigger_price")
    def trigger(self, row: Exit) -> str:
        return plain(row.trigger_price) or "–"

    @admin.display(description="how it stands", ordering="state")
    def stands(self, row: Exit) -> str:
        return badge("exit", row.pk, "state", *exit_badge(row))

    @admin.display(description="what happened since")
    def happened(self, row: Exit) -> str:
        """Show the journal of the strategy from the exit on, until the next arming's exit."""
        later = Exit.objects.filter(strategy=row.strategy_id, pk__gt=row.pk).order_by("pk").first()
        rows = StrategyEvent.objects.filter(strategy=row.strategy_id, at__gte=row.created_at)
        rows = rows if later is None else rows.filter(at__lt=later.created_at)
        return timeline(_line(event) for event in rows.order_by("-pk")[:_EVENTS_SHOWN])


@admin.register(ExitOrder)
class ExitOrderAdmin(ReadOnly):
    list_display = (
        "tag", "exit", "side", "quantity", "state", "broker_order_id", "filled_quantity", "average_price", "sent_at",
    )  # fmt: skip
    list_filter = ("state", "side", "account__broker")
    list_select_related = ("exit__strategy__instrument",)
    search_fields = ("tag", "broker_order_id", "exit__strategy__name")
    date_hierarchy = "planned_at"
    ordering = ("-pk",)


@admin.register(StrategyEvent)
class StrategyEventAdmin(ReadOnly):
    list_display = ("at", "strategy", "kind", "detail")
    list_filter = ("kind",)
    list_select_related = ("strategy__instrument",)
    search_fields = ("strategy__name", "kind")
    date_hierarchy = "at"
    ordering = ("-pk",)


class AlertDeliveryInline(_ReadOnlyInline):
    model = AlertDelivery
    fields = ("channel", "attempts", "delivered_at", "next_at", "error")


@admin.register(Alert)
class AlertAdmin(ReadOnly):
    list_display = (
        "created_at", "user", "about", "mode", "kind", "urgency", "text", "acknowledged_at", "closed_at", "repeats",
    )  # fmt: skip
    list_filter = (
        "urgency",
        "kind",
        ("acknowledged_at", admin.EmptyFieldListFilter),
        ("closed_at", admin.EmptyFieldListFilter),
    )
    list_select_related = ("user", "account", "strategy__instrument")
    show_facets = admin.ShowFacets.ALWAYS
    search_fields = ("text", "user__username", "strategy__name")
    date_hierarchy = "created_at"
    ordering = ("-pk",)
    actions = ("acknowledge",)
    inlines = (AlertDeliveryInline,)

    @admin.display(description="about")
    def about(self, alert: Alert) -> str:
        return alerts.subject(alert) or "–"

    def has_acknowledge_permission(self, request: HttpRequest) -> bool:
        return may(request, "strategies.acknowledge_alert")

    @admin.action(description="Acknowledge: stop repeating them", permissions=["acknowledge"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        user: Any = request.user
        count = sum(alerts.acknowledge(alert, user) for alert in queryset)
        self.message_user(request, f"{count} acknowledged.", messages.SUCCESS)


@admin.register(AlertDelivery)
class AlertDeliveryAdmin(ReadOnly):
    list_display = ("alert", "channel", "attempts", "delivered_at", "next_at", "error")
    list_filter = ("channel",)
    list_select_related = ("alert",)
    search_fields = ("channel", "error", "alert__text")
    ordering = ("-pk",)


@admin.register(AlertChannel)
class AlertChannelAdmin(ReadOnly):
    """Its owner's; the address, which holds a token, is not even read."""

    list_display = ("name", "user", "service", "enabled")
    list_filter = ("enabled", "service")
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    exclude = ("url",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the address unread."""
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.defer("url")


@admin.register(WatchedInstrument)
class WatchedInstrumentAdmin(WithSheets, ReadOnly):
    resource_classes = (WatchSheet,)
    skip_admin_log = True
    list_display = ("instrument", "owner", "account")
    list_filter = (("account__user", admin.RelatedOnlyFieldListFilter), "account__broker")
    list_select_related = ("instrument", "account__user")
    search_fields = ("instrument__tradingsymbol", "account__user__username")
    show_facets = admin.ShowFacets.ALWAYS

    @admin.display(description="user", ordering="account__user__username")
    def owner(self, row: WatchedInstrument) -> str:
        return str(row.account.user)


@admin.register(SeenRange)
class SeenRangeAdmin(ReadOnly):
    list_display = ("strategy", "epoch", "low", "high", "at")
    list_select_related = ("strategy__instrument",)
    search_fields = ("strategy__name",)
    ordering = ("-at",)


def _line(event: StrategyEvent) -> tuple[datetime, str, str]:
    """Return an event as a timeline shows it, with who did it."""
    said = event_words(event.kind, event.detail)
    by = event.detail.get("by")
    return event.at, f"{said.text}, by {by}" if by else said.text, said.tone
