"""Bad and true prices through the pipeline, the monitor, the engine and a broker that can be asked."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from marketdata.clock import SystemClock
from marketdata.domain.orders import Quote
from marketdata.domain.prices import to_units
from marketdata.domain.sessions import IST, Calendar, Hours
from marketdata.domain.ticks import Tick
from marketdata.processor import TickProcessor
from strategies.engine import ExitEngine
from strategies.models import Alert, Strategy, StrategyEvent
from tests.support.exits import ended, running, tick
from tests.support.stopwatch import Stopwatch
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)
INFY = "NSE:INFY"


def quote(price: str, lower: str = "1350", upper: str = "1650") -> Quote:
    limits = [to_units(Decimal(text)) for text in (lower, upper)]
    return Quote(INFY, to_units(Decimal(price)), int(SystemClock().time()), lower=limits[0], upper=limits[1])


def pipeline(engine: ExitEngine, calendar: Calendar | None = None) -> TickProcessor:
    processor = TickProcessor(monitor=engine.monitor, calendar=calendar or Calendar(always=True))
    engine.use_gate(processor.gate)
    return processor


async def alerts() -> list[str]:
    return [alert.text async for alert in Alert.objects.all()]


@pytest.mark.parametrize(("price", "kind"), [("15", "price_outside_band"), ("1100", "price_freak")])
async def test_a_price_that_a_quote_speaks_against_sells_nothing_and_is_told_once(
    strategy, broker, told, price, kind
):
    broker.quoted[INFY] = quote("1560", *(("1350", "1650") if price == "15" else ("900", "1900")))
    async with running(broker, told) as engine:
        processor = pipeline(engine)
        judged = await engine.judge_by_quotes(strategy.user_id, strategy.account_id)
        assert judged == {INFY: to_units(Decimal(1560))}
        for _ in range(2):
            processor.accept(strategy.user_id, [tick("1560")], strategy.account_id)
            processor.accept(strategy.user_id, [tick(price)], strategy.account_id)
            await eventually_async(alerts, 5)
            processor.accept(strategy.user_id, [tick("1560")], strategy.account_id)
        assert ["is not believed" in text for text in await alerts()] == [True]
        assert engine.monitor.armed_count == 1
    assert not broker.book
    [event] = [row async for row in StrategyEvent.objects.filter(kind=kind)]
    assert event.detail["quote"] == "1560.00"


async def test_a_crash_below_limits_that_are_out_of_date_sells_and_keeps_why(strategy, broker, told):
    broker.quoted[INFY] = quote("1560")
    async with running(broker, told) as engine:
        processor = pipeline(engine)
        await engine.judge_by_quotes(strategy.user_id, strategy.account_id)
        broker.quoted[INFY] = quote("1300", "1250", "1650")  # the exchange has widened them
        processor.accept(strategy.user_id, [tick("1300")], strategy.account_id)
        [row] = await ended()
    assert row.evidence["source"] == "quote"
    assert len(broker.book) == 1


async def test_a_wild_print_that_stays_sells_after_its_second_and_keeps_the_evidence(strategy, broker, told):
    async with running(broker, told) as engine:
        processor, watch = pipeline(engine), Stopwatch()
        processor.accept(strategy.user_id, [tick("1560")], strategy.account_id)
        processor.accept(strategy.user_id, [tick("1100")], strategy.account_id)
        [row] = await ended()
    evidence = row.evidence
    assert (evidence["held_for"], evidence["compared_with"]) == ("freak", "1560.00")
    assert 0.9 <= evidence["held_s"] <= 3 + watch.queued()
    assert evidence["gate"]["decision"] == "accepted"
    assert 0 <= evidence["gate"]["age_s"] < 2 + watch.queued()


async def test_the_market_closing_beyond_a_stop_is_told_once_and_sells_nothing(strategy, broker, told):
    """The calendar has this day's session over a minute ago."""
    clock = SystemClock()
    now = datetime.fromtimestamp(clock.time(), IST)
    closed = now - timedelta(minutes=1)
    if closed.date() != now.date() or closed.time() < (now.min + timedelta(minutes=2)).time():
        pytest.skip("just after midnight in India the day has had no session")

    calendar = Calendar({("NSE", now.date()): Hours(now.min.time(), closed.time())})
    async with running(broker, told) as engine:
        processor = pipeline(engine, calendar)
        for _ in range(3):
            now_s = clock.time()
            bad = Tick(INFY, to_units(Decimal(1400)), now_s, int(now_s))
            processor.accept(strategy.user_id, [bad], strategy.account_id)
        [text] = await eventually_async(alerts, 5)
    assert "beyond the stop" in text
    assert processor.stats().refused == {"after_close": 3}
    assert await StrategyEvent.objects.filter(kind="closed_beyond").acount() == 1
    assert (await Strategy.objects.aget(pk=strategy.pk)).status == "active"
    assert not broker.book
