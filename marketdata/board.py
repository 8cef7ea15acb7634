"""The prices of one connection that nobody has to act on: thousands are judged at once, and kept in columns.

A packet is *quiet* when the gate would accept it and no stop is within its reach: the price lies
between two bounds, the time is fresh and no older than the one before. Such a packet changes
nothing but "the last price", so it is written into a row of numbers, and made a ``Tick`` only when
somebody looks. Every other packet is *loud*: it takes the ordinary way, one by one, as if there were
no board. Whatever may change what a price means to an instrument closes its slot: its next packet is
loud, and only after that is the slot opened again, with the bounds as they then are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from marketdata.columns import NO_TIME, ColumnReader, Columns, Flags, Floats, Indices, Ints, Slots
from marketdata.domain.gate import FUTURE_TOLERANCE, TICK_MAX_AGE, Accepted
from marketdata.domain.ticks import Tick
from marketdata.edges import Edges, key_of, loud_ones, may_be_quiet
from marketdata.subscribed import WireToken

KEPT = 16
"""The last quiet prices of an instrument that can still be told one by one."""
KEPT_S = 1.0
"""Of those, the ones older than so before the last are told to nobody: no decision looks back further."""
_SHUT = (1.0, 0.0)
_LATEST = 1 << 62


class House(Protocol):
    """What a board asks, and tells."""

    def interval(self, symbol: str) -> Accepted | None:
        """Return which prices are quiet; None: none at present."""
        ...

    def settle(self, symbol: str, ticks: Sequence[Tick], newest: int) -> None:
        """Take quiet ticks of an instrument, in order, before its next one is judged.

        ``newest`` is the newest exchange time among all there were; 0: none had one.
        """
        ...

    def show(self, ticks: Sequence[Tick]) -> None:
        """Take the last prices of instruments, to be shown."""
        ...

    def show_behind(self, ticks: Sequence[Tick]) -> None:
        """Take settled ones after later ones were told, to be shown if nothing later was."""
        ...


class FeedHouse(House, Protocol):
    """The house of an account's boards."""

    def attach(self, board: Board) -> None:
        """Wake the board's instruments whenever their next price may mean something."""
        ...

    def counted(self, quiet: int, received_at: float) -> None:
        """Count packets that were quiet, of a frame read at ``received_at``."""
        ...


class _Rows:
    """A row of numbers for each slot, and one for the packets of strangers, which stays shut."""

    def __init__(self, count: int) -> None:
        size = count + 1
        bounds: Floats = np.repeat([_SHUT], size, axis=0).T.copy()
        counts: Ints = np.zeros((4, size), np.int64)
        kept: Floats = np.zeros((3, size, KEPT))
        self.low, self.high = bounds
        # Quiet packets so far; of them, how many were told one by one, and up to which one was shown.
        self.newest, self.seen, self.settled, self.shown = counts
        self.prices, self.times, self.received = kept
        self.bounds, self.counts, self.kept = bounds, counts, kept  # the same, to be copied at once
        # The same again, for one slot: a number is read so without an array being made for it.
        self.newest_of, self.seen_of, self.settled_of, self.shown_of = (row.data for row in counts)
        self.price_at, self.time_at, self.received_at = (ring.ravel().data for ring in kept)

    def take(self, other: _Rows, here: Sequence[int], there: Sequence[int]) -> None:
        """Copy rows of another."""
        self.bounds[:, here] = other.bounds[:, there]
        self.counts[:, here] = other.counts[:, there]
        self.kept[:, here] = other.kept[:, there]


class _Few(NamedTuple):
    """A small frame, its prices judged: all that was not told is quiet, if it is timely and no instrument is there twice.

    Attributes:
        slots: Of the packets; of those that were told, any.
        told: The numbers of those that were.
        is_moved: What was told has moved others' bounds.

    """

    slots: Indices
    told: list[int]
    is_moved: bool


class Board:
    """The quiet prices of one connection. Belongs to its event loop; none of its methods waits."""

    def __init__(self, reader: ColumnReader, house: House) -> None:
        self._reader = reader
        self._house = house
        self._carried: dict[WireToken, str] = {}
        self._tokens: list[WireToken] = []  # of each slot, by key
        self._symbols: list[str] = []
        self._slots = Slots([])
        self._edges = Edges([])
        self._slot_by_key: dict[int, int] = {}
        self._slot_of: dict[str, int] = {}
        self._rows = _Rows(0)
        self._last = np.zeros(1, np.intp)  # scratch: the last packet of each slot
        self._opened: set[int] = set()  # slots
        self._newest = 0  # exchange time of all quiet packets so far
        self._until = float("inf")
        self._changes = 0

    # --- what it carries ------------------------------------------------------------------

    def carry(self, symbols: Mapping[WireToken, str]) -> None:
        """Be about these instruments from now on; of those that stay, nothing is lost."""
        if self._carried == symbols:
            return  # asked for anew, or in another mode
        before, rows, opened = self._slot_of, self._rows, self._opened
        stay = [one for token, one in symbols.items() if one in before and self._carried.get(token) == one]
        for symbol in before.keys() - set(stay):
            self.wake(symbol)
        self._number(symbols)
        here, there = [self._slot_of[one] for one in stay], [before[one] for one in stay]
        self._rows.take(rows, here, there)
        self._opened = {slot for slot, its in zip(here, there, strict=True) if its in opened}
        for slot in self._opened:
            self._mark(slot, *self._rows.bounds[:, slot].tolist())
        self._changes += 1

    def _number(self, symbols: Mapping[WireToken, str]) -> None:
        """Give each instrument a slot, by its key; all are shut."""
        keys = {self._reader.key(token): token for token in symbols}
        self._carried = dict(symbols)
        self._tokens = [keys[key] for key in sorted(keys)]
        self._symbols = [symbols[token] for token in self._tokens]
        self._slot_of = {symbol: slot for slot, symbol in enumerate(self._symbols)}
        self._slot_by_key = {key: slot for slot, key in enumerate(sorted(keys))}
        self._slots = Slots(sorted(keys))
        self._edges = Edges(sorted(keys) if self._reader.has_marks else [])
        self._rows = _Rows(len(self._tokens))
        self._last = np.zeros(len(self._tokens) + 1, np.intp)

    def wake(self, symbol: str) -> None:
        """Tell what is known of an instrument, and take its next packet the ordinary way."""
        slot = self._slot_of.get(symbol)
        if slot is None or slot not in self._opened:
            return
        self._opened.discard(slot)
        self._shut(slot)
        self._changes += 1
        if unshown := self._settle(slot):
            self._house.show(unshown)

    def _settle(self, slot: int) -> list[Tick]:
        """Have settled what has not been; return the last of it if it was not shown either."""
        rows = self._rows
        seen, settled, shown = rows.seen_of[slot], rows.settled_of[slot], rows.shown_of[slot]
        if seen == settled == shown:
            return []
        ticks = self._told(slot, min(settled, seen - 1), seen)
        if seen != settled:
            self._house.settle(self._symbols[slot], ticks, rows.newest_of[slot])
            rows.settled_of[slot] = seen
        if seen == shown:
            return []
        rows.shown_of[slot] = seen
        return ticks[-1:]

    def wake_all(self) -> None:
        """Do so with every instrument."""
        for slot in list(self._opened):
            self.wake(self._symbols[slot])
        self._until = float("inf")

    # --- the hot path ---------------------------------------------------------------------

    def take(self, frame: bytes, now: float, tell: Callable[[bytes], object]) -> int | None:
        """Take the packets of a frame; return how many were quiet; None: it is to be decoded as it is.

        Args:
            frame: As it came.
            now: UNIX seconds when it was read.
            tell: Takes a frame of the loud packets, before anything is kept: a decision waits for nothing.

        """
        if now >= self._until:
            self.wake_all()
        few = self._judge_few(frame, tell)
        columns = self._reader.read(frame, now)
        if columns is None:
            return None
        slots = self._slots.of(columns.keys) if few is None else few.slots
        if few is not None and few.told:
            others = np.ones(len(slots), np.bool_)
            others[few.told] = False
            columns, slots = columns.only(others), slots[others]
        order = None if few is None else self._order(slots)
        if few is None or few.is_moved or order is not None or not self._are_timely(columns.times, now):
            columns, slots = self._judge(frame, columns, slots, now, tell)
            order = self._order(slots)
        self._keep(columns, slots, order, now)
        return len(slots)

    def _judge_few(self, frame: bytes, tell: Callable[[bytes], object]) -> _Few | None:
        """Tell the packets of a small frame whose prices are loud; None: it is none."""
        few = self._reader.few(frame)
        if few is None:
            return None
        found = self._edges.find(few.marks)
        places = found.tobytes()
        numbers = loud_ones(places)
        loud = {self._slot_by_key.get(key_of(few.marks.item(at)), self._slots.unknown) for at in numbers}
        if not loud:
            return _Few(found >> 1, numbers, is_moved=False)
        if may_be_quiet(places, loud):
            # An instrument with one loud packet has all its packets judged one by one, in their order.
            numbers = [at for at, place in enumerate(found.tolist()) if not place & 1 or place >> 1 in loud]
        packets = self._reader.pick(frame, numbers, few.each)
        is_moved = self._tell(packets, loud - {self._slots.unknown}, tell)
        return _Few(found >> 1, numbers, is_moved)

    def _are_timely(self, times: Ints | None, now: float) -> bool:
        """Tell whether all of them are, of whichever instruments."""
        if times is None:
            return True
        oldest, newest = max(self._newest, now - TICK_MAX_AGE), now + FUTURE_TOLERANCE
        return bool(oldest <= times.min(initial=_LATEST) and times.max(initial=NO_TIME) <= newest)

    def _judge(
        self, frame: bytes, columns: Columns, slots: Indices, now: float, tell: Callable[[bytes], object]
    ) -> tuple[Columns, Indices]:
        """Tell the loud packets; return the others."""
        is_moved = True
        while is_moved and (loud := self._loud(columns, slots, now)) is not None:
            told = set(slots[loud].tolist()) - {self._slots.unknown}
            # What is decided may move a bound: then the others are judged anew.
            packets = self._reader.pick(frame, columns.numbers[loud].tolist())
            is_moved = self._tell(packets, told, tell)
            columns, slots = columns.only(~loud), slots[~loud]
        return columns, slots

    def _loud(self, columns: Columns, slots: Indices, now: float) -> Flags | None:
        """Return which packets have to be looked at one by one; None: not a single one."""
        rows, prices, order = self._rows, columns.prices, self._order(slots)
        loud: Flags = prices < rows.low[slots]
        loud |= prices > rows.high[slots]
        if columns.times is not None:
            loud |= self._untimely(columns.times, slots, order, now)
        if not loud.any():
            return None
        if order is None:
            return loud
        # As above: all packets of an instrument, or none.
        is_loud = np.zeros(len(rows.low), np.bool_)
        is_loud[slots[loud]] = True
        return is_loud[slots]

    def _untimely(self, times: Ints, slots: Indices, order: Indices | None, now: float) -> Flags:
        """Return which packets are older than one before, or too old or too new to be acted on."""
        late: Flags = times < self._rows.newest[slots]
        if times.min() < now - TICK_MAX_AGE or times.max() > now + FUTURE_TOLERANCE:
            late |= (times < now - TICK_MAX_AGE) | (times > now + FUTURE_TOLERANCE)
            late &= times != NO_TIME
        if order is not None:
            ordered, in_order = slots[order], times[order]
            late[order[1:]] |= (ordered[1:] == ordered[:-1]) & (in_order[1:] < in_order[:-1])
        return late

    def _tell(self, packets: bytes, slots: Collection[int], tell: Callable[[bytes], object]) -> bool:
        """Tell packets, all there are of these instruments in a frame; return whether that has moved others' bounds."""
        changes, opened = self._changes, self._opened.intersection(slots)
        self._opened -= opened
        try:
            unshown = [tick for slot in opened for tick in self._settle(slot)]
            tell(packets)
            if unshown:
                self._house.show_behind(unshown)
            for slot in slots:
                self._renew(slot)
        except BaseException:
            for slot in slots:  # else they would stay open, and nobody could wake them
                self._shut(slot)
            raise
        return changes != self._changes

    def _keep(self, columns: Columns, slots: Indices, order: Indices | None, now: float) -> None:
        rows = self._rows
        seen = rows.seen[slots]
        if order is not None:
            seen += _ranks(slots, order)
        places = slots * KEPT + seen % KEPT
        rows.prices.ravel()[places] = columns.prices
        rows.received.ravel()[places] = now
        rows.seen[slots] = seen + 1  # of two of the same instrument the later one is written last
        if columns.times is None:
            rows.times.ravel()[places] = NO_TIME
        else:
            rows.times.ravel()[places] = columns.times
            rows.newest[slots] = np.maximum(rows.newest[slots], columns.times)
            self._newest = max(self._newest, int(columns.times.max(initial=0)))

    def _order(self, slots: Indices) -> Indices | None:
        """Return the packets by instrument, each one's in wire order; None: no instrument is there twice."""
        positions = np.arange(len(slots))
        self._last[slots] = positions
        if (self._last[slots] == positions).all():
            return None
        return np.argsort(slots, kind="stable")

    # --- for those who look ---------------------------------------------------------------

    def waiting(self) -> list[int]:
        """Return the slots with a price that has not been shown."""
        found: list[int] = np.nonzero(self._rows.seen != self._rows.shown)[0].tolist()
        return found

    def show(self, slots: Sequence[int]) -> None:
        """Have the last prices of these slots shown."""
        rows = self._rows
        kept = [slot for slot in slots if slot < len(self._symbols) and rows.seen.item(slot)]
        seen = rows.seen[kept]
        last = np.array(kept, np.intp) * KEPT + (seen - 1) % KEPT
        columns = (column.ravel()[last].tolist() for column in (rows.prices, rows.times, rows.received))
        self._house.show([self._tick(*each) for each in zip(kept, *columns, strict=True)])
        rows.shown[kept] = seen

    # --- inside ---------------------------------------------------------------------------

    def _renew(self, slot: int) -> None:
        """Let its prices be quiet within the bounds that hold now."""
        interval = self._house.interval(self._symbols[slot])
        if interval is None:
            self._shut(slot)
            return
        rows = self._rows
        low, high = self._reader.bounds(self._tokens[slot], interval.low, interval.high)
        rows.low[slot], rows.high[slot] = low, high
        rows.newest[slot] = interval.newest
        self._mark(slot, low, high)
        self._opened.add(slot)
        self._newest = max(self._newest, interval.newest)
        self._until = min(self._until, interval.until)

    def _shut(self, slot: int) -> None:
        self._rows.low[slot], self._rows.high[slot] = _SHUT
        self._mark(slot, 1, 0)

    def _mark(self, slot: int, low: float, high: float) -> None:
        if self._reader.has_marks:
            self._edges.put(slot, int(low), int(high))

    def _told(self, slot: int, since: int, seen: int) -> list[Tick]:
        """Return the quiet ticks of a slot from number ``since`` to before ``seen``, as far as they are kept; never none."""
        rows, first = self._rows, slot * KEPT
        oldest = rows.received_at[first + (seen - 1) % KEPT] - KEPT_S
        return [
            self._tick(slot, rows.price_at[at], rows.time_at[at], rows.received_at[at])
            for at in (first + number % KEPT for number in range(max(since, seen - KEPT), seen))
            if rows.received_at[at] >= oldest
        ]

    def _tick(self, slot: int, price: float, time: float, received_at: float) -> Tick:
        reader = self._reader
        units = reader.units(self._tokens[slot], price)
        return Tick(
            self._symbols[slot], units, received_at, int(time) or None, is_trade_time=reader.is_trade_time
        )


def _ranks(slots: Indices, order: Indices) -> Ints:
    """Return for each packet how many of the same instrument are before it; ``order`` is by instrument."""
    ordered = slots[order]
    begins = np.r_[True, ordered[1:] != ordered[:-1]]
    positions = np.arange(len(slots))
    ranks = np.empty(len(slots), np.int64)
    ranks[order] = positions - np.maximum.accumulate(np.where(begins, positions, 0))
    return ranks
