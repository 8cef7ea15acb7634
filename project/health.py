"""Health for people and machines: the process, what it needs, and every listener."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from marketdata.domain.instruments import canonical
from marketdata.domain.sessions import Calendar, Phase
from marketdata.evidence import is_connected, is_reported, is_ticking
from marketdata.lists import list_warnings
from marketdata.marketdays import calendar_warnings
from marketdata.models import BrokerAccount, Listener, Subscription
from marketdata.redis_client import ERRORS
from marketdata.wanted import read_calendar
from project.status import Status, read_statuses, sync_client
from strategies.protection import protection

_NO_STATS: Mapping[str, float] = {
    "total_ticks": 0,
    "error_count": 0,
    "error_rate": 0.0,
    "avg_processing_time_ms": 0.0,
    "p99_processing_time_ms": 0.0,
    "symbols_tracked": 0,
    "ticks_per_second": 0.0,
}
_SUMMED = ("total_ticks", "error_count", "symbols_tracked", "ticks_per_second")


# --- up and ready -----------------------------------------------------------------------


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200: the process is up."""
    return JsonResponse({"status": "ok"})


@login_not_required
@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when the database and Redis answer, otherwise 503 naming what does not."""
    checks = {"database": _works(_ask_database)}
    if settings.REDIS_URL:
        checks["redis"] = _works(_ask_redis)
    is_ready = all(checks.values())
    told = {name: "ok" if works else "down" for name, works in checks.items()}
    return JsonResponse(
        {"status": "ready" if is_ready else "not ready", **told}, status=200 if is_ready else 503
    )


def _works(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except (DatabaseError, *ERRORS):
        return False
    return True


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _ask_redis() -> None:
    with sync_client() as client:
        client.ping()


# --- listeners --------------------------------------------------------------------------


@login_not_required
@never_cache
@require_safe
def health_websocket(request: HttpRequest) -> JsonResponse:
    """Answer how every listener is, 200 when healthy and 503 when degraded.

    A user sees their own, staff and whoever has HEALTH_TOKEN all; others only the status.
    """
    try:
        may_see, only_user = who_asks(request)
        calendar = read_calendar(always=settings.MARKET_HOURS == "always")
        report = websocket_health(only_user, timezone.now(), calendar)
    except DatabaseError:
        return JsonResponse({"status": "degraded"}, status=503)
    code = 200 if report["status"] == "healthy" else 503
    return JsonResponse(report if may_see else {"status": report["status"]}, status=code)


def websocket_health(only_user: int | None, now: datetime, calendar: Calendar) -> dict[str, Any]:
    """Return the report about one user, or about everybody. Blocks."""
    accounts = _accounts(only_user)
    statuses = read_statuses(_worker(account) for account in accounts)
    wanted = _wanted_symbols(accounts)
    shielded = protection(only_user, now, calendar)
    listeners: dict[str, dict[str, Any]] = {}
    for account in accounts:
        told = _listener(account, wanted.get(account.pk, []), statuses, now)
        listeners.setdefault(str(account.user_id), {})[f"{account.broker}:{account.pk}"] = told
    healthy = not shielded.unprotected and all(
        _is_well(account, wanted.get(account.pk, []), now, calendar) for account in accounts
    )
    warnings = [] if calendar.always else [*calendar_warnings(now.timestamp()), *list_warnings()]
    return {
        "status": "healthy" if healthy else "degraded",
        "listeners": listeners,
        "tick_processor": {**_stats(statuses), "refused": _refused(statuses)},
        "protection": shielded.as_json(),
        **({"warnings": warnings} if warnings else {}),
    }


def who_asks(request: HttpRequest) -> tuple[bool, int | None]:
    """Return whether details may be seen, and the one user they are limited to."""
    if _has_token(request):
        return True, None
    user: AbstractBaseUser | AnonymousUser = request.user
    if not user.is_authenticated:
        return False, None
    return True, None if getattr(user, "is_staff", False) else user.pk


def _has_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    expected = settings.HEALTH_TOKEN
    is_bearer = bool(expected) and scheme.lower() == "bearer"
    return is_bearer and hmac.compare_digest(token.strip().encode(), expected.encode())


def _accounts(only_user: int | None) -> list[BrokerAccount]:
    """Return accounts without their credentials: health needs none, and cannot fail to decrypt them."""
    rows = BrokerAccount.objects.select_related("listener").without_secrets().order_by("pk")
    return list(rows if only_user is None else rows.filter(user_id=only_user))


def _wanted_symbols(accounts: Iterable[BrokerAccount]) -> dict[int, list[str]]:
    rows = Subscription.objects.filter(account__in=[account.pk for account in accounts])
    names = rows.values_list("account_id", "instrument__exchange", "instrument__tradingsymbol").distinct()
    found: dict[int, list[str]] = {}
    for account_id, exchange, name in names:
        found.setdefault(account_id, []).append(canonical(exchange, name))
    return found


def _listener(
    account: BrokerAccount, wanted: Iterable[str], statuses: Iterable[Status], now: datetime
) -> dict[str, Any]:
    row = _row(account)
    feeds = [status["feeds"][str(account.pk)] for status in statuses if str(account.pk) in status["feeds"]]
    symbols = sorted(feeds[0]["symbols"] if feeds else wanted if is_connected(row, now) else ())
    last_tick = None if row is None else row.last_tick_at
    return {
        "state": _state(row, now),
        "is_connected": is_connected(row, now),
        "is_ticking": is_ticking(row, now),
        "subscribed_symbols": symbols,
        "subscription_count": len(symbols),
        "reconnect_attempts": 0 if row is None else row.reconnect_attempts,
        "last_tick_age_s": None if last_tick is None else round((now - last_tick).total_seconds(), 3),
        "worker": "" if row is None else row.worker,
        "last_error": "" if row is None else row.last_error,
    }


def _state(row: Listener | None, now: datetime) -> str:
    """What the row says was true when it was written; a worker that died cannot take it back."""
    if row is None or row.state == Listener.State.STOPPED:
        return Listener.State.STOPPED.value
    return row.state if is_reported(row, now) else Listener.State.STOPPED.value


def _is_well(account: BrokerAccount, wanted: Iterable[str], now: datetime, calendar: Calendar) -> bool:
    """Connected and ticking, if it is to run and has something to watch. While its exchanges sleep, connected."""
    exchanges = {symbol.partition(":")[0] for symbol in wanted}
    if account.desired_state != BrokerAccount.DesiredState.RUNNING or not exchanges:
        return True
    phases = {calendar.phase(exchange, now.timestamp())[0] for exchange in exchanges}
    row = _row(account)
    return is_ticking(row, now) if Phase.OPEN in phases else is_connected(row, now)


def _row(account: BrokerAccount) -> Listener | None:
    return getattr(account, "listener", None)


def _worker(account: BrokerAccount) -> str:
    row = _row(account)
    return "" if row is None else row.worker


def _stats(statuses: Iterable[Status]) -> dict[str, float]:
    """Return the figures of all workers together: sums, and the worst of the times."""
    together = dict(_NO_STATS)
    for status in statuses:
        for name, before in together.items():
            told = status["stats"][name]
            together[name] = before + told if name in _SUMMED else max(before, told)
    if together["total_ticks"]:
        together["error_rate"] = together["error_count"] / together["total_ticks"]
    return together


def _refused(statuses: Iterable[Status]) -> dict[str, int]:
    """Return how many ticks were not acted on, by reason, of all workers together."""
    together: Counter[str] = Counter()
    for status in statuses:
        together.update(status["stats"].get("refused", {}))
    return dict(together)
