"""Rows about prices that were out of sight: how far they had been when last seen, and what was found after it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from django.db import transaction

from marketdata.domain.clock import Clock
from marketdata.domain.prices import to_rupees, to_units
from marketdata.domain.sessions import IST
from strategies.alerts import announce, commit_alert
from strategies.announcing import Announcer
from strategies.domain.gaps import Crossing, DayRange
from strategies.domain.stops import Stop
from strategies.models import Alert, SeenRange, Strategy, StrategyEvent
from strategies.records import at, trading_day

KIND = "crossed_unseen"


class Known(NamedTuple):
    """How far a price had been when it was last seen, for one arming."""

    user_id: int
    epoch: int
    range: DayRange


class GapNews:
    """Commits what was found: an event, and an alert unless the account wants out. Blocks."""

    def __init__(self, announcer: Announcer, clock: Clock) -> None:
        self._announcer = announcer
        self._clock = clock

    def crossed(self, found: Crossing) -> bool:
        """Write down that a stop was crossed unseen; tell whether its account says to exit then."""
        rows = Strategy.objects.select_related("account", "instrument")
        strategy = rows.filter(pk=found.stop.strategy_id).first()
        if strategy is None:  # deleted meanwhile
            return False
        is_out = strategy.account.exit_after_gap and not found.is_overnight
        now = at(self._clock.time())
        with transaction.atomic():
            StrategyEvent.objects.create(strategy=strategy, at=now, kind=KIND, detail=_detail(found))
            alert = commit_alert(
                user_id=found.stop.user_id,
                kind=KIND,
                text=_text(found, strategy, is_out=is_out),
                at=now,
                strategy_id=strategy.pk,
                urgency=Alert.Urgency.INFO if is_out else Alert.Urgency.URGENT,  # the exit tells of itself
            )
            if alert is not None:
                announce(alert, self._announcer)
        return is_out


def read_ranges(stops: Collection[Stop]) -> dict[int, Known]:
    """Return by strategy what was kept of these armings. Blocks."""
    epochs = {stop.strategy_id: stop for stop in stops}
    rows = SeenRange.objects.filter(strategy__in=epochs)
    return {
        row.strategy_id: Known(epochs[row.strategy_id].user_id, row.epoch, _range(row))
        for row in rows
        if row.epoch == epochs[row.strategy_id].epoch
    }


def write_ranges(known: Mapping[int, Known]) -> None:
    """Keep them, by strategy; of what was deleted meanwhile nothing is kept. Blocks."""
    present = set(Strategy.objects.filter(pk__in=known).values_list("pk", flat=True))
    SeenRange.objects.bulk_create(
        [
            SeenRange(
                strategy_id=strategy_id,
                epoch=one.epoch,
                low=to_rupees(one.range.low),
                high=to_rupees(one.range.high),
                at=at(one.range.at),
            )
            for strategy_id, one in known.items()
            if strategy_id in present
        ],
        update_conflicts=True,
        unique_fields=["strategy"],
        update_fields=["epoch", "low", "high", "at"],
    )


def _range(row: SeenRange) -> DayRange:
    seconds = row.at.timestamp()
    return DayRange(to_units(row.low), to_units(row.high), trading_day(seconds), seconds)


def _detail(found: Crossing) -> dict[str, object]:
    return {
        "extreme": str(to_rupees(found.extreme)),
        "price": str(to_rupees(found.price)),
        "since": found.since,
        "until": found.until,
        "epoch": found.stop.epoch,
    }


def _text(found: Crossing, strategy: Strategy, *, is_out: bool) -> str:
    stop = found.stop
    bound = to_rupees(stop.bounds.reached_by(found.extreme))
    what = (
        f"{stop.symbol} traded at {to_rupees(found.extreme)}, through the stop of {strategy} at {bound}, between "
        f"{_clock(found.since, with_day=found.is_overnight)} and {_clock(found.until)} while its price could not be "
        f"seen, and is back at {to_rupees(found.price)}. "
    )
    if is_out:
        return what + "The account says to exit all the same: the position is being closed."
    return what + "Nothing was sent, and the stop stays armed. Exit now if you want to be out."


def _clock(seconds: float, *, with_day: bool = False) -> str:
    moment = datetime.fromtimestamp(seconds, UTC).astimezone(IST)
    return f"{moment:%d %b %H:%M:%S}" if with_day else f"{moment:%H:%M:%S}"
