"""A listener with the state of a real one and no network, to see what a manager asks of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from marketdata.domain.feed import ListenerHealth, ListenerState
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.ports import BrokerConfig, Tokens


class FakeListener:
    """Remembers what it carries; ``all`` has every one that was made, in order."""

    all: ClassVar[list[FakeListener]] = []
    refuses: ClassVar[set[int]] = set()
    hangs: ClassVar[set[int]] = set()

    def __init__(self, user_id: int, config: BrokerConfig, *, tokens: Tokens, **_: Any) -> None:
        self.user_id = user_id
        self.config = config
        self.tokens = tokens
        self.modes: dict[str, FeedMode] = {}
        self.wire: dict[str, str] = {}
        self.log: list[str] = []
        self.is_connected = False
        self.callbacks: dict[str, list[Callable[..., Any]]] = {}
        type(self).all.append(self)

    async def connect(self) -> None:
        self.log.append("connect")
        if self.config.account_id in self.hangs:
            await asyncio.Event().wait()
        if self.config.account_id not in self.refuses:
            self.is_connected = True
            self.emit("on_connect")

    async def disconnect(self) -> None:
        self.log.append("disconnect")
        if self.is_connected:
            self.is_connected = False
            self.emit("on_disconnect", None)

    async def reconnect(self) -> None:
        self.log.append("reconnect")

    async def use_config(self, config: BrokerConfig) -> None:
        self.log.append("use_config")
        self.config = config

    async def subscribe(self, symbols: Iterable[str], mode: FeedMode = FeedMode.FULL) -> None:
        for symbol in symbols:
            self.wire[symbol] = self.tokens.token(symbol)
            self.modes[symbol] = mode

    async def resubscribe(self, symbols: Iterable[str]) -> None:
        self.log.append("resubscribe " + ", ".join(sorted(symbols)))

    def wire_token(self, token: str) -> int:
        return int(token)

    async def unsubscribe(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            self.modes.pop(symbol, None)

    def register_callback(self, event: str, fn: Callable[..., Any]) -> None:
        self.callbacks.setdefault(event, []).append(fn)

    def emit(self, event: str, *args: Any) -> None:
        for fn in self.callbacks.get(event, []):
            fn(*args)

    def tick(self, *ticks: Tick) -> None:
        self.emit("on_ticks", list(ticks))

    def health_check(self) -> ListenerHealth:
        return ListenerHealth(
            state=ListenerState.CONNECTED if self.is_connected else ListenerState.CONNECTING,
            is_connected=self.is_connected,
            is_ticking=False,
            subscribed_symbols=tuple(sorted(self.modes)),
            subscription_count=len(self.modes),
            reconnect_attempts=0,
            last_frame_age_s=None,
            last_tick_age_s=None,
            bad_frames=0,
            callback_errors=0,
            last_error="",
        )


class FakeAdapter:
    """What a manager needs of a broker."""

    listener_class = FakeListener
    instruments_per_connection = 3
    connections = 1
