from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from django.db.models import QuerySet
from django.http import HttpResponse
from ninja import Query, Router, Schema

from project.api.auth import ApiRequest
from project.api.once import once
from project.api.own import one, page
from project.api.schemas import Nothing
from strategies import services
from strategies.domain.exits import ExitState
from strategies.models import Exit
from strategies.reporting import exit_body

router = Router(tags=["exits"])


class OrderOut(Schema):
    """One order: `tag` is how the broker's book shows it, `message` the broker's own words."""

    tag: str
    state: str
    side: str
    product: str
    quantity: int
    filled: int
    average_price: str | None
    order_id: str
    message: str
    sent_at: datetime | None


class ExitOut(Schema):
    """Leaving a position. `sentence` says how it stands; nothing is called sold before it is filled."""

    id: int
    strategy: int
    name: str
    symbol: str
    reason: str
    state: str
    quantity: int
    filled: int
    trigger_price: str | None
    sentence: str
    at: datetime
    orders: list[OrderOut]


class ExitsOut(Schema):
    """`next`: send it as `before` for the ones further back."""

    items: list[ExitOut]
    next: int | None


@router.get("", response=ExitsOut, summary="Your exits, newest first")
def exits(
    request: ApiRequest,
    state: ExitState | None = None,
    strategy: int | None = None,
    before: Annotated[int, Query(ge=1)] | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> dict[str, Any]:
    narrowed = {"state": state, "strategy": strategy, "pk__lt": before}
    rows = _own(request).filter(**{name: value for name, value in narrowed.items() if value is not None})
    found, following = page(rows.order_by("-pk"), limit)
    return {"items": [_out(row) for row in found], "next": following}


@router.get("/{exit_id}", response=ExitOut, summary="One exit with its orders")
def exit_(request: ApiRequest, exit_id: int) -> ExitOut:
    return _out(_one(request, exit_id))


@router.post("/{exit_id}/retry", response=ExitOut, summary="Try an exit again that waits for a person")
def retry(request: ApiRequest, exit_id: int, data: Nothing | None = None) -> HttpResponse:
    """Look at the broker's order book first.

    An order whose fate is not known is given up by this: if it is alive all the same, the position is sold twice.
    """
    return _decide(request, exit_id, services.retry_exit)


@router.post("/{exit_id}/abandon", response=ExitOut, summary="End an exit that waits for a person")
def abandon(request: ApiRequest, exit_id: int, data: Nothing | None = None) -> HttpResponse:
    """What is still open at the broker is cancelled; the position stays as it is, without a stop."""
    return _decide(request, exit_id, services.abandon_exit)


def _decide(request: ApiRequest, pk: int, decide: Callable[..., Exit]) -> HttpResponse:
    return once(request, lambda: _out(decide(_one(request, pk), by=request.user)))


def _own(request: ApiRequest) -> QuerySet[Exit]:
    return Exit.objects.filter(strategy__user=request.user).select_related("strategy__instrument")


def _one(request: ApiRequest, pk: int) -> Exit:
    return one(_own(request), pk, "exit", "exits")


def _out(row: Exit) -> ExitOut:
    return ExitOut(**exit_body(row))
