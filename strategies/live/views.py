"""The live page, a strategy's timeline, and the buttons of both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from marketdata.catalogue import Found, find_instruments
from marketdata.clock import SystemClock
from marketdata.daychart import read_day
from marketdata.models import BrokerAccount, Subscription
from strategies import services
from strategies.alerts import acknowledge as acknowledge_alert
from strategies.live import state as page
from strategies.live import watching, words
from strategies.live.banners import banners
from strategies.live.entry import last_price, refuse_passed_stop
from strategies.live.export import export_text
from strategies.live.forms import WatchForm
from strategies.live.prices import read_prices
from strategies.live.texts import price_text
from strategies.live.timeline import timeline_of
from strategies.models import Alert, Exit, Strategy
from strategies.services import StrategyError
from strategies.switches import mode_of, why_not_trade

_LOOK_AGAIN_S = 2
"""How soon the page of a strategy looks again while its exit goes on by itself."""
Action = Callable[[Strategy, User], Any]

_TYPED_MAX = 80
_DRAWN = 100
"""Rows of a list in the page itself; the socket's first message brings the others sooner than a template would."""


class UserRequest(HttpRequest):
    """A request that ``LoginRequiredMiddleware`` has let pass."""

    user: User


@never_cache
@require_GET
def live(request: UserRequest) -> HttpResponse:
    """The live page: complete without scripts, alive with them."""
    rows = page.read_state(request.user.pk, timezone.now())
    prices = async_to_sync(read_prices)(rows.symbols)
    for row in (*rows.strategies, *rows.watch):
        row["ltp"], row["ltp_at"] = prices.get(row["symbol"], (None, None))
    return render(request, "live/page.html", page_context(rows))


def page_context(rows: page.State) -> dict[str, Any]:
    """Return what the page's template is told."""
    return {
        "page": _readable(rows),
        "banners": banners(rows.listeners),
        "many_wait": sum(row["waits"] for row in rows.alerts) > 1,
        "blank": {"decimals": 2},
        "first": f":{_DRAWN}",
        "most": _DRAWN,
        "texts": {"RETRY": words.RETRY, "ABANDON": words.ABANDON},
    }


@never_cache
@require_GET
def timeline(request: UserRequest, pk: int) -> HttpResponse:
    """Everything that happened to one strategy, oldest first, with its orders."""
    row = page.one_strategy(request.user.pk, pk, timezone.now())
    strategy = get_object_or_404(Strategy.objects.select_related("instrument"), pk=pk, user=request.user)
    refusal = why_not_trade(strategy)
    context = {
        "row": row,
        "mode": mode_of(strategy.account, strategy),
        "why_no_order": words.to_come(refusal.text) if refusal else "",
    }
    told = timeline_of(strategy)
    answer = render(request, "live/timeline.html", {**context, **told})
    if strategy.status == Strategy.Status.EXITING and not any(exit_["can_decide"] for exit_ in told["exits"]):
        answer.headers["Refresh"] = str(_LOOK_AGAIN_S)
    return answer


@never_cache
@require_GET
def export(request: UserRequest, pk: int) -> HttpResponse:
    """Everything that is stored of one strategy, to be kept as a file."""
    text = export_text(_own(request, pk), timezone.now())
    name = {"Content-Disposition": f'attachment; filename="strategy-{pk}.json"'}
    return HttpResponse(text, content_type="application/json", headers=name)


@require_POST
def start(request: UserRequest, pk: int) -> HttpResponse:
    """Arm a strategy's stop. Where that may cost money, it is asked back first."""
    strategy = _own(request, pk)
    if mode_of(strategy.account, strategy) == "LIVE" and not _is_confirmed(request):
        return _ask(request, f"Start {strategy}?", words.ARMING, "Start", strategy)

    def act(strategy: Strategy, user: User) -> None:
        refuse_passed_stop(strategy)
        services.start_strategy(strategy, by=user)

    return _act(request, pk, act, "The stop is armed.")


@require_POST
def stop(request: UserRequest, pk: int) -> HttpResponse:
    """Take a strategy's stop off."""
    return _act(request, pk, lambda row, user: services.stop_strategy(row, by=user), "The stop is off.")


@require_POST
def exit_now(request: UserRequest, pk: int) -> HttpResponse:
    """Leave a strategy's position at once."""
    if not _is_confirmed(request):
        strategy = _own(request, pk)
        text = (
            f"An order to close the whole position of {strategy.symbol} goes to the broker at once. "
            "It cannot be called back."
        )
        return _ask(request, f"Exit {strategy} now?", text, "Exit now", strategy)
    return _act(request, pk, lambda row, user: services.exit_now(row, by=user), "Exiting now.")


@require_POST
def retry_exit(request: UserRequest, pk: int) -> HttpResponse:
    """Have an exit that waits for a person tried again."""
    row = _own_exit(request, pk)
    if not _is_confirmed(request):
        return _ask(
            request, f"Send the exit of {row.strategy} again?", words.RETRY, "Send again", row.strategy
        )
    return _decide(request, row, services.retry_exit, "Trying the exit again.")


@require_POST
def abandon_exit(request: UserRequest, pk: int) -> HttpResponse:
    """End an exit that waits for a person."""
    row = _own_exit(request, pk)
    if not _is_confirmed(request):
        return _ask(request, f"End the exit of {row.strategy}?", words.ABANDON, "End it", row.strategy)
    return _decide(request, row, services.abandon_exit, "The exit has ended. The position is yours to close.")


@require_POST
def watch(request: UserRequest) -> HttpResponse:
    """Put instruments on the watch list."""
    form = WatchForm(request.POST)
    if not form.is_valid():
        return _answer(request, error=" ".join(map(str, form.errors["instruments"])))
    try:
        count = watching.watch(request.user.pk, form.cleaned_data["instruments"])
    except watching.WatchError as exc:
        return _answer(request, error=str(exc))
    return _answer(
        request, done=f"{count} added to the watch list." if count else "Already on the watch list."
    )


@never_cache
@require_GET
def instruments(request: UserRequest) -> HttpResponse:
    """Offer the instruments that the user's brokers list and that ``q`` may mean, the likeliest first."""
    own = BrokerAccount.objects.filter(user=request.user)
    brokers = set(own.values_list("broker", flat=True))
    found = find_instruments(brokers, request.GET.get("q", "")[:_TYPED_MAX])
    return JsonResponse({"instruments": [_offered(one) for one in found]})


def _offered(found: Found) -> dict[str, str]:
    until = "" if found.expiry is None else f"{found.expiry.day} {found.expiry:%b %Y}"
    return {"symbol": found.symbol, "name": found.name, "until": until}


@never_cache
@require_GET
def chart(request: UserRequest) -> HttpResponse:
    """Return the day's prices of an instrument that the user watches or has a stop on: ``[[UNIX seconds, price]]``."""
    symbol = request.GET.get("symbol", "")
    exchange, _, tradingsymbol = symbol.partition(":")
    own = Subscription.objects.filter(account__user=request.user)
    if not own.filter(instrument__exchange=exchange, instrument__tradingsymbol=tradingsymbol).exists():
        raise Http404
    points = async_to_sync(read_day)(settings.REDIS_URL, symbol, SystemClock().time())
    return JsonResponse({"points": points})


@require_POST
def unwatch(request: UserRequest) -> HttpResponse:
    """Take an instrument off the watch list."""
    symbol = request.POST.get("instrument", "")
    gone = watching.unwatch(request.user.pk, [symbol])
    return _answer(request, done=f"{symbol} removed." if gone else f"{symbol} was not on the list.")


@require_POST
def acknowledge(request: UserRequest, pk: int | None = None) -> HttpResponse:
    """Take note that the user has seen one of their alerts, or (no ``pk``) all of them."""
    waiting = Alert.objects.filter(user=request.user, acknowledged_at=None, closed_at=None)
    chosen = waiting if pk is None else [get_object_or_404(Alert, pk=pk, user=request.user)]
    for alert in chosen:
        acknowledge_alert(alert, request.user)
    return _answer(request, done="Acknowledged.")


def _act(request: UserRequest, pk: int, action: Action, done: str) -> HttpResponse:
    strategy = _own(request, pk)
    try:
        action(strategy, request.user)
    except StrategyError as exc:
        return _answer(request, error=str(exc), strategy=pk)
    return _answer(request, done=done, strategy=pk)


def _own(request: UserRequest, pk: int) -> Strategy:
    own = Strategy.objects.select_related("instrument", "account")
    return get_object_or_404(own, pk=pk, user=request.user)


def _own_exit(request: UserRequest, pk: int) -> Exit:
    own = Exit.objects.select_related("strategy__instrument", "strategy__account")
    return get_object_or_404(own, pk=pk, strategy__user=request.user)


def _decide(request: UserRequest, row: Exit, decide: Callable[..., Exit], done: str) -> HttpResponse:
    try:
        decide(row, by=request.user)
    except StrategyError as exc:
        return _answer(request, error=str(exc), strategy=row.strategy_id)
    return _answer(request, done=done, strategy=row.strategy_id)


def _is_confirmed(request: UserRequest) -> bool:
    return request.POST.get("confirmed") == "yes"


def _is_script(request: UserRequest) -> bool:
    return "application/json" in request.headers.get("accept", "")


def _ask(request: UserRequest, title: str, text: str, button: str, strategy: Strategy) -> HttpResponse:
    """Without scripts: one page between a slip and an order."""
    context = {
        "title": title,
        "text": text,
        "button": button,
        "row": page.one_strategy(request.user.pk, strategy.pk, timezone.now()),
        "ltp": price_text(last_price(strategy.symbol), strategy.instrument.tick_size),
        "mode": mode_of(strategy.account, strategy),
        "back": request.POST.get("back", ""),
    }
    return render(request, "live/confirm.html", context)


def _answer(
    request: UserRequest, *, done: str = "", error: str = "", strategy: int | None = None
) -> HttpResponse:
    """Answer a script with the row as it is now, and a plain form with the page it came from."""
    if _is_script(request):
        row = None if strategy is None else page.one_strategy(request.user.pk, strategy, timezone.now())
        return JsonResponse(
            {"text": error or done, "ok": not error, "row": row}, status=409 if error else 200
        )
    (messages.error if error else messages.success)(request, error or done)
    is_on_its_page = strategy is not None and request.POST.get("back") == "strategy"
    return redirect("timeline", strategy) if is_on_its_page else redirect("live")


def _readable(rows: page.State) -> page.State:
    """Turn milliseconds into moments for the templates."""
    for row in (*rows.exits, *rows.events, *rows.alerts):
        row["moment"] = datetime.fromtimestamp(row["at"] / 1000, UTC)
    return rows
