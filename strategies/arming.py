"""Reading which stops are to be armed. Blocks: call it from the exit engine's own thread."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from marketdata.domain.instruments import canonical, contract_text
from marketdata.domain.prices import to_units
from strategies.domain.rules import FixedStop
from strategies.domain.stops import Stop
from strategies.models import Strategy


@dataclass(frozen=True, slots=True)
class Unarmed:
    """An active strategy with a position whose stop cannot be watched, and why."""

    strategy_id: int
    user_id: int
    account_id: int
    reason: str


def armed_stops(users: Collection[int] | None = None) -> tuple[list[Stop], list[Unarmed]]:
    """Return every stop that has to be watched, and the rows that say so but cannot be.

    Of these users, or (None) of all.
    """
    stops: list[Stop] = []
    unarmed: list[Unarmed] = []
    for row in _armed_rows(users):
        try:
            stops.append(_stop(row))
        except (ArithmeticError, TypeError, ValueError) as exc:  # one row's trouble is not the others'
            unarmed.append(Unarmed(row["id"], row["user_id"], row["account_id"], str(exc)))
    return stops, unarmed


def _armed_rows(users: Collection[int] | None) -> list[dict[str, Any]]:
    """Read all at once; where one price cannot be read, without the prices: each is then read alone."""
    names = ("id", "epoch", "user_id", "account_id", "position", "quantity")
    instrument = (
        "instrument__exchange",
        "instrument__tradingsymbol",
        "instrument__token",
        "instrument__instrument_type",
        "instrument__expiry",
        "contract",
    )
    active = Strategy.objects.filter(status=Strategy.Status.ACTIVE).exclude(position=Strategy.Position.NONE)
    if users is not None:
        active = active.filter(user__in=users)
    try:
        return list(active.values(*names, *instrument, "instrument__strike", "stop_loss"))
    except (ArithmeticError, TypeError, ValueError):
        return list(active.values(*names, *instrument))


def _stop(row: Mapping[str, Any]) -> Stop:
    position, quantity = row["position"], row["quantity"]
    if position not in ("BOUGHT", "SOLD"):
        raise ValueError(f"its position is {position!r}, neither BOUGHT nor SOLD")
    if not isinstance(quantity, int) or quantity <= 0:
        raise ValueError(f"its quantity is {quantity!r}")
    _check_contract(row)
    stop = row["stop_loss"] if "stop_loss" in row else _stop_loss(row["id"])
    if stop is None:
        raise ValueError("it has no stop-loss")
    rule = FixedStop(to_units(stop), position == "BOUGHT")
    symbol = canonical(row["instrument__exchange"], row["instrument__tradingsymbol"])
    return Stop(row["id"], row["epoch"], row["user_id"], symbol, rule, quantity)


def _check_contract(row: Mapping[str, Any]) -> None:
    """Refuse a row whose instrument is not what it was: tokens and names are given to others after expiry."""
    name = canonical(row["instrument__exchange"], row["instrument__tradingsymbol"])
    if not row["instrument__token"]:
        raise ValueError(f"{name} is no longer in the broker's instrument list")
    if not row["contract"] or "instrument__strike" not in row:
        return
    listed = contract_text(
        row["instrument__instrument_type"], row["instrument__expiry"], row["instrument__strike"]
    )
    if listed != row["contract"]:
        raise ValueError(
            f"{name} is another contract now ({listed}) than when it was started ({row['contract']})"
        )


def _stop_loss(strategy_id: int) -> Decimal | None:
    try:
        return Strategy.objects.values_list("stop_loss", flat=True).get(pk=strategy_id)
    except (ArithmeticError, TypeError, ValueError) as exc:
        raise ValueError(f"its stop-loss cannot be read ({exc})") from exc
