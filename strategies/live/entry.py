"""What a form refuses that the services would carry out."""

from __future__ import annotations

from asgiref.sync import async_to_sync

from marketdata.ltp import get_cached_ltp
from strategies.models import Strategy
from strategies.services import StrategyError


def refuse_passed_stop(strategy: Strategy) -> None:
    """Refuse a stop that the price has already passed: arming it would exit at once.

    Without a fresh price nothing is known, and nothing refused: the listener exits if it must.

    Raises:
        StrategyError: The last known price is at or beyond the stop.

    """
    if strategy.stop_loss is None or strategy.position == Strategy.Position.NONE:
        return
    price = async_to_sync(get_cached_ltp)(strategy.symbol)
    if price is None:
        return
    long = strategy.position == Strategy.Position.BOUGHT
    if price <= strategy.stop_loss if long else price >= strategy.stop_loss:
        raise StrategyError(
            f"{strategy.symbol} trades at {price:f}, already {'at or below' if long else 'at or above'} the stop "
            f"{strategy.stop_loss.normalize():f}: starting would exit at once. Move the stop first."
        )
