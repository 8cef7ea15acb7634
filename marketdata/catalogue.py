"""Instruments found as one types, in a list of the day with a hundred thousand of them.

No index of a database finds the middle of a name. So each broker's list is kept as one text, a line
for each instrument, best known kinds first: looking through it takes a few milliseconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain, islice

from django.db.models import Q
from django.utils import timezone

from marketdata.domain.instruments import canonical
from marketdata.models import Instrument, InstrumentList

LOOKED_AT = 20_000
"""Lines a search looks at before it is content with what it has."""

_KINDS = {kind: rank for rank, kind in enumerate(("EQ", "INDEX", "FUT", "CE", "PE"))}
Row = tuple[str, str, str, str, date | None, int]
_COLUMNS = ("tradingsymbol", "name", "exchange", "instrument_type", "expiry", "lot_size")


@dataclass(frozen=True, slots=True)
class Found:
    """An instrument as a person is offered it."""

    symbol: str
    name: str
    kind: str
    expiry: date | None
    lot_size: int


class Catalogue:
    """One list, searched in passes: the symbol itself, its beginning, the beginning of a name's word, anywhere."""

    def __init__(self, rows: Iterable[Row]) -> None:
        lines = sorted(rows, key=_likelihood)
        # One letter for one letter, so that both texts have the same places.
        self._lines = "\n" + "".join(_line(row) + "\n" for row in lines)
        self._text = self._lines.upper()

    def passes(self, text: str, exchange: str = "") -> Iterator[Iterator[Found]]:
        """Yield what each pass finds, the best pass first. ``text`` is upper case and not empty."""
        words = text.split()
        longest = max(words, key=len)
        anywhere = longest if len(longest) > 1 else f"\n{longest}"  # one letter is in almost every line
        for needle in (f"\n{text}\t", f"\n{words[0]}", f" {words[0]}", anywhere):
            yield self._matches(needle, words, exchange)

    def _matches(self, needle: str, words: Collection[str], exchange: str) -> Iterator[Found]:
        for start, end in islice(self._places(needle), LOOKED_AT):
            line = self._text[start:end]
            if all(word in line for word in words):
                found = _found(self._lines[start:end])
                if not exchange or found.symbol.startswith(f"{exchange}:"):
                    yield found

    def _places(self, needle: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of each line that has ``needle``; a leading line break belongs to no line."""
        at = self._text.find(needle)
        while at >= 0:
            start = at + 1 if needle[0] == "\n" else self._text.rfind("\n", 0, at) + 1
            end = self._text.index("\n", start)
            yield start, end
            at = self._text.find(needle, end)


def find_instruments(brokers: Collection[str], typed: str, limit: int = 12) -> list[Found]:
    """Return what these brokers list and a person may mean, the likeliest first. Blocks.

    Args:
        brokers: Whose lists; the same contract of two of them is found once.
        typed: Any part of symbol or name, several words in any order: ``infy``, ``nse:infy``, ``nifty dec fut``.
        limit: How many at most.

    """
    exchange, colon, rest = " ".join(typed.upper().split()).rpartition(":")
    text, exchange = (rest.strip(), exchange.strip()) if colon else (rest, "")
    if not text:
        return []
    by_list = [catalogue_of(broker).passes(text, exchange) for broker in sorted(brokers)]
    found: dict[str, Found] = {}
    for same_pass in zip(*by_list, strict=True):
        for one in chain.from_iterable(same_pass):
            found.setdefault(one.symbol, one)
            if len(found) >= limit:
                return list(found.values())
    return list(found.values())


# --- lists that are kept ----------------------------------------------------------------

_kept: dict[str, tuple[datetime, date, Catalogue]] = {}
_loading = threading.Lock()


def catalogue_of(broker: str, today: Callable[[], date] = timezone.localdate) -> Catalogue:
    """Return a broker's list as last imported, without what has expired. Blocks: the first time about a second."""
    imported = InstrumentList.objects.filter(broker=broker).values_list("imported_at", flat=True).first()
    day = today()
    with _loading:
        kept = _kept.get(broker)
        if kept is not None and kept[:2] == (imported, day):
            return kept[2]
        catalogue = Catalogue(_rows(broker, day))
        if imported is not None:  # without an import nothing tells when it changes
            _kept[broker] = (imported, day, catalogue)
        return catalogue


def _rows(broker: str, day: date) -> Iterable[Row]:
    listed = Instrument.objects.filter(broker=broker).exclude(token="")
    current = listed.filter(Q(expiry=None) | Q(expiry__gte=day))
    return current.values_list(*_COLUMNS).iterator(chunk_size=10_000)


def _likelihood(row: Row) -> tuple[int, date, int, str, bool]:
    symbol, _, exchange, kind, expiry, _ = row
    return _KINDS.get(kind, len(_KINDS)), expiry or date.min, len(symbol), symbol, exchange != "NSE"


def _line(row: Row) -> str:
    symbol, name, exchange, kind, expiry, lot_size = row
    told = (symbol, f" {name}", exchange, kind, expiry.isoformat() if expiry else "", str(lot_size))
    return "\t".join(told).encode("ascii", "replace").decode()


def _found(line: str) -> Found:
    symbol, name, exchange, kind, expiry, lot_size = line.split("\t")
    until = date.fromisoformat(expiry) if expiry else None
    return Found(canonical(exchange, symbol), name.strip(), kind, until, int(lot_size))
