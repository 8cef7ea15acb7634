"""One account's live feed: connected, subscribed and, whatever happens, connected again.

A broker's subclass says only how its feed speaks (``marketdata.speech``). Everything about
staying alive is here, once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence

from marketdata.backoff import Delays, interruptible, pause
from marketdata.board import FeedHouse
from marketdata.callbacks import Callback, Callbacks
from marketdata.clock import SystemClock
from marketdata.domain.clock import Clock
from marketdata.domain.errors import BadFrame, BrokerError, BrokerUnavailable, LoginExpired, UnknownInstrument
from marketdata.domain.feed import TICKING_S, ListenerHealth, ListenerState
from marketdata.domain.ticks import FeedMode
from marketdata.events import EVENTS, tell_ticks
from marketdata.intake import Intake
from marketdata.malformed import Malformed
from marketdata.ports import BrokerConfig, Tokens
from marketdata.speech import Speech
from marketdata.subscribed import Subscribed
from marketdata.transport import HandshakeRefused, Transport

logger = logging.getLogger(__name__)


class MarketDataListener(Speech):
    """A market-data feed of one account, kept connected from :meth:`connect` to :meth:`disconnect`.

    All methods belong to the event loop that :meth:`connect` ran in. Events and what their
    callbacks are given:

    * ``on_tick(symbol: str, ltp: Decimal, timestamp: datetime | None)``: each tick, with the
      exchange's time (UTC) where the packet has one
    * ``on_ticks(ticks: list[Tick])``: all ticks of one message, exact integers; the fast way
    * ``on_connect()``: connected, and the wanted symbols are asked for
    * ``on_disconnect(error: Exception | None)``: the connection ended; None when we closed it
    * ``on_error(error: Exception)``: an attempt failed, a login expired, the broker complained
    * ``on_order_update(order: OrderSnapshot)``
    """

    def __init__(
        self,
        user_id: int,
        broker_config: BrokerConfig,
        *,
        tokens: Tokens,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        hears_orders: bool = True,
    ) -> None:
        self.user_id = user_id
        self.hears_orders = hears_orders  # of several connections of one account only the first need do so
        self._config = broker_config
        self._name = f"{broker_config.broker} account {broker_config.account_id}"
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._callbacks = Callbacks(EVENTS, self._clock)
        self._subscribed = Subscribed(tokens, self.wire_token, self.instruments_per_connection)
        self._state = ListenerState.STOPPED
        self._transport: Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._tried = asyncio.Event()
        self._is_loaded = False
        self._attempts = 0
        self._last_tick_at: float | None = None
        self._last_frame_at: float | None = None
        self._last_error = ""
        self._malformed = Malformed()
        self._intake: Intake | None = None
        self._is_proven = False  # the present connection has carried something valid

    # --- Life ----------------------------------------------------------------------------

    async def connect(self) -> None:
        """Start, and return when the first attempt has ended, well or not.

        Never raises for a broker's sake: after a failure the attempts go on in the
        background until :meth:`disconnect`; ``health_check`` and the events tell how it is.
        """
        if self._task is None:
            self._tried.clear()
            self._hurry.clear()
            self._state = ListenerState.CONNECTING
            self._task = asyncio.create_task(self._run(), name=f"feed of {self._name}")
        await self._tried.wait()

    async def disconnect(self) -> None:
        """Close, and stop trying. Safe to call twice, or before :meth:`connect`."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._state = ListenerState.STOPPED
        self._tried.set()

    async def reconnect(self) -> None:
        """Drop the connection, if any, and try again at once."""
        if self._task is None:
            return await self.connect()
        self._tried.clear()
        self._hurry.set()
        if self._transport is not None:
            self._transport.abort("reconnect was asked for")
        await self._tried.wait()
        return None

    async def use_config(self, broker_config: BrokerConfig) -> None:
        """Go on with other credentials, such as today's token; reconnects when running."""
        self._config = broker_config
        if self._task is not None:
            await self.reconnect()

    # --- Subscriptions -------------------------------------------------------------------

    async def subscribe(self, symbols: Iterable[str], mode: FeedMode = FeedMode.FULL) -> None:
        """Want ``symbols`` in ``mode``, from now on and on every later connection.

        A symbol wanted already changes its mode without a gap.

        Raises:
            UnknownInstrument: Not in the instrument list. Nothing was changed.
            ValueError: More than one connection carries. Nothing was changed.

        """
        async with self._sending:
            added, changed = self._subscribed.want(list(symbols), mode)
            if added and self._transport:
                await self._send(self._transport, self.subscribe_messages(added, mode))
            if changed and self._transport:
                await self._send(self._transport, self.mode_messages(changed, mode))

    async def unsubscribe(self, symbols: Iterable[str]) -> None:
        """Want ``symbols`` no longer; those not wanted anyway are ignored."""
        async with self._sending:
            removed = self._subscribed.drop(list(symbols))
            if removed and self._transport:
                await self._send(self._transport, self.unsubscribe_messages(removed))

    async def resubscribe(self, symbols: Iterable[str]) -> None:
        """Ask the present connection once more for those of ``symbols`` that are wanted."""
        async with self._sending:
            for mode, tokens in self._subscribed.again(symbols).items():
                if self._transport:
                    await self._send(self._transport, self.subscribe_messages(tokens, mode))

    def register_callback(self, event: str, fn: Callback) -> None:
        """Call ``fn`` at each ``event``; what it raises is logged and counted, nothing more.

        Raises:
            ValueError: No such event.

        """
        self._callbacks.register(event, fn)

    def use_house(self, house: FeedHouse) -> None:
        """Judge large frames at once where most of their prices mean nothing to anybody.

        ``on_ticks`` is then told the others only, and ``house`` the last of each.
        """
        if (reader := self.columns()) is not None:
            self._intake = Intake(reader, house, self._subscribed)
            house.attach(self._intake.board)

    # --- How it is -----------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self._state is ListenerState.CONNECTED

    @property
    def subscribed_symbols(self) -> frozenset[str]:
        return frozenset(self._subscribed.modes)

    @property
    def reconnect_attempts(self) -> int:
        """Failed attempts since the last successful one."""
        return self._attempts

    def health_check(self) -> ListenerHealth:
        """Look at it now."""
        tick_age = self._age(self._last_tick_at)
        heard_at = self._transport.last_frame_at if self._transport else self._last_frame_at
        return ListenerHealth(
            state=self._state,
            is_connected=self.is_connected,
            is_ticking=self.is_connected and tick_age is not None and tick_age <= TICKING_S,
            subscribed_symbols=tuple(sorted(self._subscribed.modes)),
            subscription_count=len(self._subscribed.modes),
            reconnect_attempts=self._attempts,
            last_frame_age_s=self._age(heard_at),
            last_tick_age_s=tick_age,
            bad_frames=self._malformed.total,
            callback_errors=self._callbacks.errors,
            last_error=self._last_error,
        )

    def _age(self, moment: float | None) -> float | None:
        return None if moment is None else max(0.0, self._clock.monotonic() - moment)

    # --- The loop ------------------------------------------------------------------------

    async def _run(self) -> None:
        delays = Delays(self._rng)
        while True:
            began = self._clock.monotonic()
            try:
                await self._attempt()
            except Exception as exc:  # noqa: BLE001 - nothing but `disconnect` may end this loop
                delay = delays.after(error := await self._explained(exc), self._clock.monotonic() - began)
                if isinstance(error, LoginExpired):
                    self._ended(error, ListenerState.LOGIN_NEEDED)
                    await self._hurry.wait()
                else:
                    self._ended(error, ListenerState.CONNECTING)
                    await pause(self._clock, delay, unless=self._hurry)
            self._hurry.clear()

    async def _explained(self, error: Exception) -> Exception:
        if self._is_proven:
            return error
        try:
            return await interruptible(self.diagnose(error), error, unless=self._hurry)
        except Exception:
            logger.exception("%s: why the connection ended could not be asked", self._name)
        return error

    async def _attempt(self) -> None:
        # One connection, from handshake to end; always raises, for an end is an error or a cancellation.
        self._state, self._is_proven = ListenerState.CONNECTING, False
        config = self._config
        if not self._is_loaded:
            await asyncio.to_thread(self.load)
            self._is_loaded = True
        try:
            transport = await Transport.open(self.handshake(), options=self.options, clock=self._clock)
        except HandshakeRefused as exc:
            raise self.refused(exc) from exc
        try:
            if config is not self._config:
                raise BrokerUnavailable("the credentials changed during the handshake")
            await self._carry(transport)
        finally:
            self._transport, self._last_frame_at = None, transport.last_frame_at
            await transport.close()

    async def _carry(self, transport: Transport) -> None:
        unknown = await self._ask_for_wanted(transport)
        self._state, self._attempts, self._last_error = ListenerState.CONNECTED, 0, ""
        logger.info("%s: feed connected, %d symbols", self._name, len(self._subscribed.modes))
        self._hurry.clear()
        self._tried.set()
        self._callbacks.emit("on_connect")
        for symbol in unknown:
            self._complain(UnknownInstrument(f"{symbol} is not in the instrument list: import it again"))
        error: Exception | None = None
        try:
            while True:
                for message in self.joined(await transport.receive_all()):
                    self._read(message)
        except Exception as exc:
            error = exc
            raise
        finally:
            self._state = ListenerState.CONNECTING
            self._callbacks.emit("on_disconnect", error)

    async def _ask_for_wanted(self, transport: Transport) -> list[str]:
        async with self._sending:  # nobody changes what is wanted between asking and `_transport`
            wanted, unknown = self._subscribed.begin()
            for message in self.opening_messages(wanted):
                await transport.send(message)
            self._transport = transport
        return unknown

    async def _send(self, transport: Transport, messages: Sequence[str]) -> None:
        try:
            for message in messages:
                await transport.send(message)
        except BrokerUnavailable as exc:
            # The connection is ending; the next one asks for everything wanted.
            logger.info("%s: subscription put off: %s", self._name, exc)

    def _ended(self, error: Exception, state: ListenerState) -> None:
        self._state = state
        self._attempts += 1
        trace = None if isinstance(error, BrokerError) else error
        logger.warning("%s: feed down (%d): %s", self._name, self._attempts, error, exc_info=trace)
        self._complain(error)
        if not self._hurry.is_set():  # otherwise the attempt that was asked for is still to come
            self._tried.set()

    def _complain(self, error: Exception) -> None:
        self._last_error = str(error) or type(error).__name__
        self._callbacks.emit("on_error", error)

    def _read(self, message: bytes | str) -> None:
        now = self._clock.monotonic()
        try:
            if isinstance(message, str):
                self.read_text(message)
            else:
                self._read_frame(message, self._clock.time(), now)
                if (goodbye := self.goodbye()) is not None:
                    raise goodbye
            self._is_proven = True
        except BadFrame as exc:
            logger.warning("%s: %s", self._name, exc)
            self._malformed.count(now)

    def _read_frame(self, frame: bytes, received_at: float, now: float) -> None:
        if self._take_quiet(frame, received_at) or self._tell(frame, received_at, before=self._intake):
            self._last_tick_at = now

    def _take_quiet(self, frame: bytes, received_at: float) -> bool:
        if self._intake is None or self._callbacks.wants("on_tick"):
            return False
        try:
            return self._intake.take(frame, received_at, lambda loud: self._tell(loud, received_at))
        except Exception:  # a defect there must not cost a single stop: every tick goes the ordinary way
            logger.exception("%s: prices are taken one by one from now on", self._name)
            self._intake = None
            return False

    def _tell(self, frame: bytes, received_at: float, *, before: Intake | None = None) -> bool:
        """Decode a frame and tell its ticks; False when it has none."""
        ticks = self.decode(frame, received_at=received_at, symbols=self._subscribed.symbols)
        if before is not None:
            before.before(ticks)
        if ticks:
            tell_ticks(self._callbacks, self._subscribed.mark_first(ticks))
        return bool(ticks)
