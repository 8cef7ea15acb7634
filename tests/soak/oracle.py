"""Judges a soaked day by the simulator: what prices there were, and what was really traded.

Every stop that a price touched has one exit, filled once and in full; no other has any; no
position crossed flat; every order had its committed permit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from marketdata.simulator.control import SimulatorControl
from strategies.domain.exits import ExitState
from strategies.domain.tags import is_ours
from strategies.models import Exit
from tests.crash.oracle import unpermitted
from tests.soak.portfolio import Held

Order = Mapping[str, Any]


def is_touched(held: Held, control: SimulatorControl) -> bool:
    """Tell whether the tape has shown a price at or through the stop."""
    told = control.instrument(held.symbol)
    if held.is_long:
        return Decimal(told["low"]) <= held.stop
    return Decimal(told["high"]) >= held.stop


def violations(held: Sequence[Held], control: SimulatorControl) -> list[str]:
    """Return what is wrong. Blocks: reads the database."""
    ledger = control.ledger()
    found = list(unpermitted([order for order in ledger if is_ours(order["tag"])]))
    clients = {one.account.client_id for one in held}
    extremes = {
        (client, row["symbol"]): row for client in clients for row in control.position_extremes(client)
    }
    for one in held:
        key = (one.account.client_id, one.symbol)
        orders = [order for order in ledger if (order["account"], order["symbol"]) == key]
        judged = _touched if is_touched(one, control) else _untouched
        found += [f"{one.account.broker} {one.symbol}: {text}" for text in judged(one, orders, extremes[key])]
    return found


def _touched(held: Held, orders: Sequence[Order], position: Mapping[str, Any]) -> Iterator[str]:
    exits = list(Exit.objects.filter(strategy=held.strategy))
    if len(exits) != 1:
        yield f"its stop was touched, and it has {len(exits)} exits"
        return
    filled = sum(order["filled"] for order in orders)
    if filled != held.strategy.quantity:
        yield f"{filled} of {held.strategy.quantity} filled"
    if exits[0].state != ExitState.DONE:
        yield f"its exit is {exits[0].state}: {exits[0].concern}"
    if position["quantity"] != 0 or position["lowest"] * position["highest"] < 0:
        yield f"its position is {position['quantity']}, and was {position['lowest']} to {position['highest']}"


def _untouched(held: Held, orders: Sequence[Order], _: Mapping[str, Any]) -> Iterator[str]:
    exits = Exit.objects.filter(strategy=held.strategy).count()
    if exits or orders:
        yield f"no price touched its stop, and it has {exits} exits and {len(orders)} orders"
    held.strategy.refresh_from_db()
    if held.strategy.status != "active":
        yield f"no price touched its stop, and it is {held.strategy.status}"
