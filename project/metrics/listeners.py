"""What one ``run_listeners`` tells of itself. Everything is in memory: a scrape waits for nothing.

Labels are brokers and reasons, never accounts: a scrape is as short with 500 users as with one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from marketdata.brokers import registry
from marketdata.domain.clock import Clock
from marketdata.domain.gate import DECISIONS
from marketdata.domain.sessions import Phase
from marketdata.feeds import FeedReport
from marketdata.processor import TickProcessor
from marketdata.statistics import Histogram
from project.metrics.families import counter, counters, gauge, gauges, histogram
from strategies.monitor import StopLossMonitor
from strategies.spool import Spool

_BROKER = ["broker"]
_EVENTS = (
    ("reconnected", "tickguard_feed_reconnects", "Connections made after an account's first."),
    ("failed", "tickguard_feed_failures", "Connections that failed, and complaints of brokers."),
)
_REFUSALS = tuple(decision.reason for decision in DECISIONS if not decision.is_actionable)


@dataclass(frozen=True, slots=True, eq=False)
class WorkerMetrics(Collector):
    """Looks at the parts of a house when it is asked.

    Attributes:
        reports: How every feed is.
        feed_events: How often what happened to feeds, by broker and kind.

    """

    worker: str
    processor: TickProcessor
    monitor: StopLossMonitor
    spool: Spool
    reports: Callable[[], Sequence[FeedReport]]
    feed_events: Mapping[tuple[str, str], int]
    clock: Clock
    loop_lag: Histogram = field(default_factory=Histogram)
    to_order: Histogram = field(default_factory=Histogram)

    def collect(self) -> Iterator[Metric]:
        yield gauges("tickguard_worker", "Always 1; its name.", ["worker"], [([self.worker], 1)])
        yield from self._pipeline()
        yield from self._times()
        yield from self._feeds(self.reports())
        yield from self._feed_events()
        yield gauge("tickguard_worker_stops_armed", "Stops this process watches.", self.monitor.armed_count)
        yield gauge(
            "tickguard_breaches_spooled", "Breaches that wait for the database in a file.", self.spool.size
        )

    # --- inside ---------------------------------------------------------------------------

    def _pipeline(self) -> Iterator[Metric]:
        stats, counts = self.processor.stats(), self.processor.gate.counts
        yield counter("tickguard_ticks", "Ticks read.", stats.total_ticks)
        yield gauge("tickguard_ticks_per_second", "Of the last five seconds.", stats.ticks_per_second)
        yield counters(
            "tickguard_ticks_refused", "Ticks that may not trigger, by reason.", ["reason"],
            [([reason], counts[reason]) for reason in _REFUSALS],
        )  # fmt: skip
        yield counter("tickguard_tick_errors", "Ticks that raised an error.", stats.error_count)
        yield gauge("tickguard_symbols", "Instruments with a price.", stats.symbols_tracked)

    def _times(self) -> Iterator[Metric]:
        yield histogram(
            "tickguard_tick_to_decision_seconds",
            "From the reading of a tick to its having been judged against every stop.",
            self.processor.to_decision,
        )
        yield histogram(
            "tickguard_decision_to_order_seconds",
            "From the decision that a stop was touched to the permit of its first order.",
            self.to_order,
        )
        yield histogram(
            "tickguard_event_loop_lag_seconds",
            "How much later than asked the event loop woke up, ten times a second.",
            self.loop_lag,
        )

    def _feeds(self, reports: Sequence[FeedReport]) -> Iterator[Metric]:
        counts: tuple[tuple[str, str, Callable[[FeedReport], int]], ...] = (
            ("tickguard_feeds", "Feeds with something to watch.", lambda feed: bool(feed.wanted.modes)),
            ("tickguard_feeds_connected", "Connected feeds.", lambda feed: feed.health.is_connected),
            ("tickguard_feeds_ticking", "Feeds with a recent price.", lambda feed: feed.health.is_ticking),
            ("tickguard_feed_instruments", "Subscribed to.", lambda feed: feed.health.subscription_count),
            ("tickguard_stale_instruments", "Armed, with neither price nor quote for 15 s.", self._stale),
        )
        for name, text, count in counts:
            totals = Counter[str]()
            for report in reports:
                totals[report.wanted.config.broker] += count(report)
            yield gauges(name, text, _BROKER, [([broker], totals[broker]) for broker in registry.BROKERS])

    def _feed_events(self) -> Iterator[Metric]:
        for kind, name, text in _EVENTS:
            counted = [([broker], self.feed_events.get((broker, kind), 0)) for broker in registry.BROKERS]
            yield counters(name, text, _BROKER, counted)

    def _stale(self, report: FeedReport) -> int:
        """Count those that should be heard of: while an exchange sleeps there is nothing to hear."""
        gate, now = self.processor.gate, self.clock.time()
        return sum(gate.phase(symbol, now) is Phase.OPEN for symbol in report.stale)
