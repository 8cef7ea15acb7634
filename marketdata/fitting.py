"""What of the wanted instruments an account's feed can carry, and why the rest stays out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from marketdata.domain.errors import UnknownInstrument
from marketdata.domain.ticks import FeedMode
from marketdata.ports import Tokens
from marketdata.subscribed import WireToken, resolve

_NAMED = 3
"""So many instruments are named in one text; of the others, how many."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What goes onto the feed.

    Attributes:
        modes: By symbol.
        refused: Which instruments no connection can carry, and what to do; empty: none.
        crowded: Why instruments stay out for want of room; empty: none do.

    """

    modes: Mapping[str, FeedMode] = field(default_factory=dict)
    refused: str = ""
    crowded: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """How much a broker's feed carries for one account."""

    broker: str
    per_connection: int
    connections: int

    @property
    def total(self) -> int:
        return self.per_connection * self.connections


def fit(
    modes: Mapping[str, FeedMode],
    tokens: Tokens,
    wire_token: Callable[[str], WireToken],
    room: Room,
    carried: Collection[str] = (),
) -> Fit:
    """Choose what the feed carries: one bad row of the list must not keep the others out.

    Armed instruments come first, then those that are ``carried`` already: what is watched for the sake
    of one more must not be lost for another.
    """
    refused = _refusals(modes, tokens, wire_token)
    sound = {name: mode for name, mode in modes.items() if name not in refused}
    said = _in_short(list(refused.values()))
    ordered = sorted(sound, key=lambda name: (sound[name] is not FeedMode.FULL, name not in carried, name))
    kept, out = ordered[: room.total], ordered[room.total :]
    return Fit({name: sound[name] for name in kept}, said, _crowded(out, room))


def _crowded(out: Sequence[str], room: Room) -> str:
    if not out:
        return ""
    return (
        f"{room.broker} carries {room.total:,} instruments ({room.connections} connections of "
        f"{room.per_connection:,}): {len(out):,} left out, {_in_short(out)}: watch fewer"
    )


def _refusals(
    symbols: Collection[str], tokens: Tokens, wire_token: Callable[[str], WireToken]
) -> dict[str, str]:
    refused: dict[str, str] = {}
    for symbol in symbols:
        try:
            resolve(symbol, tokens, wire_token)
        except UnknownInstrument as exc:
            refused[symbol] = str(exc)
    return refused


def _in_short(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return "; ".join(texts[:_NAMED]) + more
