"""Arm, disarm, exit now: from the admin, each behind its own permission and a page that asks first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from marketdata.admin_base import Admin, may
from strategies import services
from strategies.live.entry import refuse_passed_stop
from strategies.live.prices import read_prices
from strategies.models import Strategy
from strategies.reporting import plain
from strategies.services import StrategyError
from strategies.switches import mode_of

_MOST = 200
"""Strategies on one page that asks: more than that nobody reads."""
_COLUMNS = ("Strategy", "User", "Instrument", "Position", "Stop", "Last price", "Status", "Orders")


@dataclass(frozen=True, slots=True)
class Wish:
    """What can be asked for a strategy, and how that is said."""

    permission: str
    label: str
    title: str
    means: str
    button: str
    done: str
    act: Callable[[Strategy, Any], object]


def _arm(strategy: Strategy, by: Any) -> object:
    refuse_passed_stop(strategy)
    return services.start_strategy(strategy, by=by)


WISHES = {
    "arm": Wish(
        "strategies.arm_strategy",
        "Arm",
        "Arm the stop?",
        "From then on the whole position is sold, or bought back, the moment its stop is touched, without asking again.",
        "Yes, arm",
        "armed",
        _arm,
    ),
    "disarm": Wish(
        "strategies.disarm_strategy",
        "Disarm",
        "Take the stop off?",
        "The stop cannot trigger any more, whatever the price does. The position stays as it is.",
        "Yes, disarm",
        "disarmed",
        lambda strategy, by: services.stop_strategy(strategy, by=by),
    ),
    "exit": Wish(
        "strategies.exit_strategy",
        "Exit now",
        "Exit now?",
        "The whole position is closed at the market price, at once. This cannot be called back.",
        "Yes, exit now",
        "being exited",
        lambda strategy, by: services.exit_now(strategy, by=by),
    ),
}


class StrategyWishes(Admin):
    """Each wish as an action of the list and as a way from the form."""

    actions: tuple[str, ...] = ("arm_strategies", "disarm_strategies", "exit_strategies")
    change_form_template = "admin/strategies/strategy_form.html"

    def has_arm_permission(self, request: HttpRequest) -> bool:
        return may(request, WISHES["arm"].permission)

    def has_disarm_permission(self, request: HttpRequest) -> bool:
        return may(request, WISHES["disarm"].permission)

    def has_exit_permission(self, request: HttpRequest) -> bool:
        return may(request, WISHES["exit"].permission)

    @admin.action(description="Arm: let their stops trigger", permissions=["arm"])
    def arm_strategies(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._chosen(request, "arm", queryset)

    @admin.action(description="Disarm: take their stops off", permissions=["disarm"])
    def disarm_strategies(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._chosen(request, "disarm", queryset)

    @admin.action(description="Exit now: close their positions", permissions=["exit"])
    def exit_strategies(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self._chosen(request, "exit", queryset)

    def get_urls(self) -> list[URLPattern]:
        """Add the page that asks before a wish for one strategy."""
        asking = self.admin_site.admin_view(self.wish_view)
        way = path("<int:pk>/<slug:name>/asked/", asking, name="strategies_strategy_wish")
        return [way, *super().get_urls()]

    def wish_view(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        """Ask, then carry out."""
        if name not in WISHES:
            raise Http404
        if not may(request, WISHES[name].permission):
            raise PermissionDenied
        row = get_object_or_404(_with_parts(Strategy.objects.all()), pk=pk)
        seen = self.has_view_permission(request)
        back = reverse("admin:strategies_strategy_change", args=[pk]) if seen else reverse("admin:index")
        if request.POST.get("confirmed") != "yes":
            return self._ask(request, name, [row], [], target=request.path, back=back)
        self._carry_out(request, name, [row])
        return HttpResponseRedirect(back)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the form with a way to each wish that makes sense and is allowed."""
        row: Any = self.get_object(request, unquote(object_id))
        names = (
            [] if row is None else [name for name in _sensible(row) if may(request, WISHES[name].permission)]
        )
        ways = [
            (WISHES[name].label, reverse("admin:strategies_strategy_wish", args=[row.pk, name]))
            for name in names
        ]
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "wishes": ways})

    # --- inside -----------------------------------------------------------------------------

    def _chosen(self, request: HttpRequest, name: str, queryset: QuerySet[Any]) -> HttpResponse | None:
        rows = list(_with_parts(queryset)[: _MOST + 1])
        if len(rows) > _MOST:
            self.message_user(request, f"Choose {_MOST} strategies at most.", messages.ERROR)
            return None
        if request.POST.get("confirmed") == "yes":
            self._carry_out(request, name, rows)
            return None
        # Named one by one: what is confirmed is what was shown, not what a filter finds later.
        fields = [
            ("action", request.POST.get("action", "")),
            *((ACTION_CHECKBOX_NAME, row.pk) for row in rows),
        ]
        target = request.get_full_path()
        return self._ask(request, name, rows, fields, target=target, back=target)

    def _ask(
        self,
        request: HttpRequest,
        name: str,
        rows: Sequence[Strategy],
        fields: list[Any],
        *,
        target: str,
        back: str,
    ) -> HttpResponse:
        wish = WISHES[name]
        context = {
            **self.admin_site.each_context(request),
            "title": wish.title,
            "says": wish.means,
            "columns": _COLUMNS,
            "rows": _shown(rows),
            "fields": fields,
            "target": target,
            "back": back,
            "button": wish.button,
        }
        return TemplateResponse(request, "admin/ask.html", context)

    def _carry_out(self, request: HttpRequest, name: str, rows: Sequence[Strategy]) -> None:
        count = 0
        for strategy in rows:
            try:
                WISHES[name].act(strategy, request.user)
            except StrategyError as exc:
                self.message_user(request, str(exc), messages.ERROR)
            else:
                count += 1
        if count:
            self.message_user(request, f"{count} {WISHES[name].done}.", messages.SUCCESS)


def _with_parts(rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows.select_related("account", "instrument", "user")


def _sensible(strategy: Strategy) -> list[str]:
    if strategy.status == Strategy.Status.ACTIVE:
        return ["disarm"] if strategy.position == Strategy.Position.NONE else ["disarm", "exit"]
    return [] if strategy.status == Strategy.Status.EXITING else ["arm"]


def _shown(rows: Sequence[Strategy]) -> list[tuple[str, ...]]:
    """Return the cells of each strategy: what money may move for, in the words of the list."""
    known = async_to_sync(read_prices)({row.symbol for row in rows})
    return [
        (
            str(row),
            str(row.user),
            row.symbol,
            f"{row.get_position_display()} {row.quantity} {row.product}",
            plain(row.stop_loss) or "–",
            known.get(row.symbol, (None, 0))[0] or "not known",
            str(row.get_status_display()),
            mode_of(row.account, row),
        )
        for row in rows
    ]
