from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.db.models import QuerySet
from django.http import HttpResponse
from ninja import Query, Router, Schema

from project.api.auth import ApiRequest
from project.api.once import once
from project.api.own import one, page
from project.api.schemas import Nothing
from strategies.alerts import acknowledge as acknowledge_alert
from strategies.alerts import alert_body, named
from strategies.models import Alert

router = Router(tags=["alerts"])


class AlertOut(Schema):
    """Something a person has to know; `urgent` ones are told again until acknowledged or over."""

    id: int
    kind: str
    urgency: str
    mode: str
    account: int | None
    strategy: int | None
    exit: int | None
    symbol: str
    name: str
    text: str
    at: datetime
    acknowledged_at: datetime | None
    closed_at: datetime | None


class AlertsOut(Schema):
    """`next`: send it as `before` for the ones further back."""

    items: list[AlertOut]
    next: int | None


@router.get("", response=AlertsOut, summary="Your alerts, newest first")
def alerts(
    request: ApiRequest,
    waiting: bool = False,
    before: Annotated[int, Query(ge=1)] | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    """`waiting`: only those that are neither acknowledged nor over."""
    rows = _own(request)
    if waiting:
        rows = rows.filter(acknowledged_at=None, closed_at=None)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found, following = page(rows.order_by("-pk"), limit)
    return {"items": [_out(row) for row in found], "next": following}


@router.post("/{alert}/acknowledge", response=AlertOut, summary="Say that an alert was seen")
def acknowledge(request: ApiRequest, alert: int, data: Nothing | None = None) -> HttpResponse:
    """It is not told again. One that was acknowledged already stays as it is."""

    def act() -> AlertOut:
        acknowledge_alert(_one(request, alert), request.user)
        return _out(_one(request, alert))

    return once(request, act)


def _own(request: ApiRequest) -> QuerySet[Alert]:
    return named(Alert.objects.filter(user=request.user))


def _one(request: ApiRequest, pk: int) -> Alert:
    return one(_own(request), pk, "alert", "alerts")


def _out(row: Alert) -> AlertOut:
    return AlertOut(**alert_body(row), acknowledged_at=row.acknowledged_at, closed_at=row.closed_at)
