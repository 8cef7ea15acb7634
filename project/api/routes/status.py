from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils import timezone
from ninja import Router, Schema

from marketdata.wanted import read_calendar
from project.api.auth import ApiRequest
from project.health import websocket_health

router = Router(tags=["status"])


class UnprotectedOut(Schema):
    strategy: int
    reason: str


class ProtectionOut(Schema):
    armed: int
    protected: int
    unprotected: list[UnprotectedOut]


class ListenerHealthOut(Schema):
    state: str
    is_connected: bool
    is_ticking: bool
    subscribed_symbols: list[str]
    subscription_count: int
    reconnect_attempts: int
    last_tick_age_s: float | None
    worker: str
    last_error: str


class StatusOut(Schema):
    """``status`` is healthy, or degraded when a stop is not protected or a listener is not well."""

    status: str
    protection: ProtectionOut
    listeners: dict[str, ListenerHealthOut]
    tick_processor: dict[str, Any]
    warnings: list[str]


@router.get("/status", response=StatusOut, summary="How your stops and listeners are")
def status(request: ApiRequest) -> dict[str, Any]:
    """Your part of /health/websocket; listeners by `broker:account`. Answers 200 when degraded, too."""
    calendar = read_calendar(always=settings.MARKET_HOURS == "always")
    report = websocket_health(request.user.pk, timezone.now(), calendar)
    mine = report["listeners"].get(str(request.user.pk), {})
    return {"warnings": [], **report, "listeners": mine}
