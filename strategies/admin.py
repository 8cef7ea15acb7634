"""Strategies and their record in the admin. A strategy's life is changed by ``services`` alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from marketdata.admin import ReadOnly
from strategies import alerts, services
from strategies.live.entry import refuse_passed_stop
from strategies.live.forms import StrategyForm
from strategies.models import Alert, AlertDelivery, Exit, ExitOrder, SeenRange, Strategy, StrategyEvent
from strategies.reporting import plain
from strategies.services import StrategyError

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Model]
    _Inline = admin.TabularInline[Model, Model]
else:
    _Admin, _Inline = admin.ModelAdmin, admin.TabularInline

_LIFE = ("status", "epoch", "sl_triggered", "sl_trigger_price", "created_at")
_TERMS = ("user", "account", "instrument", "position", "product", "quantity", "entry_price", "live")


class _ReadOnlyInline(_Inline):
    extra = 0
    can_delete = False
    show_change_link = True

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
class StrategyAdmin(_Admin):
    form: Any = StrategyForm
    list_display = ("__str__", "user", "instrument", "status", "position", "quantity", "stop", "live")
    list_filter = ("status", "position", "product", "account__broker")
    list_select_related = ("user", "instrument", "account")
    search_fields = ("name", "instrument__tradingsymbol", "user__username")
    autocomplete_fields = ("user", "account", "instrument")
    actions = ("start_strategies", "stop_strategies")
    inlines = (ExitInline,)
    fieldsets = (
        (None, {"fields": ("user", "account", "instrument", "name")}),
        ("Position", {"fields": ("position", "product", "quantity", "entry_price", "live")}),
        ("Stop", {"fields": ("stop_loss",)}),
        ("Life", {"fields": _LIFE, "description": "Changed by starting, stopping and exiting only."}),
    )

    @admin.display(description="stop-loss", ordering="stop_loss")
    def stop(self, strategy: Strategy) -> str:
        return plain(strategy.stop_loss) or "–"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """While a stop is armed only the stop may move; while it exits, nothing may."""
        status = obj.status if obj else Strategy.Status.DRAFT
        if status == Strategy.Status.ACTIVE:
            return (*_LIFE, *_TERMS)
        return (*_LIFE, *_TERMS, "stop_loss") if status == Strategy.Status.EXITING else _LIFE

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save what the person changed; a stop that moved goes through its service."""
        if not change:
            obj.save()
            return
        names = [name for name in form.changed_data if name != "stop_loss"]
        if names:  # named, so that a listener's write since the form was shown is not undone
            obj.save(update_fields=names)
        if "stop_loss" in form.changed_data:
            self._move_stop(request, obj)

    def _move_stop(self, request: HttpRequest, strategy: Strategy) -> None:
        if strategy.stop_loss is None:
            strategy.save(update_fields=["stop_loss"])
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

    @admin.action(description="Start strategies: arm their stops", permissions=["change"])
    def start_strategies(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        def start_one(strategy: Strategy) -> None:
            refuse_passed_stop(strategy)
            services.start_strategy(strategy, by=request.user)

        self._each(request, queryset, start_one, "started")

    @admin.action(description="Stop strategies: take their stops off", permissions=["change"])
    def stop_strategies(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._each(request, queryset, lambda row: services.stop_strategy(row, by=request.user), "stopped")

    def _each(
        self, request: HttpRequest, rows: QuerySet[Any], act: Callable[[Strategy], object], done: str
    ) -> None:
        count = 0
        for strategy in rows.select_related("account", "instrument"):
            try:
                act(strategy)
            except StrategyError as exc:
                self.message_user(request, str(exc), messages.ERROR)
            else:
                count += 1
        if count:
            self.message_user(request, f"{count} {done}.", messages.SUCCESS)


@admin.register(Exit)
class ExitAdmin(ReadOnly):
    list_display = ("created_at", "strategy", "reason", "trigger_price", "quantity", "state", "concern")
    list_filter = ("state", "reason")
    list_select_related = ("strategy__instrument",)
    search_fields = ("strategy__name", "strategy__instrument__tradingsymbol")
    date_hierarchy = "created_at"
    ordering = ("-pk",)
    inlines = (ExitOrderInline,)


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
    show_change_link = False
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
    search_fields = ("text", "user__username", "strategy__name")
    date_hierarchy = "created_at"
    ordering = ("-pk",)
    actions = ("acknowledge",)
    inlines = (AlertDeliveryInline,)

    @admin.display(description="about")
    def about(self, alert: Alert) -> str:
        return alerts.subject(alert) or "–"

    def has_acknowledge_permission(self, request: HttpRequest) -> bool:
        """Whoever may change strategies may take note of their alerts."""
        user: Any = request.user
        return bool(user.has_perm("strategies.change_strategy"))

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


@admin.register(SeenRange)
class SeenRangeAdmin(ReadOnly):
    list_display = ("strategy", "epoch", "low", "high", "at")
    list_select_related = ("strategy__instrument",)
    search_fields = ("strategy__name",)
    ordering = ("-at",)
