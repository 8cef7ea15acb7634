"""The composition root of ``run_listeners``: builds the house, runs it, takes it down.

One event loop holds everything that decides. Each kind of database work has its own thread:
the exit journal's never waits for a report, and a report never for the reading of accounts.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any

from django.conf import settings

from marketdata.broadcast import PageBroadcast
from marketdata.brokers import registry
from marketdata.closings import of_shares, read_closings, write_closings
from marketdata.database import DatabaseThread
from marketdata.daychart import DayChart
from marketdata.domain.clock import Clock
from marketdata.domain.gate import Gate
from marketdata.domain.orders import OrderLimits, OrderSnapshot
from marketdata.domain.sessions import Calendar
from marketdata.feeds import FeedReport
from marketdata.hints import listen
from marketdata.holdings import Holdings
from marketdata.keeper import LeaseKeeper
from marketdata.leases import LeaseFence
from marketdata.lists import list_warnings
from marketdata.lookup import DatabaseTokens
from marketdata.ltp import LtpWriter, close_cache
from marketdata.manager import ListenerManager, set_listener_manager
from marketdata.marketdays import calendar_warnings, seed_ahead
from marketdata.ports import BrokerConfig, OrderGateway
from marketdata.precedence import PatientClock, Precedence
from marketdata.processor import TickProcessor, set_tick_processor
from marketdata.publishing import RedisPublisher
from marketdata.reporting import FeedReporter
from marketdata.sessionlocks import session_locks
from marketdata.wanted import WantedFeed, read_calendar
from project.crew import HouseCrew
from project.deadman import DeadMan
from project.exchanges import Exchanges
from project.lookout import Lookout
from project.metrics.listeners import WorkerMetrics
from project.metrics.telemetry import Address, Telemetry
from project.status import StatusWriter, worker_status
from strategies.accounts import AccountDesks
from strategies.channels import PageChannel, apprise_channels
from strategies.contracts import ContractNews
from strategies.engine import ExitEngine
from strategies.feed_alerts import FeedPages
from strategies.journal import Journal
from strategies.monitor import set_stop_loss_monitor
from strategies.notifying import Notifier
from strategies.records import trading_day
from strategies.rescaled import band_around, is_comparable, is_ending
from strategies.spool import Spool
from strategies.switches import why_not_trade

logger = logging.getLogger(__name__)

REPORT_S = 1.0
WRITE_EVERY = 2
"""Reports between two writes of rows that only grew older."""
CANCEL_AGAIN_S = 1.0
"""How long a task that was cancelled has to end before it is cancelled again."""
CALENDAR_S = 60.0
REVIEW_S = 60.0
RESTART_S = 1.0


class Announcer:
    """Tells pages and other programs what the exit journal committed; callable from its thread."""

    def __init__(self, pages: PageBroadcast, notifier: Notifier, publisher: RedisPublisher) -> None:
        self._pages = pages
        self._notifier = notifier
        self._publisher = publisher

    def tell(self, user_id: int, kind: str, body: Mapping[str, Any]) -> None:
        """Tell the user's pages, and of an alert every other channel too."""
        if kind == "alert":
            self._notifier.announce(user_id, body)
        else:
            self._pages.send(user_id, kind, body)

    def publish(self, channel: str, message: Mapping[str, Any]) -> None:
        """Tell other programs."""
        self._publisher.publish(channel, message)


class Hooks:
    """Passes on what feeds bring besides ticks."""

    def __init__(self, engine: ExitEngine, gate: Gate, reporter: FeedReporter, clock: Clock) -> None:
        self._engine = engine
        self._gate = gate
        self._reporter = reporter
        self._clock = clock
        self._reviewed: dict[int, float] = {}  # account -> when its shares' last closes were compared

    async def judge_by_quotes(
        self, user_id: int, account_id: int, symbols: Collection[str] | None = None, *, is_gap: bool = True
    ) -> Mapping[str, int]:
        """Judge what is armed by quotes; without ``symbols`` arm first what is to be. Raises ``BrokerError``."""
        if symbols is None:
            await self._engine.reconcile()
        armed, now = self._engine.monitor.symbols(user_id), self._clock.time()
        if all(self._gate.phase(symbol, now).is_outside for symbol in armed) and not self._is_morning(
            armed, account_id
        ):
            return {}  # nothing armed, or nothing that may trigger before the open
        return await self._engine.judge_by_quotes(user_id, account_id, symbols, is_gap=is_gap)

    def _is_morning(self, symbols: Collection[str], account_id: int) -> bool:
        """Once a minute before the open: nothing triggers, but yesterday's close may have another scale."""
        now = self._clock.time()
        exchanges = {symbol.partition(":")[0] for symbol in symbols}
        is_near = any(is_comparable(exchange, now, self._gate.calendar) for exchange in exchanges)
        is_due = is_near and now - self._reviewed.get(account_id, float("-inf")) >= REVIEW_S
        if is_due:
            self._reviewed[account_id] = now
        return is_due

    def on_order_update(self, account_id: int, order: OrderSnapshot) -> None:
        """Have the exit engine look at its orders."""
        self._engine.on_order_update(account_id, order)

    def on_feed_event(self, feed: WantedFeed, kind: str, detail: str) -> None:
        """Have it written down."""
        self._reporter.on_feed_event(feed, kind, detail)


class House:
    """Everything one ``run_listeners`` process has."""

    def __init__(self, worker: str, clock: Clock) -> None:
        self._clock = clock
        precedence = Precedence(clock)
        self._patient = PatientClock(clock, precedence)
        self._always = settings.MARKET_HOURS == "always"
        self._warned: set[str] = set()  # of the calendar
        self._database = DatabaseThread("listener-manager", precedence=precedence)
        self._reports = DatabaseThread("reports", precedence=precedence)
        self._leases = DatabaseThread("leases")
        self._lookups = DatabaseThread("contract-lookups")
        # Of all accounts: with a connection for each of their threads, a fall of the market would be one too many.
        self._listed = {broker: DatabaseTokens(broker, self._lookups.call) for broker in registry.BROKERS}
        self._status = StatusWriter(worker, settings.REDIS_URL)
        # A process that starts anew counts its frames anew, so it is another source.
        self._pages = PageBroadcast(f"{worker}.{int(clock.time() * 1000)}", clock=clock)
        self._publisher = RedisPublisher(settings.REDIS_URL, clock=clock)
        self._charts = DayChart(settings.REDIS_URL, clock)
        self._prices = LtpWriter(clock=clock, also=self._charts.take)
        others = apprise_channels(settings.ALERT_URLS)
        self._notifier = Notifier(PageChannel(self._pages), others, self._patient, precedence)
        feed_pages = FeedPages(self._pages, self._notifier)
        announcer = Announcer(self._pages, self._notifier, self._publisher)
        crew = HouseCrew(self, self._reports, announcer, clock)
        holdings = Holdings(worker, settings.LOCK_DIR, session_locks(), clock)
        self.keeper = LeaseKeeper(holdings, crew, self._leases, self._patient)
        at_work = self.keeper.at_work
        self._reporter = FeedReporter(worker, self._reports, feed_pages, clock, at_work)
        fence = LeaseFence(self.keeper.token)
        spool = Spool(settings.LOCK_DIR / f"breaches-{worker}.spool")
        journal = Journal(announcer, clock, random.SystemRandom(), why_not_trade, fence)
        self.engine = ExitEngine(
            journal,
            AccountDesks(self._gateway, clock, limits=_limits),
            clock,
            owned=self.keeper.owned,
            is_trading=self._is_trading,
            spool=spool,
            precedence=precedence,
        )
        self.processor = TickProcessor(
            monitor=self.engine.monitor,
            outlets=[self._prices, self._pages, self._publisher],
            calendar=Calendar(always=self._always),
            clock=clock,
        )
        self.engine.use_gate(self.processor.gate)
        hooks = Hooks(self.engine, self.processor.gate, self._reporter, clock)
        self._contracts = ContractNews(announcer, clock)
        self._lookout = Lookout(
            announcer, self._patient, lambda: self.processor.gate.calendar, at_work, precedence
        )
        self._exchanges = Exchanges(self.engine, self.processor.gate, hooks, clock)
        self.manager = ListenerManager(
            self.processor,
            hooks=hooks,
            database=self._database,
            clock=clock,
            owned=at_work,
            precedence=precedence,
        )

        self._metrics = WorkerMetrics(
            worker, self.processor, self.engine.monitor, spool, self.reports, self._reporter.counts, clock
        )

    async def run(self, stop: asyncio.Event, on_report: Callable[[House], None]) -> None:
        """Run until ``stop`` is set, then end everything in order.

        Every exit is recovered and every stop armed before the first feed connects.
        """
        set_tick_processor(self.processor)
        set_listener_manager(self.manager)
        set_stop_loss_monitor(self.engine.monitor)
        alerts = self._forever("alerts", self._notifier.run)
        try:
            await self._load_calendar()
            await self._load_closings()
            await self.keeper.start()
            await self.engine.start()
            _leave_alone_what_stays()
            await self._run_until(stop, on_report)
        finally:
            await self._notifier.drain()
            await _cancel(alerts)
            await self._close()

    def _gateway(self, config: BrokerConfig) -> OrderGateway:
        return registry.adapter(config.broker).gateway(config, self._listed[config.broker])

    def _is_trading(self, symbol: str, now: float) -> bool:
        return self.processor.gate.takes_orders(symbol, now)

    def reports(self) -> list[FeedReport]:
        """Look at every feed now."""
        return self.manager.reports()

    # --- inside ---------------------------------------------------------------------------

    async def _run_until(self, stop: asyncio.Event, on_report: Callable[[House], None]) -> None:
        outlets = [
            self._forever("ltp cache", self._prices.run),
            self._forever("day charts", self._charts.run),
            self._forever("pages", self._pages.run),
            self._forever("publications", self._publisher.run),
            self._forever("calendar", self._keep_calendar),
            self._forever("reports", lambda: self._keep_reporting(on_report)),
            self._forever("lookout", self._lookout.run),
        ]
        if settings.DEADMAN_URL:
            dead_man = DeadMan(settings.DEADMAN_URL, self._lookout.is_well, self._clock)
            outlets.append(self._forever("dead-man ping", dead_man.run))
        if settings.REDIS_URL:
            outlets.append(
                self._forever("hints", lambda: listen(settings.REDIS_URL, self._look, self._clock))
            )
        else:
            logger.warning(
                "REDIS_URL is not set: stops are checked, but pages and the LTP cache get no prices"
            )
        if settings.METRICS_AT:
            outlets.append(
                self._forever("metrics", partial(self._serve_metrics, Address(*settings.METRICS_AT)))
            )
        if not settings.ALERT_URLS:
            logger.warning("ALERT_URLS is not set: only the live page tells of what needs a person")
        leases = self._forever("leases", self.keeper.run)
        feeds = self._forever("listener manager", self.manager.run)
        try:
            await stop.wait()
        finally:
            # No new tick first, then the requests in hand, then what tells of them. Until then they
            # are nobody else's.
            self.keeper.retire()
            await _cancel(feeds)
            await self.engine.stop()
            await _cancel(*outlets, leases)

    async def _serve_metrics(self, address: Address) -> None:
        await Telemetry(self._metrics, address, self._reports, self._clock, self.keeper.owned).run()

    def _forever(self, name: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self._restart(name, run), name=name)

    async def _restart(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await run()
            except Exception:
                logger.exception("%s failed: starting it again", name)
            await self._clock.sleep(RESTART_S)

    def _look(self) -> None:
        self.manager.hint()
        self.engine.wake()

    async def _keep_calendar(self) -> None:
        told: dict[str, int] = {}
        while True:
            await self._patient.sleep(CALENDAR_S)
            told = _say_refused(self.processor.stats().refused, told)
            await self._load_calendar()
            look = partial(self._contracts.look, self.processor.gate.calendar, self.keeper.owned())
            await self._reports.run(look)
            await self._keep_closings()
            await self._load_closings()

    async def _keep_closings(self) -> None:
        """Keep the last prices of shares while their session ends."""
        calendar, now = self.processor.gate.calendar, self._clock.time()
        ending = {
            symbol: price
            for symbol, price in self.engine.monitor.prices().items()
            if is_ending(symbol.partition(":")[0], now, calendar)
        }
        shares = {symbol: ending[symbol] for symbol in of_shares(ending)}
        if shares and not self._always:
            await self._reports.run(partial(write_closings, shares, trading_day(now)))

    async def _load_closings(self) -> None:
        """Know what shares closed at, and ask about prices far from that until a quote has told the day's limits."""
        closings, gate, now = await self._database.run(read_closings), self.processor.gate, self._clock.time()
        self.engine.scales.load(closings)
        for symbol in closings if not self._always else ():
            if (known := self.engine.scales.expected(symbol, now, gate.calendar)) is not None:
                gate.presume(symbol, band_around(known.price), now)

    async def _load_calendar(self) -> None:
        if not self._always:
            await self._database.run(self._seed_calendar)
        calendar = await self._database.run(read_calendar, always=self._always)
        if calendar != self.processor.gate.calendar:
            self.processor.gate.set_calendar(calendar)

    def _seed_calendar(self) -> None:
        """Enter the holidays of a year that has none; a failure leaves the calendar as it is."""
        now = self._clock.time()
        try:
            if count := seed_ahead(now):
                logger.info("%d market days entered", count)
            warnings = [*calendar_warnings(now), *list_warnings()]
        except Exception:
            logger.exception("the market holidays could not be entered")
            return
        for text in set(warnings) - self._warned:
            logger.warning("%s", text)
        self._warned = set(warnings)

    async def _keep_reporting(self, on_report: Callable[[House], None]) -> None:
        count = 0
        while True:
            self._pages.set_users(self.manager.owners)
            reports = self.reports()
            self._exchanges.look(reports)
            if count % WRITE_EVERY == 0 or self._reporter.has_news:
                await self._reporter.write(reports)
            armed = self.engine.monitor.armed_count
            await self._status.write(worker_status(self.processor.get_stats(), armed, reports))
            on_report(self)
            count += 1
            await self._patient.sleep(REPORT_S)

    async def _close(self) -> None:
        set_tick_processor(None)
        set_listener_manager(None)
        set_stop_loss_monitor(None)
        for outlet in (self._prices, self._pages, self._publisher):
            await outlet.flush()
        try:
            await self._reporter.write_end()
        except Exception:
            logger.exception("could not write that the listeners have stopped")
        try:
            await self.keeper.close()
        except Exception:
            logger.exception("could not give the leases back: they run out by themselves")
        await asyncio.gather(
            self._status.close(), self._charts.close(), self._publisher.close(), close_cache()
        )
        self._notifier.close()
        self._lookout.close()
        for thread in (self._database, self._reports, self._leases, self._lookups):
            thread.close()


def _leave_alone_what_stays() -> None:
    """Have the collector pass over everything built so far.

    Otherwise a full collection, which holds up every tick, looks at all of it again, and waits until a quarter as
    much has come to it: garbage of tens of megabytes.
    """
    gc.collect()
    gc.freeze()


def _say_refused(refused: dict[str, int], told: dict[str, int]) -> dict[str, int]:
    """Log what was refused since the last time; return what has been told of now."""
    new = {reason: count - told.get(reason, 0) for reason, count in refused.items()}
    if any(new.values()):
        logger.info(
            "ticks that triggered nothing: %s", ", ".join(f"{n} {why}" for why, n in new.items() if n)
        )
    return refused


def _limits(broker: str) -> OrderLimits:
    return registry.adapter(broker).order_limits


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    """End tasks, and wait for it; where a library swallows a cancellation, it is told again."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
