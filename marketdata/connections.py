"""An account's feed over as many connections as its instruments need, used as if it were one.

An instrument stays on its connection for as long as it is wanted, whatever else comes and goes.
The first connection is there as long as the feed is, for the account's order updates; each of the
others ends with its last instrument. The whole is connected when all of them are.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from marketdata.board import FeedHouse
from marketdata.callbacks import Callback, Callbacks
from marketdata.domain.clock import Clock
from marketdata.domain.feed import ListenerHealth, ListenerState
from marketdata.domain.ticks import FeedMode
from marketdata.listener import MarketDataListener
from marketdata.ports import BrokerAdapter, BrokerConfig, Tokens
from marketdata.subscribed import WireToken

_Build: TypeAlias = Callable[..., MarketDataListener]
_PASSED_ON = ("on_ticks", "on_error")
_WORST_FIRST = (ListenerState.LOGIN_NEEDED, ListenerState.CONNECTING, ListenerState.STOPPED)


def place(new: Sequence[str], used: Mapping[int, int], capacity: int) -> dict[str, int]:
    """Return on which connection each of ``new`` goes.

    Args:
        new: Symbols that are on none, in the order in which they are to have room.
        used: By number of each open connection, how many instruments it has.
        capacity: How many one connection carries.

    """
    counts, found, number = dict(used), dict[str, int](), 0
    for symbol in new:
        roomy = (open_one for open_one in sorted(counts) if counts[open_one] < capacity)
        if (chosen := next(roomy, None)) is None:
            while number in counts:
                number += 1
            chosen = number
        counts[chosen] = counts.get(chosen, 0) + 1
        found[symbol] = chosen
    return found


class Connections:
    """Has the methods of one ``MarketDataListener`` that an account's feed needs."""

    def __init__(
        self,
        user_id: int,
        config: BrokerConfig,
        adapter: BrokerAdapter,
        *,
        tokens: Tokens,
        clock: Clock,
        house: FeedHouse | None = None,
    ) -> None:
        self._user_id = user_id
        self._config = config
        self._adapter = adapter
        self._house = house
        self._parts: dict[str, Any] = {"tokens": tokens, "clock": clock}
        self._callbacks = Callbacks((*_PASSED_ON, "on_order_update", "on_connect", "on_disconnect"), clock)
        self._homes: dict[str, int] = {}
        self._is_running = False
        self._is_whole = False  # as was told last
        self._renewed: set[int] = set()
        self._listeners = {0: self._build(0)}

    def wire_token(self, token: str) -> WireToken:
        """Return the form in which frames carry ``token``; raises ``ValueError``."""
        return self._listeners[0].wire_token(token)

    def register_callback(self, event: str, fn: Callback) -> None:
        """Call ``fn`` at each ``event`` of any connection; of ``on_connect`` and ``on_disconnect``: of the whole.

        Raises:
            ValueError: No such event.

        """
        self._callbacks.register(event, fn)

    # --- life -----------------------------------------------------------------------------

    async def connect(self) -> None:
        """Start all, and return when their first attempts have ended, well or not."""
        self._is_running = True
        await self._each(lambda listener: listener.connect())

    async def disconnect(self) -> None:
        """Close all, and stop trying."""
        self._is_running = False
        await self._each(lambda listener: listener.disconnect())

    async def reconnect(self) -> None:
        """Drop all and try again at once."""
        self._is_running = True
        await self._each(lambda listener: listener.reconnect())

    async def use_config(self, config: BrokerConfig) -> None:
        """Go on with other credentials."""
        self._config = config
        await self._each(lambda listener: listener.use_config(config))

    # --- what they carry ------------------------------------------------------------------

    async def subscribe(self, symbols: Iterable[str], mode: FeedMode = FeedMode.FULL) -> None:
        """Want ``symbols`` in ``mode``; a connection is opened where those that are there are full."""
        symbols = list(symbols)
        used = dict.fromkeys(self._listeners, 0)
        for number in self._homes.values():
            used[number] += 1
        new = [symbol for symbol in symbols if symbol not in self._homes]
        homes = self._homes | place(new, used, self._adapter.instruments_per_connection)
        added = {homes[symbol] for symbol in new} - self._listeners.keys()
        self._listeners |= {number: self._build(number) for number in added}
        self._homes = homes
        await self._on_homes(symbols, lambda listener, some: listener.subscribe(some, mode))
        if self._is_running and added:
            await asyncio.gather(*(self._listeners[number].connect() for number in added))
            if not self.is_connected:
                self._tell_broken(None)

    async def resubscribe(self, symbols: Iterable[str]) -> None:
        """Ask once more for those of ``symbols`` that are wanted."""
        wanted = [symbol for symbol in symbols if symbol in self._homes]
        await self._on_homes(wanted, lambda listener, some: listener.resubscribe(some))

    async def unsubscribe(self, symbols: Iterable[str]) -> None:
        """Want ``symbols`` no longer; a connection that is left with none is closed, but for the first."""
        leaving = [symbol for symbol in symbols if symbol in self._homes]
        await self._on_homes(leaving, lambda listener, some: listener.unsubscribe(some))
        for symbol in leaving:
            del self._homes[symbol]
        empty = self._listeners.keys() - self._homes.values() - {0}
        closed = [self._listeners.pop(number) for number in empty]
        await asyncio.gather(*(listener.disconnect() for listener in closed))
        self._tell_whole()  # the one that was away may be among the closed

    def take_renewed(self) -> set[str]:
        """Return what is on the connections that were made since this was asked last."""
        renewed, self._renewed = self._renewed, set()
        return {symbol for symbol, number in self._homes.items() if number in renewed}

    # --- how they are ---------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return all(listener.is_connected for listener in self._listeners.values())

    def health_check(self) -> ListenerHealth:
        """Look at all of them: the worst state, the sums, and the last price of any."""
        return merged([listener.health_check() for listener in self._listeners.values()])

    # --- inside ---------------------------------------------------------------------------

    def _build(self, number: int) -> MarketDataListener:
        build: _Build = self._adapter.listener_class
        listener = build(self._user_id, self._config, **self._parts, hears_orders=number == 0)
        for event in _PASSED_ON if number else (*_PASSED_ON, "on_order_update"):
            listener.register_callback(event, partial(self._callbacks.emit, event))
        if self._house is not None:
            listener.use_house(self._house)
        listener.register_callback("on_connect", lambda: self._renewed.add(number))
        listener.register_callback("on_connect", self._tell_whole)
        listener.register_callback("on_disconnect", self._tell_broken)
        return listener

    def _tell_whole(self) -> None:
        if self._is_running and self.is_connected and not self._is_whole:
            self._is_whole = True
            self._callbacks.emit("on_connect")

    def _tell_broken(self, error: Exception | None) -> None:
        if self._is_whole:
            self._is_whole = False
            self._callbacks.emit("on_disconnect", error)

    async def _on_homes(
        self, symbols: Collection[str], call: Callable[[MarketDataListener, list[str]], Any]
    ) -> None:
        by_home: dict[int, list[str]] = defaultdict(list)
        for symbol in symbols:
            by_home[self._homes[symbol]].append(symbol)
        await asyncio.gather(*(call(self._listeners[number], some) for number, some in by_home.items()))

    async def _each(self, call: Callable[[MarketDataListener], Any]) -> None:
        await asyncio.gather(*(call(listener) for listener in list(self._listeners.values())))


def merged(parts: Sequence[ListenerHealth]) -> ListenerHealth:
    """Return how a feed of several connections is; never empty."""
    states = {part.state for part in parts}
    symbols = sorted(symbol for part in parts for symbol in part.subscribed_symbols)
    is_connected = all(part.is_connected for part in parts)
    return ListenerHealth(
        state=next((state for state in _WORST_FIRST if state in states), parts[0].state),
        is_connected=is_connected,
        is_ticking=is_connected and any(part.is_ticking for part in parts),
        subscribed_symbols=tuple(symbols),
        subscription_count=sum(part.subscription_count for part in parts),
        reconnect_attempts=max(part.reconnect_attempts for part in parts),
        last_frame_age_s=max((a for a in (p.last_frame_age_s for p in parts) if a is not None), default=None),
        last_tick_age_s=min((a for a in (p.last_tick_age_s for p in parts) if a is not None), default=None),
        bad_frames=sum(part.bad_frames for part in parts),
        callback_errors=sum(part.callback_errors for part in parts),
        last_error=next((part.last_error for part in parts if part.last_error), ""),
    )
