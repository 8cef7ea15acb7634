"""Stops that are not protected, and for how long: what of it a person has to be told.

Nothing is told while an exchange is shut, for then no stop can trigger anyway; from five minutes
before it opens on, everything is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from marketdata.domain.sessions import Calendar, Phase
from strategies.lasting import Trouble

PATIENCE_S = 15.0
"""A feed that reconnects, or a process that starts, takes some of it."""
BEFORE_OPEN_S = 5 * 60.0
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Bare:
    """A stop that is not protected, and why. An exit that is stuck (``is_exiting``) has an alert of its own."""

    strategy: int
    name: str
    user_id: int
    account_id: int
    reason: str
    is_exiting: bool = False

    @property
    def group(self) -> tuple[int, int, str]:
        """What it has in common with others: the reason without its details, which change."""
        return self.user_id, self.account_id, self.reason.partition(": ")[0]


def is_watch_time(exchange: str, now: float, calendar: Calendar) -> bool:
    """Tell whether a stop on this exchange may trigger now or soon."""
    phase, until = calendar.phase(exchange, now)
    return phase is Phase.OPEN or (phase is Phase.BEFORE_OPEN and until - now <= BEFORE_OPEN_S)


class Vigil:
    """Remembers since when each stop has not been protected."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def overdue(self, strategies: Iterable[int], now: float) -> frozenset[int]:
        """Return those that have been among the unprotected for too long.

        Args:
            strategies: All that are unprotected now; whoever is not starts anew next time.
            now: Monotonic seconds.

        """
        self._since = {strategy: self._since.get(strategy, now) for strategy in strategies}
        return frozenset(strategy for strategy, since in self._since.items() if now - since > PATIENCE_S)


def troubles(bare: Iterable[Bare], overdue: Collection[int]) -> tuple[list[Trouble], list[Trouble]]:
    """Group by cause: return what is to be told, and what is too young for it."""
    groups: dict[tuple[int, int, str], list[Bare]] = {}
    for one in bare:
        groups.setdefault(one.group, []).append(one)
    due = {key: [one for one in group if one.strategy in overdue] for key, group in groups.items()}
    told = [_trouble(key, group) for key, group in due.items() if group]
    return told, [_trouble(key, group) for key, group in groups.items() if not due[key]]


def _trouble(key: tuple[int, int, str], group: Sequence[Bare]) -> Trouble:
    user_id, account_id, cause = key
    strategies = frozenset(one.strategy for one in group)
    return Trouble(user_id, cause, _text(group), account_id, strategies=strategies)


def _text(group: Sequence[Bare]) -> str:
    count = f"{len(group)} stops are" if len(group) > 1 else "1 stop is"
    return (
        f"{count} not protected: {group[0].reason.rstrip('.')}. Without a sure watch: {_names(group)}. "
        "Look at these positions at your broker until this is over."
    )


def _names(group: Sequence[Bare]) -> str:
    names = [one.name for one in group]
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
