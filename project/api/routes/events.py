from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from ninja import Query, Router, Schema

from marketdata.models import ListenerEvent
from project.api.auth import ApiRequest
from project.api.settled import settled
from strategies.live.words import event_words
from strategies.models import StrategyEvent

router = Router(tags=["events"])
MOST = 500

Since = Annotated[int, Query(ge=0, le=2**63 - 1)]
Limit = Annotated[int, Query(ge=1, le=MOST)]


class StrategyEventOut(Schema):
    """Something that happened to a strategy; `text` says it in words."""

    id: int
    at: datetime
    strategy: int
    kind: str
    text: str
    detail: dict[str, Any]


class ListenerEventOut(Schema):
    """Something that happened to a listener; `text` says it in words."""

    id: int
    at: datetime
    account: int
    kind: str
    text: str
    detail: dict[str, Any]


class StrategyEventsOut(Schema):
    """`last`: send it as `since` for what comes after these; `more`: there is some already."""

    items: list[StrategyEventOut]
    last: int
    more: bool


class ListenerEventsOut(Schema):
    """As for strategies; the ids are others."""

    items: list[ListenerEventOut]
    last: int
    more: bool


@router.get("/events", response=StrategyEventsOut, summary="What happened to your strategies, since an event")
def events(request: ApiRequest, since: Since = 0, limit: Limit = 100) -> dict[str, Any]:
    """Oldest first; whoever goes on from `last` misses nothing.

    Ids only rise, and none comes in later before one that was given out. They have holes: other users' events.
    """
    rows = settled(StrategyEvent.objects.filter(strategy__user=request.user, pk__gt=since))
    return _told(list(rows.order_by("pk")[: limit + 1]), "strategy", since, limit)


@router.get(
    "/listeners/events", response=ListenerEventsOut, summary="What happened to your listeners, since an event"
)
def listener_events(request: ApiRequest, since: Since = 0, limit: Limit = 100) -> dict[str, Any]:
    """As /events; these ids count apart."""
    rows = settled(ListenerEvent.objects.filter(account__user=request.user, pk__gt=since))
    return _told(list(rows.order_by("pk")[: limit + 1]), "account", since, limit)


def _told(found: list[Any], subject: str, since: int, limit: int) -> dict[str, Any]:
    items = [_out(row, subject) for row in found[:limit]]
    return {"items": items, "last": items[-1]["id"] if items else since, "more": len(found) > limit}


def _out(row: StrategyEvent | ListenerEvent, subject: str) -> dict[str, Any]:
    return {
        "id": row.pk,
        "at": row.at,
        subject: getattr(row, f"{subject}_id"),
        "kind": row.kind,
        "text": event_words(row.kind, row.detail).text,
        "detail": row.detail,
    }
