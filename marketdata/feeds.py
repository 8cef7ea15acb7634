"""One account's feed, brought to what is wanted of it, in a task of its own.

No feed waits for another: a broker that does not answer holds up its own account only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from marketdata.brokers import registry
from marketdata.domain.clock import Clock
from marketdata.domain.errors import BrokerError
from marketdata.domain.feed import NO_LISTENER, ListenerHealth
from marketdata.domain.gate import Decision
from marketdata.domain.orders import OrderSnapshot
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.fitting import Fit, fit
from marketdata.freshness import Freshness, StampWatch
from marketdata.listener import MarketDataListener
from marketdata.statistics import RateMeter
from marketdata.wanted import FeedTokens, WantedFeed

logger = logging.getLogger(__name__)

RETRY_S = 2.0
SNAPSHOT_RETRY_S = 1.0
LOOK_S = 5.0
"""Between two looks at whether a feed has gone quiet."""
QUIET_S = 10.0
"""Without a fresh price or a quote for so long, an armed instrument is asked for: silence proves nothing."""

STALE_S = 15.0
"""Neither a price nor a quote for so long, although it is asked for after ``QUIET_S``: something is wrong."""


class Pipeline(Protocol):
    """Where ticks go."""

    def accept(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> Sequence[tuple[Tick, Decision]]:
        """Take ticks and return what each may do."""
        ...


class FeedHooks(Protocol):
    """Who hears what else a feed brings."""

    async def judge_by_quotes(self, user_id: int, account_id: int) -> frozenset[str]:
        """Judge the armed instruments by prices that are asked for, not pushed.

        Returns the symbols that really were judged: one that the broker's answer leaves out is
        not among them. Raises ``BrokerError`` to be asked again.
        """
        ...

    def on_order_update(self, account_id: int, order: OrderSnapshot) -> None: ...

    def on_feed_event(self, feed: WantedFeed, kind: str, detail: str) -> None:
        """Take note: ``kind`` is ``connected disconnected failed limited left_out clock``."""
        ...


@dataclass(frozen=True, slots=True)
class FeedReport:
    """How an account's feed is."""

    wanted: WantedFeed
    health: ListenerHealth
    trouble: str  # why it cannot be brought to what is wanted; empty when it can
    ticks_per_second: float = 0.0
    quote_age_s: float | None = None  # since its armed instruments were last judged by quotes
    stale: tuple[str, ...] = ()  # its armed instruments that nothing was heard of for ``STALE_S``


class AccountFeed:
    """Holds at most one listener, and one task that makes it what ``want`` said last."""

    def __init__(self, wanted: WantedFeed, pipeline: Pipeline, hooks: FeedHooks, clock: Clock) -> None:
        self._adapter = registry.adapter(wanted.config.broker)
        self._wanted = wanted
        self._pipeline = pipeline
        self._hooks = hooks
        self._clock = clock
        self._tokens = FeedTokens({}, {})
        self._listener: MarketDataListener | None = None
        self._running: WantedFeed | None = None  # what the listener was last brought to
        self._changed = asyncio.Event()
        self._snapshot: asyncio.Task[None] | None = None
        self._freshness = Freshness()
        self._stamps = StampWatch()
        self._fit = Fit()  # what the listener was last asked to carry
        self._told: dict[str, str] = {}
        self._trouble = ""
        self._rate = RateMeter()
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name=f"account {wanted.config.account_id}"
        )

    @property
    def wanted(self) -> WantedFeed:
        return self._wanted

    def want(self, wanted: WantedFeed) -> None:
        """Say how the feed should be; returns at once."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    def report(self) -> FeedReport:
        """Look at it now."""
        health = NO_LISTENER if self._listener is None else self._listener.health_check()
        now, quoted_at = self._clock.monotonic(), self._freshness.quoted_at
        return FeedReport(
            self._wanted,
            health,
            self._trouble or self._fit.refused or self._stamps.trouble(),
            self._rate.per_second(now),
            None if quoted_at is None else now - quoted_at,
            self._freshness.stale(_armed(self._wanted), now, STALE_S),
        )

    async def reconnect(self) -> None:
        """Drop the connection and make a new one."""
        if self._listener is not None:
            await self._listener.reconnect()

    async def stop(self) -> None:
        """Disconnect and end the task."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._drop()

    # --- inside ---------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self._converge(self._wanted)
                self._trouble = ""
            except Exception as exc:
                if str(exc) != self._trouble:
                    logger.exception("account %s: feed not as wanted", self._wanted.config.account_id)
                self._trouble = str(exc)
            await self._wait(RETRY_S if self._trouble else LOOK_S)
            self._look_for_silence()
            self._note_new("clock", self._stamps.trouble(), key="off")  # by how much may change

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _converge(self, wanted: WantedFeed) -> None:
        if not wanted.modes:
            await self._drop()
            return
        if self._listener is not None and self._must_restart(wanted):
            await self._drop()
        is_new = self._listener is None
        listener = self._listener or self._build(wanted)
        await self._subscribe(listener, wanted)
        before, self._running = self._running, wanted
        if is_new:
            await listener.connect()
        elif before is not None and before.config != wanted.config:
            await listener.use_config(wanted.config)
        elif listener.is_connected and _armed(wanted) - _armed(before):
            self._start_snapshot()  # the first packet of a quiet instrument may be hours old

    def _must_restart(self, wanted: WantedFeed) -> bool:
        """A token that changed hands would bring another instrument's price under the old name."""
        if self._running is None or self._running.generation != wanted.generation:
            return True
        before = self._running.tokens
        return any(before.get(symbol, token) != token for symbol, token in wanted.tokens.items())

    def _build(self, wanted: WantedFeed) -> MarketDataListener:
        account_id = wanted.config.account_id
        self._tokens = FeedTokens(wanted.tokens, wanted.tick_sizes)
        listener = self._adapter.listener_class(
            wanted.user_id, wanted.config, tokens=self._tokens, clock=self._clock
        )
        listener.register_callback("on_ticks", self._on_ticks)
        listener.register_callback("on_order_update", partial(self._hooks.on_order_update, account_id))
        listener.register_callback("on_connect", self._on_connect)
        listener.register_callback("on_disconnect", self._on_disconnect)
        listener.register_callback("on_error", lambda error: self._note("failed", str(error)))
        self._listener = listener
        return listener

    async def _subscribe(self, listener: MarketDataListener, wanted: WantedFeed) -> None:
        # Tokens of what is on its way out stay known until it is out.
        leaving = self._running.tokens if self._running else {}
        self._tokens.replace({**leaving, **wanted.tokens}, wanted.tick_sizes)
        limit = self._adapter.instruments_per_connection
        fitting = fit(wanted.modes, self._tokens, listener.wire_token, limit)
        before, modes = self._fit.modes, fitting.modes
        await listener.unsubscribe([symbol for symbol in before if symbol not in modes])
        for mode in FeedMode:
            if changed := [
                name for name, its in modes.items() if its is mode and before.get(name) is not mode
            ]:
                await listener.subscribe(changed, mode)
        self._tokens.replace(wanted.tokens, wanted.tick_sizes)
        self._fit = fitting
        self._note_new("left_out", fitting.refused)
        self._note_new("limited", fitting.crowded)

    async def _drop(self) -> None:
        listener, self._listener, self._running = self._listener, None, None
        self._fit, self._freshness, self._stamps = Fit(), Freshness(), StampWatch()
        self._stop_snapshot()
        if listener is not None:
            await listener.disconnect()

    # --- what the listener says -----------------------------------------------------------

    def _on_ticks(self, ticks: Sequence[Tick]) -> None:
        judged = self._pipeline.accept(self._wanted.user_id, ticks, self._wanted.config.account_id)
        now = self._clock.monotonic()
        self._rate.count(len(ticks), now)
        self._freshness.by_ticks(judged, now)
        self._stamps.note(judged, now)

    def _on_connect(self) -> None:
        self._note("connected", "")
        self._start_snapshot()

    def _on_disconnect(self, error: Exception | None) -> None:
        self._stop_snapshot()
        self._note("disconnected", "" if error is None else str(error))

    async def _take_snapshot(self) -> None:
        """Ask until it works: what happened while the feed was away is known only afterwards."""
        wanted = self._wanted
        while True:
            try:
                judged = await self._hooks.judge_by_quotes(wanted.user_id, wanted.config.account_id)
                self._freshness.by_quotes(judged, self._clock.monotonic())
                return
            except BrokerError as exc:
                logger.warning("account %s: quotes were asked for: %s", wanted.config.account_id, exc)
            except Exception:
                logger.exception("account %s: quotes were asked for", wanted.config.account_id)
            await self._clock.sleep(SNAPSHOT_RETRY_S)

    def _look_for_silence(self) -> None:
        """Ask for prices when the feed is connected and brings nothing of an armed instrument that may trigger."""
        if self._listener is None or not self._listener.is_connected:
            return
        silence_s = self._freshness.silence_s(_armed(self._running), self._clock.monotonic())
        is_asking = self._snapshot is not None and not self._snapshot.done()
        if silence_s >= QUIET_S and not is_asking:
            self._start_snapshot()

    def _start_snapshot(self) -> None:
        self._stop_snapshot()
        self._snapshot = asyncio.get_running_loop().create_task(self._take_snapshot())

    def _stop_snapshot(self) -> None:
        if self._snapshot is not None:
            self._snapshot.cancel()
            self._snapshot = None

    def _note_new(self, kind: str, detail: str, key: str = "") -> None:
        """Note what has begun, or has become another thing; not again while it lasts."""
        if detail and self._told.get(kind) != (key or detail):
            self._note(kind, detail)
        self._told[kind] = detail and (key or detail)

    def _note(self, kind: str, detail: str) -> None:
        self._hooks.on_feed_event(self._wanted, kind, detail)


def _armed(feed: WantedFeed | None) -> set[str]:
    modes = {} if feed is None else feed.modes
    return {symbol for symbol, mode in modes.items() if mode is FeedMode.FULL}


async def stop_all(feeds: Iterable[AccountFeed]) -> None:
    """Stop feeds side by side; one that fails to close is logged."""
    stops: list[Callable[[], Awaitable[None]]] = [feed.stop for feed in feeds]
    for result in await asyncio.gather(*(stop() for stop in stops), return_exceptions=True):
        if isinstance(result, Exception):
            logger.error("a feed did not close cleanly", exc_info=result)
