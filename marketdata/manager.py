"""The listeners of this process: what the database wants against what runs.

The database is read every two seconds; a hint only shortens the wait. So nothing is lost when
a message is, and starting up is the same as carrying on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from marketdata.clock import SystemClock
from marketdata.database import DatabaseThread
from marketdata.domain.clock import Clock
from marketdata.domain.errors import UnknownBroker
from marketdata.domain.feed import ListenerHealth
from marketdata.domain.orders import OrderSnapshot
from marketdata.domain.ticks import FeedMode
from marketdata.feeds import AccountFeed, FeedHooks, FeedReport, Pipeline, stop_all
from marketdata.ports import BrokerConfig
from marketdata.precedence import Deference, Precedence
from marketdata.processor import get_tick_processor
from marketdata.singletons import Singleton
from marketdata.wanted import Wanted, WantedFeed, WantedReader, read_tokens

logger = logging.getLogger(__name__)

RECONCILE_S = 2.0
_SETTLE_S = 0.05
"""After a hint, so that a burst of changes costs one look."""

Owned = Callable[[], Collection[int] | None]
"""The users whose accounts run in this process; None: everybody's."""


class NoHooks:
    """For a manager nobody else listens to."""

    async def judge_by_quotes(
        self, user_id: int, account_id: int, symbols: Collection[str] | None = None, *, is_gap: bool = True
    ) -> Mapping[str, int]:
        """Find nothing armed."""
        return {}

    def on_order_update(self, account_id: int, order: OrderSnapshot) -> None:
        """Do nothing."""

    def on_feed_event(self, feed: WantedFeed, kind: str, detail: str) -> None:
        """Do nothing."""


class ListenerManager:
    """Runs one feed for each account. Belongs to one event loop.

    ``run`` keeps the feeds at what the database wants. Without it, the methods below start and
    stop feeds by hand; beside it, what they did lasts until the next look at the database.
    """

    def __init__(
        self,
        pipeline: Pipeline | None = None,
        *,
        hooks: FeedHooks | None = None,
        database: DatabaseThread | None = None,
        clock: Clock | None = None,
        owned: Owned = lambda: None,
        precedence: Deference | None = None,
    ) -> None:
        self._owned = owned
        self._pipeline = pipeline or get_tick_processor()
        self._hooks: FeedHooks = hooks or NoHooks()
        self._database = database or DatabaseThread("listener-manager")
        self._clock = clock or SystemClock()
        self._precedence: Deference = precedence or Precedence(self._clock)
        self._reader = WantedReader()
        self._feeds: dict[int, AccountFeed] = {}
        self._refused: set[int] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._hinted = asyncio.Event()
        self.owners: frozenset[int] = frozenset()

    # --- by hand --------------------------------------------------------------------------

    async def start_listener(self, user_id: int, broker_config: BrokerConfig, *, generation: int = 0) -> None:
        """Run a feed for an account, or go on with other credentials. It connects once it has symbols.

        Raises:
            UnknownBroker: No such broker is registered.

        """
        known = self._feeds.get(broker_config.account_id)
        if known is None:
            self._start(WantedFeed(user_id, broker_config, generation))
        else:
            known.want(replace(known.wanted, config=broker_config, generation=generation))

    async def stop_listener(self, account_id: int) -> None:
        """Disconnect an account's feed; nothing happens when it does not run."""
        feed = self._feeds.pop(account_id, None)
        if feed is not None:
            await feed.stop()

    async def stop_all_listeners(self) -> None:
        """Disconnect all feeds, side by side."""
        feeds, self._feeds = list(self._feeds.values()), {}
        await asyncio.gather(stop_all(feeds), *self._closing)

    async def stop_users(self, users: Collection[int]) -> None:
        """Disconnect the feeds of these users, who are not owned any more."""
        self.owners -= frozenset(users)
        gone = [pk for pk, feed in self._feeds.items() if feed.wanted.user_id in users]
        await stop_all([self._feeds.pop(pk) for pk in gone])

    async def subscribe_symbols(
        self, account_id: int, symbols: Collection[str], mode: FeedMode = FeedMode.FULL
    ) -> None:
        """Add symbols to an account's feed, or change their mode.

        Raises:
            LookupError: The account has no running feed.
            UnknownInstrument: Not in the broker's instrument list; nothing was changed.

        """
        wanted = self._feed(account_id).wanted
        tokens = await self._database.run(read_tokens, wanted.config.broker, symbols)
        feed = self._feed(account_id)
        modes = {**feed.wanted.modes, **dict.fromkeys(symbols, mode)}
        feed.want(replace(feed.wanted, modes=modes, tokens={**feed.wanted.tokens, **tokens}))

    async def unsubscribe_symbols(self, account_id: int, symbols: Iterable[str]) -> None:
        """Take symbols off an account's feed; with none left it disconnects.

        Raises:
            LookupError: The account has no running feed.

        """
        feed, gone = self._feed(account_id), set(symbols)
        modes = {name: mode for name, mode in feed.wanted.modes.items() if name not in gone}
        tokens = {name: token for name, token in feed.wanted.tokens.items() if name not in gone}
        feed.want(replace(feed.wanted, modes=modes, tokens=tokens))

    def get_all_health(self) -> Mapping[int, Mapping[str, ListenerHealth]]:
        """Return by user, then by ``broker:account id``, how each feed is."""
        found: dict[int, dict[str, ListenerHealth]] = {}
        for report in self.reports():
            config = report.wanted.config
            found.setdefault(report.wanted.user_id, {})[f"{config.broker}:{config.account_id}"] = (
                report.health
            )
        return found

    def reports(self) -> list[FeedReport]:
        """Look at every feed now."""
        return [feed.report() for feed in self._feeds.values()]

    # --- by the database ------------------------------------------------------------------

    def hint(self) -> None:
        """Look at the database soon instead of within two seconds."""
        self._hinted.set()

    async def run(self) -> None:
        """Keep the feeds at what the database wants until cancelled; then disconnect them."""
        try:
            while True:
                await self._precedence.wait()
                try:
                    await self.reconcile()
                except Exception:
                    logger.exception("could not read what is wanted: feeds go on as they are")
                await self._wait()
        finally:
            await self.stop_all_listeners()

    async def reconcile(self) -> None:
        """Read what is wanted once and set every feed on its way there."""
        wanted = await self._database.run(self._reader.read)
        self._apply(wanted.of(self._owned()))  # asked last: users may have been lost during the reading

    def _apply(self, wanted: Wanted) -> None:
        self.owners = wanted.owners
        gone = [self._feeds.pop(pk) for pk in list(self._feeds) if pk not in wanted.feeds]
        for account_id, feed in wanted.feeds.items():
            if account_id in self._feeds:
                self._feeds[account_id].want(feed)
            else:
                self._try_to_start(account_id, feed)
        self._refused &= wanted.feeds.keys()
        if gone:  # closing may take its time: not the others'
            task = asyncio.get_running_loop().create_task(stop_all(gone))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _try_to_start(self, account_id: int, wanted: WantedFeed) -> None:
        try:
            self._start(wanted)
        except UnknownBroker as exc:
            if account_id not in self._refused:
                logger.exception("account %s cannot run", account_id)
                self._hooks.on_feed_event(wanted, "failed", str(exc))
            self._refused.add(account_id)

    def _start(self, wanted: WantedFeed) -> None:
        feed = AccountFeed(wanted, self._pipeline, self._hooks, self._clock)
        self._feeds[wanted.config.account_id] = feed

    def _feed(self, account_id: int) -> AccountFeed:
        try:
            return self._feeds[account_id]
        except KeyError:
            raise LookupError(f"account {account_id} has no running listener: start it first") from None

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(RECONCILE_S):
                await self._hinted.wait()
                await self._clock.sleep(_SETTLE_S)
        self._hinted.clear()


_singleton = Singleton(ListenerManager)
get_listener_manager = _singleton.get
set_listener_manager = _singleton.set
