from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from ninja import Router, Schema

from marketdata.evidence import is_connected, is_reported, is_ticking
from marketdata.listening import restart_listening, start_listening, stop_listening
from marketdata.logins import token_life
from marketdata.models import BrokerAccount, Listener
from project.api.auth import ApiRequest
from project.api.once import once
from project.api.own import one
from project.api.schemas import Flag, Nothing, StrictSchema

router = Router(tags=["listeners"])


class ListenerOut(Schema):
    """The listener of a broker account; its id is the account's.

    ``wanted`` is ``running`` or ``stopped``; ``state`` what the process that runs it reported within 8 s.
    """

    id: int
    broker: str
    name: str
    simulated: bool
    wanted: str
    state: str
    is_connected: bool
    is_ticking: bool
    last_tick_at: datetime | None
    last_error: str
    login_holds: bool
    login: str


class ListenersOut(Schema):
    items: list[ListenerOut]


class StopListener(StrictSchema):
    """``even_watching``: stop although strategies lose their watch."""

    even_watching: Flag = False


@router.get("", response=ListenersOut, summary="Your accounts and how their listeners are")
def listeners(request: ApiRequest) -> dict[str, Any]:
    return {"items": [_out(row) for row in _own(request).order_by("pk")]}


@router.post("/{account}/start", response=ListenerOut, summary="Have a listener run")
def start(request: ApiRequest, account: int, data: Nothing | None = None) -> HttpResponse:
    """A wish: it is carried out within 2 seconds."""
    return _ask(request, account, start_listening)


@router.post("/{account}/restart", response=ListenerOut, summary="Have a listener connect anew")
def restart(request: ApiRequest, account: int, data: Nothing | None = None) -> HttpResponse:
    """A wish: it is carried out within 2 seconds. One that is stopped is started."""
    return _ask(request, account, restart_listening)


@router.post("/{account}/stop", response=ListenerOut, summary="Have a listener end")
def stop(request: ApiRequest, account: int, data: StopListener | None = None) -> HttpResponse:
    """Its stops are not watched any more.

    Refused with `still_watching` while it watches strategies, unless `even_watching` says that they may lose
    their watch.
    """
    even = data is not None and data.even_watching
    return _ask(request, account, stop_listening, even_watching=even)


def _ask(
    request: ApiRequest, pk: int, wish: Callable[..., list[BrokerAccount]], **options: bool
) -> HttpResponse:
    def act() -> ListenerOut:
        _one(request, pk)
        wish([pk], by=request.user, **options)
        return _out(_one(request, pk))

    return once(request, act)


def _own(request: ApiRequest) -> QuerySet[BrokerAccount]:
    return BrokerAccount.objects.filter(user=request.user).select_related("listener").defer("api_secret")


def _one(request: ApiRequest, pk: int) -> BrokerAccount:
    return one(_own(request), pk, "account", "listeners")


def _out(row: BrokerAccount) -> ListenerOut:
    now = timezone.now()
    listener: Listener | None = getattr(row, "listener", None)
    life = token_life(row, now)
    return ListenerOut(
        id=row.pk,
        broker=row.broker,
        name=str(row),
        simulated=row.broker in settings.SIMULATED_BROKERS,
        wanted=row.desired_state,
        state=listener.state if listener and is_reported(listener, now) else Listener.State.STOPPED.value,
        is_connected=is_connected(listener, now),
        is_ticking=is_ticking(listener, now),
        last_tick_at=listener.last_tick_at if listener else None,
        last_error=listener.last_error if listener else "",
        login_holds=life.holds,
        login=life.text,
    )
