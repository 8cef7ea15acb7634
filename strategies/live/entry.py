"""What a form refuses that the services would carry out."""

from __future__ import annotations

from decimal import Decimal

from asgiref.sync import async_to_sync

from marketdata.ltp import get_cached_ltp
from strategies.models import Strategy
from strategies.reporting import plain
from strategies.services import StrategyError

WHEN_STARTED = "starting would exit at once. Move the stop first."


def refuse_passed_stop(strategy: Strategy, otherwise: str = WHEN_STARTED) -> None:
    """Refuse a stop that the price has already passed: arming it would exit at once.

    Without a fresh price nothing is known, and nothing refused: the listener exits if it must.

    Args:
        strategy: With the stop as it would be.
        otherwise: What would happen, and what to do; ends the sentence.

    Raises:
        StrategyError: The last known price is at or beyond the stop.

    """
    if strategy.stop_loss is None or strategy.position == Strategy.Position.NONE:
        return
    price = last_price(strategy.symbol)
    if price is None:
        return
    long = strategy.position == Strategy.Position.BOUGHT
    if price <= strategy.stop_loss if long else price >= strategy.stop_loss:
        raise StrategyError(
            f"{strategy.symbol} trades at {plain(price)}, already {'at or below' if long else 'at or above'} the "
            f"stop {plain(strategy.stop_loss)}: {otherwise}"
        )


def last_price(symbol: str) -> Decimal | None:
    """Return the last traded price in rupees; None where no fresh one is known."""
    return async_to_sync(get_cached_ltp)(symbol)
