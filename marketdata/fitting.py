"""What of the wanted instruments one connection can carry, and why the rest stays out."""

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
    """What goes onto the connection.

    Attributes:
        modes: By symbol.
        refused: Which instruments no connection can carry, and what to do; empty: none.
        crowded: Why instruments stay out for want of room; empty: none do.

    """

    modes: Mapping[str, FeedMode] = field(default_factory=dict)
    refused: str = ""
    crowded: str = ""


def fit(
    modes: Mapping[str, FeedMode], tokens: Tokens, wire_token: Callable[[str], WireToken], limit: int
) -> Fit:
    """Choose what one connection carries: one bad row of the list must not keep the others out."""
    refused = _refusals(modes, tokens, wire_token)
    sound = {name: mode for name, mode in modes.items() if name not in refused}
    said = _in_short(list(refused.values()))
    if len(sound) <= limit:
        return Fit(sound, said)
    # Watched instruments stay out first, armed ones last.
    ordered = sorted(sound, key=lambda name: (sound[name] is not FeedMode.FULL, name))
    crowded = f"{len(sound)} instruments are wanted, one connection carries {limit}"
    return Fit({name: sound[name] for name in ordered[:limit]}, said, crowded)


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
