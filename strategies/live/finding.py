"""The instrument that a person means by what they typed."""

from __future__ import annotations

from collections.abc import Sequence

from marketdata.catalogue import find_instruments
from marketdata.models import Broker, Instrument

_SHOWN = 5
_SHORTEST_START = 3


class NotFound(Exception):
    """No one instrument is meant; the text says what was typed and what comes near, for a person."""


def find_instrument(broker: str, typed: str) -> Instrument:
    """Return the instrument of a broker's list that ``typed`` names.

    Args:
        broker: Whose list.
        typed: ``NSE:INFY`` in any letter case; without an exchange where only one lists it.

    Raises:
        NotFound: None is meant, or more than one.

    """
    text = " ".join(typed.upper().split())
    listed = Instrument.objects.filter(broker=broker).exclude(token="")
    exchange, colon, name = (part.strip() for part in text.partition(":"))
    if not colon:
        exchange, name = "", text
    same = listed.filter(tradingsymbol=name, **({"exchange": exchange} if exchange else {}))
    found = list(same.order_by("-exchange")[:_SHOWN])
    if len(found) == 1:
        return found[0]
    label = Broker(broker).label
    if found:
        raise NotFound(f"{name} is listed more than once: write {_one_of([row.symbol for row in found])}.")
    if not listed.exists():
        raise NotFound(f"The instrument list of {label} has not been loaded yet: load it on the set-up page.")
    near = _near(broker, name)
    hint = f"did you mean {_one_of(near)}?" if near else "write EXCHANGE:SYMBOL as your broker does."
    raise NotFound(f"{text} is not in the instrument list of {label}: {hint}")


def _near(broker: str, name: str) -> Sequence[str]:
    """Return what has the words that were typed; failing that, what begins alike."""
    for part in (name, name[: max(_SHORTEST_START, len(name) // 2)]):
        if len(part) >= _SHORTEST_START and (found := find_instruments([broker], part, _SHOWN)):
            return [each.symbol for each in found]
    return []


def _one_of(symbols: Sequence[str]) -> str:
    *others, last = symbols
    return f"{', '.join(others)} or {last}" if others else last
