from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from django.db.models import QuerySet
from django.http import HttpResponse
from ninja import Query, Router, Schema

from project.api import entering
from project.api.auth import ApiRequest
from project.api.entering import NewStrategy, StopPrice, StrategyChanges
from project.api.once import once
from project.api.own import one, page
from project.api.schemas import Nothing
from strategies import services
from strategies.live.entry import refuse_passed_stop
from strategies.models import Strategy
from strategies.reporting import strategy_body

router = Router(tags=["strategies"])


class StrategyOut(Schema):
    """A position with its stop. Prices are rupees, as text."""

    id: int
    name: str
    symbol: str
    account: int
    status: str
    position: str
    product: str
    quantity: int
    entry_price: str | None
    stop_loss: str | None
    tick_size: str | None
    live: bool
    sl_triggered: bool
    sl_trigger_price: str | None
    created_at: datetime


class StrategiesOut(Schema):
    """`next`: send it as `after` for those that follow."""

    items: list[StrategyOut]
    next: int | None


class DeletedOut(Schema):
    deleted: int


@router.get("", response=StrategiesOut, summary="Your strategies, oldest first")
def strategies(
    request: ApiRequest,
    status: Strategy.Status | None = None,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    rows = _own(request).filter(pk__gt=after)
    if status is not None:
        rows = rows.filter(status=status)
    found, following = page(rows.order_by("pk"), limit)
    return {"items": [_out(row) for row in found], "next": following}


@router.post("", response={201: StrategyOut}, summary="Enter a strategy")
def create(request: ApiRequest, data: NewStrategy) -> HttpResponse:
    """Stored as a draft: nothing is armed before it is started."""
    checked: list[Strategy] = []

    def check() -> None:
        checked.append(entering.entered(request.user, data))

    return once(
        request, lambda: _out(services.create_strategy(checked[0], by=request.user)), check=check, status=201
    )


@router.get("/{strategy}", response=StrategyOut, summary="One strategy")
def strategy_(request: ApiRequest, strategy: int) -> StrategyOut:
    return _out(_one(request, strategy))


@router.patch("/{strategy}", response=StrategyOut, summary="Change a strategy")
def change(request: ApiRequest, strategy: int, data: StrategyChanges) -> HttpResponse:
    """Everything may change while nothing is armed; afterwards its name, and its stop through `stop-price`."""
    changes: dict[str, Any] = {}

    def check() -> None:
        changes.update(entering.changed(_one(request, strategy), data))

    def carry_out(row: Strategy, **by: Any) -> Strategy:
        return services.change_strategy(row, changes, **by) if changes else row

    return _act(request, strategy, carry_out, check)


@router.delete("/{strategy}", response=DeletedOut, summary="Delete a draft")
def delete(request: ApiRequest, strategy: int) -> HttpResponse:
    """Only what was never started: everything else has a history, and stays."""

    def act() -> DeletedOut:
        services.delete_draft(_one(request, strategy))
        return DeletedOut(deleted=strategy)

    return once(request, act)


@router.post("/{strategy}/start", response=StrategyOut, summary="Arm a strategy's stop")
def start(request: ApiRequest, strategy: int, data: Nothing | None = None) -> HttpResponse:
    """Refused where the last price is at or beyond the stop: it would exit at once."""

    def check() -> None:
        refuse_passed_stop(_one(request, strategy))

    return _act(request, strategy, services.start_strategy, check)


@router.post("/{strategy}/stop", response=StrategyOut, summary="Take a strategy's stop off")
def stop(request: ApiRequest, strategy: int, data: Nothing | None = None) -> HttpResponse:
    """The position stays as it is. An exit that has begun is not called back."""
    return _act(request, strategy, services.stop_strategy)


@router.post("/{strategy}/stop-price", response=StrategyOut, summary="Move a strategy's stop")
def stop_price(request: ApiRequest, strategy: int, data: StopPrice) -> HttpResponse:
    """A multiple of the tick size; refused where the last price is at or beyond it."""

    def check() -> None:
        entering.check_stop(_one(request, strategy), data)

    def move(row: Strategy, **by: Any) -> Strategy:
        return services.update_stop(row, data.stop_loss, **by)

    return _act(request, strategy, move, check)


@router.post("/{strategy}/exit", response=StrategyOut, summary="Leave a strategy's whole position now")
def exit_now(request: ApiRequest, strategy: int, data: Nothing | None = None) -> HttpResponse:
    """An order goes to the broker at once and cannot be called back: /exits shows what became of it.

    With an `Idempotency-Key` it is safe to send again after a lost answer.
    """
    return _act(request, strategy, services.exit_now)


def _act(
    request: ApiRequest,
    pk: int,
    service: Callable[..., Strategy],
    check: Callable[[], object] = lambda: None,
) -> HttpResponse:
    return once(request, lambda: _out(service(_one(request, pk), by=request.user)), check=check)


def _own(request: ApiRequest) -> QuerySet[Strategy]:
    return Strategy.objects.filter(user=request.user).select_related("instrument", "account")


def _one(request: ApiRequest, pk: int) -> Strategy:
    return one(_own(request), pk, "strategy", "strategies")


def _out(row: Strategy) -> StrategyOut:
    return StrategyOut(**strategy_body(row), live=row.live, created_at=row.created_at)
