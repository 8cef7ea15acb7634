"""What a listener's row is evidence of: that somebody runs it, that it is connected, that prices arrive."""

from __future__ import annotations

from datetime import datetime, timedelta

from marketdata.models import Listener

REPORT_MAX_AGE = timedelta(seconds=8)
"""A listener writes its row every two seconds: older than this, nobody runs it."""
TICK_MAX_AGE = timedelta(seconds=12)
"""Ten seconds without a price, and two until that is written."""


def is_reported(listener: Listener | None, now: datetime) -> bool:
    """Tell whether a process runs this listener now."""
    return (
        listener is not None
        and listener.reported_at is not None
        and now - listener.reported_at <= REPORT_MAX_AGE
    )


def is_connected(listener: Listener | None, now: datetime) -> bool:
    """Tell whether the feed is connected, by a report that is fresh."""
    return listener is not None and is_reported(listener, now) and listener.state == Listener.State.CONNECTED


def has_ticked(listener: Listener | None, now: datetime) -> bool:
    """Tell whether its last price is young; it may be one that was asked for."""
    last = None if listener is None else listener.last_tick_at
    return last is not None and now - last <= TICK_MAX_AGE


def is_ticking(listener: Listener | None, now: datetime) -> bool:
    """Tell whether prices arrive."""
    return is_connected(listener, now) and has_ticked(listener, now)
