"""How a listener is, in the few words of a badge: ``(words, tone)``, tone ``quiet good busy bad``."""

from __future__ import annotations

from datetime import datetime, timedelta

from marketdata.evidence import has_ticked, is_reported
from marketdata.logins import token_life
from marketdata.models import BrokerAccount, Listener

Said = tuple[str, str]
_TONES = {
    Listener.State.CONNECTED: "good",
    Listener.State.CONNECTING: "busy",
    Listener.State.LOGIN_NEEDED: "bad",
}


def listener_badges(account: BrokerAccount, now: datetime) -> dict[str, Said]:
    """Return ``state``, ``prices`` and ``carries`` of an account's listener."""
    listener: Listener | None = getattr(account, "listener", None)
    return {
        "state": _state(account, listener, now),
        "prices": _prices(listener, now),
        "carries": (f"{listener.subscription_count if listener else 0} instruments", "quiet"),
    }


def _state(account: BrokerAccount, listener: Listener | None, now: datetime) -> Said:
    if account.desired_state != BrokerAccount.DesiredState.RUNNING:
        return "Stopped", "quiet"
    if listener is None or not is_reported(listener, now):
        return "Not reporting: start the listeners", "bad"
    if not token_life(account, now).holds:  # the feed may still tick, but no exit would be taken
        return "Log in again", "bad"
    return str(listener.get_state_display()), _TONES.get(Listener.State(listener.state), "quiet")


def _prices(listener: Listener | None, now: datetime) -> Said:
    if listener is None or listener.last_tick_at is None:
        return "No price yet", "quiet"
    age = max(now - listener.last_tick_at, timedelta(0))
    return f"Last price {_ago(age)} ago", "quiet" if has_ticked(listener, now) else "busy"


def _ago(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
