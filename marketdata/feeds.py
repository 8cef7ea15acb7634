"""One account's feed, brought to what is wanted of it, in a task of its own.

No feed waits for another: a broker that does not answer holds up its own account only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from marketdata.brokers import registry
from marketdata.connections import Connections
from marketdata.domain.clock import Clock
from marketdata.domain.errors import LoginExpired
from marketdata.domain.feed import NO_LISTENER, ListenerHealth
from marketdata.domain.gate import ACCEPTED, Decision
from marketdata.domain.orders import OrderSnapshot
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.fitting import Fit, Room, fit
from marketdata.liveness import Liveness
from marketdata.quiet import QuietFeed, QuietPipeline
from marketdata.quoting import Quoting
from marketdata.statistics import RateMeter
from marketdata.wanted import FeedTokens, WantedFeed

logger = logging.getLogger(__name__)

RETRY_S = 2.0
LOOK_S = 2.0
"""Between two looks at whether every instrument answers."""
BLIND_S = 5.0
"""With the feed down and no quote for so long, failed ones are told: one alone may be one too many in a second."""
ANEW_S = 300.0
"""A connection on which everything armed is silent is made anew, at most once in so long."""
NAMED = 3
"""So many instruments are named in one text; of the others, how many."""


class Pipeline(Protocol):
    """Where ticks go."""

    def accept(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> Sequence[tuple[Tick, Decision]]:
        """Take ticks and return what each may do."""
        ...


class FeedHooks(Protocol):
    """Who hears what else a feed brings."""

    async def judge_by_quotes(
        self, user_id: int, account_id: int, symbols: Collection[str] | None = None, *, is_gap: bool = True
    ) -> Mapping[str, int]:
        """Judge armed instruments by prices that are asked for, not pushed.

        Args:
            user_id: Whose.
            account_id: Whom to ask.
            symbols: Only these; None: all, those armed just now included.
            is_gap: They were out of sight before, so a stop may have been crossed unseen.

        Returns:
            The prices (units) of the symbols that really were judged: one that the broker's
            answer leaves out is not among them.

        Raises:
            BrokerError: To be asked again.

        """
        ...

    def on_order_update(self, account_id: int, order: OrderSnapshot) -> None: ...

    def on_feed_event(self, feed: WantedFeed, kind: str, detail: str) -> None:
        """Take note: ``kind`` is ``connected disconnected failed limited left_out clock silent blind``."""
        ...


@dataclass(frozen=True, slots=True)
class FeedReport:
    """How an account's feed is."""

    wanted: WantedFeed
    health: ListenerHealth
    trouble: str  # why it cannot be brought to what is wanted; empty when it can
    ticks_per_second: float = 0.0
    quote_age_s: float | None = None  # since its armed instruments were last judged by quotes
    stale: tuple[str, ...] = ()  # its armed instruments that nothing was heard of for 15 s
    unseen: Mapping[str, str] = field(default_factory=dict)  # armed ones that are not watched, and why


class AccountFeed:
    """Holds at most one listener, and one task that makes it what ``want`` said last."""

    def __init__(self, wanted: WantedFeed, pipeline: Pipeline, hooks: FeedHooks, clock: Clock) -> None:
        self._adapter = its = registry.adapter(wanted.config.broker)
        self._room = Room(wanted.config.broker, its.instruments_per_connection, its.connections)
        self._wanted = wanted
        self._pipeline = pipeline
        self._hooks = hooks
        self._clock = clock
        self._tokens = FeedTokens({}, {})
        self._listener: Connections | None = None
        self._running: WantedFeed | None = None  # what the listener was last brought to
        self._changed = asyncio.Event()
        self._liveness = Liveness(clock)
        self._anew_at = float("-inf")
        self._silent: dict[str, str] = {}  # what was told to bring nothing, and still does not
        self._fit = Fit()  # what the listener was last asked to carry
        self._told: dict[str, str] = {}
        self._trouble = ""
        self._rate = RateMeter()
        name = f"account {wanted.config.account_id}"
        self._quoting = Quoting(name, self._due, self._judge, self._quoted, clock)
        self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

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
        liveness = self._liveness
        return FeedReport(
            self._wanted,
            health,
            self._trouble
            or self._fit.refused
            or self._fit.crowded
            or liveness.clock_trouble()
            or in_short(self._silent),
            self._rate.per_second(self._clock.monotonic()),
            None if liveness.quote_age_s == float("inf") else liveness.quote_age_s,
            tuple(liveness.stale(_armed(self._wanted))),
            liveness.unseen(_armed(self._running)) if health.is_connected else {},
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
        await self._quoting.stop()
        await self._drop()

    # --- inside ---------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self._converge(self._wanted)
                await self._look_for_silence()
                self._trouble = ""
            except Exception as exc:
                if str(exc) != self._trouble:
                    logger.exception("account %s: feed not as wanted", self._wanted.config.account_id)
                self._trouble = str(exc)
            await self._wait(RETRY_S if self._trouble else LOOK_S)
            self._note_new("clock", self._liveness.clock_trouble(), key="off")  # by how much may change

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
            self._quoting.ask_for_all()  # the first packet of a quiet instrument may be hours old

    def _must_restart(self, wanted: WantedFeed) -> bool:
        """A token that changed hands would bring another instrument's price under the old name."""
        if self._running is None or self._running.generation != wanted.generation:
            return True
        before = self._running.tokens
        return any(before.get(symbol, token) != token for symbol, token in wanted.tokens.items())

    def _build(self, wanted: WantedFeed) -> Connections:
        account_id = wanted.config.account_id
        self._tokens = FeedTokens(wanted.tokens, wanted.tick_sizes)
        listener = Connections(
            wanted.user_id,
            wanted.config,
            self._adapter,
            tokens=self._tokens,
            clock=self._clock,
            house=self._quiet(),
        )
        listener.register_callback("on_ticks", self._on_ticks)
        listener.register_callback("on_order_update", partial(self._hooks.on_order_update, account_id))
        listener.register_callback("on_connect", self._on_connect)
        listener.register_callback("on_disconnect", self._on_disconnect)
        listener.register_callback("on_error", lambda error: self._note("failed", str(error)))
        self._listener = listener
        return listener

    async def _subscribe(self, listener: Connections, wanted: WantedFeed) -> None:
        # Tokens of what is on its way out stay known until it is out.
        leaving = self._running.tokens if self._running else {}
        self._tokens.replace({**leaving, **wanted.tokens}, wanted.tick_sizes)
        before = self._fit.modes
        fitting = fit(wanted.modes, self._tokens, listener.wire_token, self._room, before)
        modes = fitting.modes
        leaving_now = [symbol for symbol in before if symbol not in modes]
        await listener.unsubscribe(leaving_now)
        self._liveness.forget(leaving_now)
        for mode in FeedMode:
            if changed := [
                name for name, its in modes.items() if its is mode and before.get(name) is not mode
            ]:
                await listener.subscribe(changed, mode)
                self._expect(listener, changed)
        self._tokens.replace(wanted.tokens, wanted.tick_sizes)
        self._fit = fitting
        self._note_new("left_out", fitting.refused)
        self._note_new("limited", fitting.crowded)

    async def _drop(self) -> None:
        listener, self._listener, self._running = self._listener, None, None
        self._fit, self._liveness, self._silent = Fit(), Liveness(self._clock), {}
        if listener is not None:
            await listener.disconnect()

    # --- what the listener says -----------------------------------------------------------

    def _on_ticks(self, ticks: Sequence[Tick]) -> None:
        judged = self._pipeline.accept(self._wanted.user_id, ticks, self._wanted.config.account_id)
        self._rate.count(len(ticks), self._clock.monotonic())
        self._liveness.by_ticks(judged)

    def _quiet(self) -> QuietFeed | None:
        """Return where quiet prices go; None: the pipeline sees each tick."""
        if not isinstance(self._pipeline, QuietPipeline):
            return None
        user_id, account_id = self._wanted.user_id, self._wanted.config.account_id
        return QuietFeed(self._pipeline, user_id, account_id, self._on_shown, self._on_counted)

    def _on_shown(self, ticks: Sequence[Tick]) -> None:
        self._liveness.by_ticks([(tick, ACCEPTED) for tick in ticks])

    def _on_counted(self, ticks: int) -> None:
        self._rate.count(ticks, self._clock.monotonic())

    def _on_connect(self) -> None:
        self._note("connected", "")
        self._liveness.connected(self._listener.take_renewed() if self._listener else ())
        self._quoting.ask_for_all()

    def _on_disconnect(self, error: Exception | None) -> None:
        self._liveness.disconnected()
        self._note("disconnected", "" if error is None else str(error))

    # --- prices that are asked for ----------------------------------------------------------

    def _due(self) -> set[str]:
        return self._liveness.due(_armed(self._wanted))

    async def _judge(self, symbols: Collection[str] | None, *, is_gap: bool) -> bool:
        wanted, liveness = self._wanted, self._liveness
        if not is_gap:  # nothing new to be armed first
            symbols = _armed(wanted)
        ask = self._hooks.judge_by_quotes
        prices = await ask(wanted.user_id, wanted.config.account_id, symbols, is_gap=is_gap)
        liveness.by_quotes(prices)
        return bool(prices)

    def _quoted(self, error: Exception | None) -> None:
        """Tell when neither the feed nor quotes show a price: once, until either does.

        A login that is refused is told of as that.
        """
        if error is None:
            self._note_new("blind", "")
        elif isinstance(error, LoginExpired):
            return
        elif self._liveness.is_dead and self._liveness.quote_age_s > BLIND_S and _armed(self._wanted):
            self._note_new("blind", str(error), key="blind")

    async def _look_for_silence(self) -> None:
        """Subscribe again to what has not answered, once; tell of what stays silent although it should not."""
        listener = self._listener
        if listener is None or not listener.is_connected:
            return
        if again := self._liveness.to_ask_again():
            named = in_short(dict.fromkeys(again, "no price yet"))
            logger.warning("account %s: %s", self._wanted.config.account_id, named)
            await listener.resubscribe(again)
        before, self._silent = self._silent, self._liveness.silent(_armed(self._running))
        if new := {symbol: why for symbol, why in self._silent.items() if symbol not in before}:
            self._note("silent", in_short(new))
        if self._silent and self._silent.keys() == _armed(self._running):
            await self._connect_anew(listener)

    async def _connect_anew(self, listener: Connections) -> None:
        now = self._clock.monotonic()
        if now - self._anew_at >= ANEW_S:
            self._anew_at = now
            logger.warning("account %s: nothing armed ticks: connecting anew", self._wanted.config.account_id)
            await listener.reconnect()

    def _expect(self, listener: Connections, symbols: Collection[str]) -> None:
        if listener.is_connected:
            self._liveness.expect(symbols)

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


def in_short(silent: Mapping[str, str]) -> str:
    """Name what is silent, and why; of many the first."""
    named = [f"{symbol}: {why}" for symbol, why in sorted(silent.items())[:NAMED]]
    more = f"; and {len(silent) - NAMED} more" if len(silent) > NAMED else ""
    return "; ".join(named) + more


async def stop_all(feeds: Iterable[AccountFeed]) -> None:
    """Stop feeds side by side; one that fails to close is logged."""
    stops: list[Callable[[], Awaitable[None]]] = [feed.stop for feed in feeds]
    for result in await asyncio.gather(*(stop() for stop in stops), return_exceptions=True):
        if isinstance(result, Exception):
            logger.error("a feed did not close cleanly", exc_info=result)
