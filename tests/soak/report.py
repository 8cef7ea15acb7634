"""What a soak is told by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.soak.gauges import Gauges
from tests.soak.schedule import Day
from tests.support.scraping import Scrape

console = Console(soft_wrap=True, highlight=False, markup=False)


def share_below(told: Scrape, name: str, share: float) -> str:
    """Return the bound that this share of a histogram's durations does not exceed."""
    total = told(f"{name}_count")
    buckets = sorted((float(le), count) for le, count in told.by_label(f"{name}_bucket", "le").items())
    bound = next((bound for bound, count in buckets if count >= share * total), float("inf"))
    return f"<= {bound * 1000:g} ms"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a day came to.

    Attributes:
        happened: How often what was done.
        told: The last scrape of ``run_listeners``.
        waits: From a touching price to its order's fill, seconds.

    """

    day: Day
    happened: Mapping[str, int]
    gauges: Gauges
    told: Scrape
    waits: Sequence[float]
    violations: Sequence[str]


def show(outcome: Outcome) -> None:
    """Print the figures and what was violated."""
    day = outcome.day
    table = Table(title=f"A day of 6 h 15 min in {day.minutes:g} min ({day.speed:g} times), seed {day.seed}")
    for heading in ("what", "figure"):
        table.add_column(heading)
    for what, figure in _figures(outcome):
        table.add_row(what, figure)
    console.print(table)
    for text in outcome.violations:
        console.print(f"VIOLATED {text}")


def _figures(outcome: Outcome) -> Iterator[tuple[str, str]]:
    told, gauges, waits = outcome.told, outcome.gauges, outcome.waits
    ticks = told("tickguard_ticks_total")
    refused = told.by_label("tickguard_ticks_refused_total", "reason")
    reconnects = told.by_label("tickguard_feed_reconnects_total", "broker")
    yield (
        "ticks",
        f"{ticks:,.0f} ({ticks / outcome.day.seconds:,.0f} a second, {outcome.day.rate:,.0f} wanted)",
    )
    subscribed = sum(told.by_label("tickguard_feed_instruments", "broker").values())
    yield "instruments", f"{subscribed:,.0f} subscribed, {told('tickguard_symbols'):,.0f} with a price"
    yield "refused", _list(refused)
    for what in ("tick_to_decision", "decision_to_order", "event_loop_lag"):
        yield what.replace("_", " "), _spread(told, f"tickguard_{what}_seconds")
    yield "happened", _list({what: n for what, n in outcome.happened.items() if what not in ("mend", "pace")})
    yield "reconnects", _list(reconnects)
    yield "stops touched", f"{len(waits)}; filled after {_seconds(waits)}"
    yield "simulator answers", f"after {_seconds(gauges.answers_s)}"
    yield "memory", f"{gauges.memory[-1] / 2**20:.0f} MB, {gauges.growth:+.1%} after the warm-up"
    yield "descriptors", f"{gauges.files[-1]}, {gauges.more_files:+.0f}, at most {max(gauges.files)}"
    yield "violations", str(len(outcome.violations))


def _list(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{count:.0f} {what}" for what, count in sorted(counts.items()) if count) or "none"


def _spread(told: Scrape, name: str) -> str:
    if not told(f"{name}_count"):
        return "none"
    return f"half {share_below(told, name, 0.5)}, 99 % {share_below(told, name, 0.99)}"


def _seconds(waits: Sequence[float]) -> str:
    if not waits:
        return "none"
    return f"{median(waits):.2f} s in the middle, {max(waits):.1f} s at most"
