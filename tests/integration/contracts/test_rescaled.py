"""A split, a bonus, a consolidation overnight: TK-16."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async

from marketdata.clock import SystemClock
from marketdata.closings import Closing, read_closings, write_closings
from marketdata.domain.orders import Quote
from marketdata.domain.prices import to_units
from marketdata.domain.sessions import IST, Calendar, Hours
from marketdata.models import Subscription
from marketdata.processor import TickProcessor
from strategies.models import Alert, Exit, Strategy
from strategies.rescaled import ScaleCheck, is_comparable, is_ending
from strategies.services import start_strategy, update_stop
from tests.fakes.broker import FakeBroker
from tests.support.exits import Told, ended, make, running, tick

INFY = "NSE:INFY"
WHOLE = Hours(time.min, time.max)


def units(rupees: str) -> int:
    return to_units(Decimal(rupees))


def today() -> date:
    return datetime.fromtimestamp(SystemClock().time(), IST).date()


def all_week() -> Calendar:
    """Every day of this week has a session, all day long."""
    return Calendar({("NSE", today() - timedelta(days=back)): WHOLE for back in range(-1, 8)})


def quoted(price: str, close: str | None) -> dict[str, Quote]:
    told = None if close is None else units(close)
    return {INFY: Quote(INFY, units(price), int(SystemClock().time()), close=told)}


@pytest.mark.django_db(transaction=True)
class TestTheHouse:
    @pytest.fixture
    def strategy(self, account, instruments) -> Strategy:
        write_closings({INFY: units("1560")}, today() - timedelta(days=1))
        return start_strategy(make(account, instruments[INFY]))

    async def open_morning(self, engine, strategy: Strategy, quotes: dict[str, Quote]) -> TickProcessor:
        engine.scales.load(await sync_to_async(read_closings)())
        processor = TickProcessor(monitor=engine.monitor, calendar=all_week())
        engine.use_gate(processor.gate)
        await engine.judge_by_quotes(strategy.user_id, strategy.account_id)
        return processor

    async def test_a_bonus_suspends_and_tells_and_sells_nothing_until_it_is_started_again(self, strategy):
        broker = FakeBroker(held={(INFY, "MIS"): 200}, quoted=quoted("781", "780"))
        async with running(broker, Told()) as engine:
            processor = await self.open_morning(engine, strategy, broker.quoted)
            assert engine.monitor.armed_count == 0
            for _ in range(3):
                processor.accept(strategy.user_id, [tick("781")], strategy.account_id)
            await strategy.arefresh_from_db()
            assert strategy.status == "suspended"
            assert not await Subscription.objects.aexists()
            alert = await Alert.objects.aget(kind="suspended", closed_at=None)
            assert alert.urgency == "urgent"
            assert "closed at 1560.00" in alert.text
            assert not await Exit.objects.aexists()

            await sync_to_async(update_stop)(strategy, Decimal(700))
            await sync_to_async(start_strategy)(strategy)
            await alert.arefresh_from_db()
            assert alert.closed_at is not None
            await engine.reconcile()
            await engine.judge_by_quotes(strategy.user_id, strategy.account_id)  # and is not asked again
            assert engine.monitor.armed_count == 1
            processor.accept(strategy.user_id, [tick("700")], strategy.account_id)
            await ended()

    @pytest.mark.parametrize("close", ["1560", "1400", None])
    async def test_a_gap_in_the_same_scale_sells(self, strategy, close):
        broker = FakeBroker(held={(INFY, "MIS"): 100}, quoted=quoted("781", close))
        async with running(broker, Told()) as engine:
            await self.open_morning(engine, strategy, broker.quoted)
            [row] = await ended()
        assert row.evidence["source"] == "quote"


class TestWhenItCanBeCompared:
    MONDAY = date(2026, 11, 23)
    KNOWN = Closing(100, date(2026, 11, 20))  # Friday

    def expected(self, at: str, known: Closing = KNOWN) -> Closing | None:
        check = ScaleCheck()
        check.load({INFY: known})
        return check.expected(INFY, self.at(at), Calendar())

    @staticmethod
    def at(text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=IST).timestamp()

    def test_from_a_quarter_of_an_hour_before_the_open(self):
        assert self.expected("2026-11-23T08:59") is None  # it may still be Thursday's
        assert self.expected("2026-11-23T09:00") == self.KNOWN
        assert self.expected("2026-11-23T15:00") == self.KNOWN
        assert self.expected("2026-11-23T15:31") is None

    def test_only_with_the_last_session_before(self):
        assert self.expected("2026-11-24T10:00") is None
        assert self.expected("2026-11-23T10:00", Closing(100, date(2026, 11, 19))) is None

    def test_never_where_no_calendar_counts(self):
        check = ScaleCheck()
        check.load({INFY: self.KNOWN})
        quotes = {INFY: Quote(INFY, 50, close=50)}
        assert check.found(quotes, self.at("2026-11-23T10:00"), Calendar())
        assert not check.found(quotes, self.at("2026-11-23T10:00"), Calendar(always=True))

    def test_prices_are_kept_while_the_session_ends(self):
        kept = [
            is_ending("NSE", self.at(f"2026-11-23T{at}"), Calendar())
            for at in ("15:14", "15:16", "15:29", "15:30")
        ]
        assert kept == [False, True, True, False]
        assert is_comparable("NSE", self.at("2026-11-23T09:00"), Calendar())
