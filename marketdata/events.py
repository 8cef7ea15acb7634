"""What a listener tells, and how it tells ticks."""

from __future__ import annotations

from datetime import UTC, datetime

from marketdata.callbacks import Callbacks
from marketdata.domain.prices import to_rupees
from marketdata.domain.ticks import Tick

EVENTS = ("on_tick", "on_ticks", "on_connect", "on_disconnect", "on_error", "on_order_update")


def tell_ticks(callbacks: Callbacks, ticks: list[Tick]) -> None:
    """Emit ``on_ticks`` once, and ``on_tick`` for each when anybody listens to it."""
    callbacks.emit("on_ticks", ticks)
    if not callbacks.wants("on_tick"):
        return
    for tick in ticks:
        moment = None if tick.exchange_time is None else datetime.fromtimestamp(tick.exchange_time, UTC)
        callbacks.emit("on_tick", tick.symbol, to_rupees(tick.price), moment)
