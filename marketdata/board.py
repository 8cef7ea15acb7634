"""The prices of one connection that nobody has to act on: thousands are judged at once, and kept in columns.

A packet is *quiet* when the gate would accept it and no stop is within its reach: the price lies
between two bounds, the time is fresh and no older than the one before. Such a packet changes
nothing but "the last price", so it is written into a row of numbers, and made a ``Tick`` only when
somebody looks. Every other packet is *loud*: it takes the ordinary way, one by one, as if there were
no board. Whatever may change what a price means to an instrument closes its slot: its next packet is
loud, and only after that is the slot opened again, with the bounds as they then are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from marketdata.columns import NO_TIME, ColumnReader, Columns, Flags, Floats, Indices, Ints, Slots
from marketdata.domain.gate import FUTURE_TOLERANCE, TICK_MAX_AGE, Accepted
from marketdata.domain.ticks import Tick
from marketdata.subscribed import WireToken

KEPT = 16
"""The last quiet prices of an instrument that can still be told one by one."""
KEPT_S = 1.0
"""Of those, the ones older than so before the last are told to nobody: no decision looks back further."""
_SHUT = (1.0, 0.0)


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
        self.low: Floats = np.full(size, _SHUT[0])
        self.high: Floats = np.full(size, _SHUT[1])
        self.newest: Ints = np.zeros(size, np.int64)
        self.seen: Ints = np.zeros(size, np.int64)  # quiet packets so far
        self.settled: Ints = np.zeros(size, np.int64)  # of them, how many were told one by one
        self.shown: Ints = np.zeros(size, np.int64)  # and up to which one was shown
        self.prices: Floats = np.zeros((size, KEPT))
        self.times: Ints = np.zeros((size, KEPT), np.int64)
        self.received: Floats = np.zeros((size, KEPT))

    def take(self, other: _Rows, here: Sequence[int], there: Sequence[int]) -> None:
        """Copy rows of another."""
        for name, column in vars(other).items():
            getattr(self, name)[here] = column[there]


class Board:
    """The quiet prices of one connection. Belongs to its event loop; none of its methods waits."""

    def __init__(self, reader: ColumnReader, house: House) -> None:
        self._reader = reader
        self._house = house
        self._tokens: list[WireToken] = []
        self._symbols: list[str] = []
        self._slots = Slots([])
        self._slot_of: dict[str, int] = {}
        self._rows = _Rows(0)
        self._last = np.zeros(1, np.intp)  # scratch: the last packet of each slot
        self._opened: set[int] = set()  # slots that are, or have been since they were last told of
        self._until = float("inf")
        self._changes = 0

    # --- what it carries ------------------------------------------------------------------

    def carry(self, symbols: Mapping[WireToken, str]) -> None:
        """Be about these instruments from now on; of those that stay, nothing is lost."""
        if self._tokens == list(symbols) and self._symbols == list(symbols.values()):
            return  # asked for anew, or in another mode
        before = self._slot_of
        stay = [one for token, one in symbols.items() if one in before and self._tokens[before[one]] == token]
        for symbol in before.keys() - set(stay):
            self.wake(symbol)
        rows = self._rows
        self._tokens, self._symbols = list(symbols), list(symbols.values())
        self._slot_of = {symbol: slot for slot, symbol in enumerate(self._symbols)}
        self._slots = Slots([self._reader.key(token) for token in self._tokens])
        self._rows = _Rows(len(self._tokens))
        self._last = np.zeros(len(self._tokens) + 1, np.intp)
        self._rows.take(rows, [self._slot_of[one] for one in stay], [before[one] for one in stay])
        self._opened = {self._slot_of[one] for one in stay if before[one] in self._opened}
        self._changes += 1

    def wake(self, symbol: str) -> None:
        """Tell what is known of an instrument, and take its next packet the ordinary way."""
        slot = self._slot_of.get(symbol)
        if slot is None or slot not in self._opened:
            return
        rows = self._rows
        rows.low[slot], rows.high[slot] = _SHUT
        self._opened.discard(slot)
        self._changes += 1
        self._tell_kept(slot)

    def _tell_kept(self, slot: int) -> None:
        """Have settled and shown what has not been: at once, for what comes next is newer."""
        rows, symbol = self._rows, self._symbols[slot]
        seen, settled, shown = (int(column[slot]) for column in (rows.seen, rows.settled, rows.shown))
        if seen == settled == shown:
            return
        ticks = self._ticks(slot, min(settled, seen - 1))
        if seen != settled:
            self._house.settle(symbol, ticks, int(rows.newest[slot]))
            rows.settled[slot] = seen
        if seen != shown:
            self._house.show(ticks[-1:])
            rows.shown[slot] = seen

    def wake_all(self) -> None:
        """Do so with every instrument."""
        for slot in list(self._opened):
            self.wake(self._symbols[slot])
        self._until = float("inf")

    def open(self, symbols: Iterable[str]) -> None:
        """Let the prices of these be quiet again, within the bounds that hold now."""
        for symbol in symbols:
            slot = self._slot_of.get(symbol)
            interval = None if slot is None else self._house.interval(symbol)
            if slot is not None and interval is not None:
                self._open(slot, interval)

    # --- the hot path ---------------------------------------------------------------------

    def take(self, frame: bytes, columns: Columns, now: float, tell: Callable[[bytes], object]) -> int:
        """Take the packets of a frame; return how many were quiet.

        Args:
            frame: What ``columns`` were read from.
            columns: Its packets.
            now: UNIX seconds when it was read.
            tell: Takes a frame of the loud packets, before anything is kept: a decision waits for nothing.

        """
        slots = self._slots.of(columns.keys)
        while (loud := self._loud(columns, slots, now)) is not None:
            changes = self._tell_loud(frame, columns.only(loud), slots[loud], tell)
            columns, slots = columns.only(~loud), slots[~loud]
            if changes == self._changes:
                break  # else what was decided has moved a bound: the others are judged anew
        self._keep(columns, slots, now)
        return len(slots)

    def _loud(self, columns: Columns, slots: Indices, now: float) -> Flags | None:
        """Return which packets have to be looked at one by one; None: not a single one."""
        if now >= self._until:
            self.wake_all()
        rows, prices = self._rows, columns.prices
        loud: Flags = prices < rows.low[slots]
        loud |= prices > rows.high[slots]
        if columns.times is not None:
            loud |= self._untimely(columns.times, slots, now)
        if not loud.any():
            return None
        # An instrument with one loud packet has all its packets judged one by one, in their order.
        is_loud = np.zeros(len(rows.low), np.bool_)
        is_loud[slots[loud]] = True
        return is_loud[slots]

    def _untimely(self, times: Ints, slots: Indices, now: float) -> Flags:
        """Return which packets are older than one before, or too old or too new to be acted on."""
        late: Flags = times < self._rows.newest[slots]
        if times.min() < now - TICK_MAX_AGE or times.max() > now + FUTURE_TOLERANCE:
            late |= (times < now - TICK_MAX_AGE) | (times > now + FUTURE_TOLERANCE)
            late &= times != NO_TIME
        if (order := self._order(slots)) is not None:
            ordered, in_order = slots[order], times[order]
            late[order[1:]] |= (ordered[1:] == ordered[:-1]) & (in_order[1:] < in_order[:-1])
        return late

    def _tell_loud(
        self, frame: bytes, columns: Columns, slots: Indices, tell: Callable[[bytes], object]
    ) -> int:
        names = self._symbols
        symbols = [names[slot] for slot in dict.fromkeys(slots.tolist()) if slot < len(names)]
        for symbol in symbols:
            self.wake(symbol)
        changes = self._changes
        tell(self._reader.pick(frame, columns))
        self.open(symbols)
        return changes

    def _keep(self, columns: Columns, slots: Indices, now: float) -> None:
        rows = self._rows
        seen = rows.seen[slots]
        if (order := self._order(slots)) is not None:
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
        kept = [slot for slot in slots if slot < len(self._symbols)]
        self._house.show([self._ticks(slot, int(rows.seen[slot]) - 1)[0] for slot in kept if rows.seen[slot]])
        rows.shown[kept] = rows.seen[kept]

    # --- inside ---------------------------------------------------------------------------

    def _open(self, slot: int, interval: Accepted) -> None:
        rows = self._rows
        rows.low[slot], rows.high[slot] = self._reader.bounds(self._tokens[slot], interval.low, interval.high)
        rows.newest[slot] = interval.newest
        self._opened.add(slot)
        self._until = min(self._until, interval.until)

    def _ticks(self, slot: int, since: int) -> list[Tick]:
        """Return the quiet ticks of a slot from number ``since`` on, as far as they are kept; never none."""
        rows, reader = self._rows, self._reader
        symbol, token = self._symbols[slot], self._tokens[slot]
        prices, times, received = (
            column[slot].tolist() for column in (rows.prices, rows.times, rows.received)
        )
        seen = int(rows.seen[slot])
        oldest = received[(seen - 1) % KEPT] - KEPT_S
        return [
            Tick(
                symbol,
                reader.units(token, prices[at]),
                received[at],
                times[at] or None,
                is_trade_time=reader.is_trade_time,
            )
            for at in (number % KEPT for number in range(max(since, seen - KEPT), seen))
            if received[at] >= oldest
        ]


def _ranks(slots: Indices, order: Indices) -> Ints:
    """Return for each packet how many of the same instrument are before it; ``order`` is by instrument."""
    ordered = slots[order]
    begins = np.r_[True, ordered[1:] != ordered[:-1]]
    positions = np.arange(len(slots))
    ranks = np.empty(len(slots), np.int64)
    ranks[order] = positions - np.maximum.accumulate(np.where(begins, positions, 0))
    return ranks
