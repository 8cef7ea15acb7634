"""How a feed is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

TICKING_S = 10.0
"""A feed with a tick this recent is ticking."""


class ListenerState(StrEnum):
    """What a listener is doing; the same words as in the database."""

    STOPPED = "stopped"
    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    LOGIN_NEEDED = "login_needed"


@dataclass(frozen=True, slots=True)
class ListenerHealth:
    """One look at a listener. Ages in seconds; None when there was none yet.

    Attributes:
        is_ticking: Connected, and a price came within the last ten seconds. A quiet
            instrument can make this false on a sound connection.
        subscribed_symbols: Wanted symbols, sorted.
        reconnect_attempts: Failed attempts since the last successful one.
        bad_frames: Malformed messages since the start.
        callback_errors: Exceptions that callbacks raised since the start.
        last_error: What ended or refused the last connection; empty when nothing did.

    """

    state: ListenerState
    is_connected: bool
    is_ticking: bool
    subscribed_symbols: tuple[str, ...]
    subscription_count: int
    reconnect_attempts: int
    last_frame_age_s: float | None
    last_tick_age_s: float | None
    bad_frames: int
    callback_errors: int
    last_error: str


NO_LISTENER = ListenerHealth(
    state=ListenerState.IDLE,
    is_connected=False,
    is_ticking=False,
    subscribed_symbols=(),
    subscription_count=0,
    reconnect_attempts=0,
    last_frame_age_s=None,
    last_tick_age_s=None,
    bad_frames=0,
    callback_errors=0,
    last_error="",
)
"""How a feed is that has nothing to watch."""
