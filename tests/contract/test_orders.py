"""What every broker's order gateway does on its broker's own wire."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from marketdata.brokers import registry
from marketdata.domain.errors import BadReply, BrokerError, BrokerRejected, BrokerUnavailable, LoginExpired
from marketdata.domain.orders import (
    OrderRequest,
    OrderSnapshot,
    OrderStatus,
    Outcome,
    PositionSnapshot,
    RejectClass,
    Side,
    TradeSnapshot,
)
from marketdata.domain.prices import round_down, round_up, to_rupees, to_units
from marketdata.instruments import InstrumentBook
from marketdata.ports import BrokerAdapter, BrokerConfig, OrderGateway
from marketdata.simulator.control import SimulatorControl
from tests.contract.ordering import INFY, STATIONS, Bench, cancel, find, place, sell
from tests.support.certificates import self_signed
from tests.support.kite_feed import kite_feed
from tests.support.ports import free_ports
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def price(control: SimulatorControl, config: BrokerConfig) -> None:
    control.set_price(INFY, "1500")
    control.set_book(INFY)
    control.set_position(config.client_id, INFY, "MIS", 10, "1510")


def test_the_token_says_whose_account_it_is(
    gateway: OrderGateway, config: BrokerConfig, control: SimulatorControl
) -> None:
    assert gateway.account_id() == config.client_id
    control.kill_token(config.client_id)
    asked = (gateway.account_id, gateway.orders, gateway.trades, gateway.positions)
    for read in (*asked, lambda: gateway.quotes([INFY])):
        with pytest.raises(LoginExpired):
            read()


def test_an_exit_is_accepted_found_by_its_tag_and_filled(gateway: OrderGateway) -> None:
    result = place(gateway, sell("EXIT1"))
    assert result.outcome is Outcome.ACKED
    order = eventually(lambda: (o := find(gateway, "EXIT1")).status is OrderStatus.FILLED and o)
    assert isinstance(order, OrderSnapshot)
    assert (order.order_id, order.symbol, order.side, order.product) == (
        result.order_id,
        INFY,
        Side.SELL,
        "MIS",
    )
    assert (order.quantity, order.filled_quantity) == (10, 10)
    assert order.average_price is not None
    assert list(gateway.positions()) == [PositionSnapshot(INFY, "MIS", 0)]


def test_a_limit_rests_until_it_is_cancelled(gateway: OrderGateway) -> None:
    result = place(gateway, sell("LIMIT1", 5, limit_price=Decimal("1549.95")))
    assert result.outcome is Outcome.ACKED
    assert eventually(lambda: find(gateway, "LIMIT1").status) is OrderStatus.LIVE
    assert cancel(gateway, result.order_id).outcome is Outcome.ACKED
    eventually(lambda: find(gateway, "LIMIT1").status is OrderStatus.CANCELLED)
    assert find(gateway, "LIMIT1").filled_quantity == 0


def test_cancelling_what_is_not_there_is_no_success(gateway: OrderGateway) -> None:
    assert cancel(gateway, "999").outcome in (Outcome.REJECTED, Outcome.UNKNOWN)


@pytest.mark.parametrize(
    ("fault", "options", "booked"),
    [
        ("lost_reply", {}, 1),
        ("cut_before", {}, 0),
        ("server_error", {"booked": False}, 0),
        ("server_error", {"booked": True}, 1),
        ("html", {"operation": "place"}, None),
        ("html", {"operation": "place", "status": 502}, None),
    ],
)
def test_what_became_of_it_is_unknown_and_nothing_is_sent_twice(
    bench: Bench, fault: str, options: dict[str, Any], booked: int | None
) -> None:
    bench.fault(fault, **options)
    before = bench.control.counters().get("requests.place", 0)
    assert place(bench.gateway, sell("ONCE1")).outcome is Outcome.UNKNOWN
    assert bench.control.counters().get("requests.place", 0) - before <= 1
    ledger = [row for row in bench.control.ledger(bench.client_id) if row["tag"] == "ONCE1"]
    assert len(ledger) == booked if booked is not None else len(ledger) <= 1


def test_an_order_whose_place_timed_out_is_found_by_its_tag(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketdata.single_shot.READ_S", 0.3)
    bench.fault("latency", operation="place", delay_s=1.0)
    assert place(bench.gateway, sell("GONE1")).outcome is Outcome.UNKNOWN
    assert [order for order in bench.gateway.orders() if order.tag == "GONE1"] == []
    bench.fault("lost_reply")
    monkeypatch.undo()
    assert place(bench.gateway, sell("LOST1")).outcome is Outcome.UNKNOWN
    order = eventually(lambda: find(bench.gateway, "LOST1"))
    assert (order.symbol, order.side, order.quantity) == (INFY, Side.SELL, 10)


@pytest.mark.parametrize("tag", ["A", "TG0123456789ABCDEF", "999999999999999999"])
def test_every_tag_of_ours_comes_back_whole(gateway: OrderGateway, tag: str) -> None:
    assert re.fullmatch(r"[A-Z0-9]{1,18}", tag)
    assert place(gateway, sell(tag, 1)).outcome is Outcome.ACKED
    assert find(gateway, tag).tag == tag


@pytest.mark.parametrize("tag", ["", "TG.1", "TG/1", "é", "x" * 31])
def test_a_tag_the_broker_would_change_is_not_sent(bench: Bench, tag: str) -> None:
    with pytest.raises(BrokerRejected):
        place(bench.gateway, sell(tag))
    assert bench.control.ledger(bench.client_id) == []


@pytest.fixture
def contracts(book: InstrumentBook) -> list[str]:
    """One of each kind of tick: a share, a future, a currency, a commodity."""
    kinds = ("NFO:NIFTY", "CDS:USDINR", "MCX:GOLD")
    futures = [name for name in sorted(book.symbols) if name.endswith("FUT")]
    return [INFY, *(next(name for name in futures if name.startswith(kind)) for kind in kinds)]


def test_a_price_is_rounded_towards_its_own_side_and_fits(
    bench: Bench, book: InstrumentBook, contracts: list[str]
) -> None:
    for number, symbol in enumerate(contracts):
        terms = book.terms(symbol)
        last = Decimal(bench.control.instrument(symbol)["last"])
        between = last + terms.tick_size * Decimal("0.4")
        for side, price, fits in (
            (Side.SELL, between, False),
            (Side.SELL, round_down(between, terms.tick_size), True),
            (Side.BUY, round_up(between, terms.tick_size), True),
        ):
            tag = f"{side.value}{number}{fits}".upper()
            request = OrderRequest(tag, symbol, side, terms.lot_size, "MIS", price)
            assert place(bench.gateway, request).outcome is Outcome.ACKED
            status = eventually(partial(book_says, bench.gateway, tag))
            assert (status is OrderStatus.REJECTED) is not fits, (symbol, side, price)
            (sent,) = [row for row in bench.control.ledger(bench.client_id) if row["tag"] == tag]
            assert Decimal(sent["price"]) == price


def book_says(gateway: OrderGateway, tag: str) -> OrderStatus | None:
    """Return what became of an order, once the exchange has judged it."""
    order = find(gateway, tag)
    return None if order.status_text in STATIONS else order.status


def test_a_reply_that_takes_too_long_is_unknown(
    gateway: OrderGateway, config: BrokerConfig, control: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketdata.single_shot.READ_S", 0.3)
    control.fault("latency", account=config.client_id, operation="place", delay_s=1.5)
    assert place(gateway, sell("SLOW1")).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("text", "kind", "reject_class"),
    [
        ("Insufficient funds.", "MarginException", RejectClass.HUMAN),
        ("Price is not a multiple of tick size", "InputException", RejectClass.FIX),
    ],
)
def test_a_refusal_is_definite(bench: Bench, text: str, kind: str, reject_class: RejectClass) -> None:
    bench.fault("reject", text=text, error_type=kind)
    result = place(bench.gateway, sell("NO1"))
    assert (result.outcome, result.reject_class) == (Outcome.REJECTED, reject_class)
    assert text in result.message
    assert bench.control.ledger(bench.client_id) == []


def test_an_order_rejected_after_it_was_accepted_shows_in_the_book(
    gateway: OrderGateway, config: BrokerConfig, control: SimulatorControl
) -> None:
    control.fault("reject_after_ack", account=config.client_id, text="RMS: blocked")
    assert place(gateway, sell("LATE1")).outcome is Outcome.ACKED
    eventually(lambda: find(gateway, "LATE1").status is OrderStatus.REJECTED)
    assert "RMS: blocked" in find(gateway, "LATE1").message


def test_a_dead_token_is_a_definite_refusal_for_a_person(
    gateway: OrderGateway, config: BrokerConfig, control: SimulatorControl
) -> None:
    control.kill_token(config.client_id)
    result = place(gateway, sell("DEAD1"))
    assert (result.outcome, result.reject_class) == (Outcome.REJECTED, RejectClass.HUMAN)


def test_where_nobody_listens_nothing_is_sent(
    config: BrokerConfig, adapter: BrokerAdapter, book: InstrumentBook, settings: Settings
) -> None:
    elsewhere(settings, config, "http", free_ports(1)[0])
    gateway = adapter.gateway(config, book)
    with pytest.raises(BrokerUnavailable, match="was not reached"):
        gateway.open_wire()
    for read in (gateway.account_id, gateway.orders, gateway.positions, lambda: gateway.quotes([INFY])):
        with pytest.raises(BrokerUnavailable):
            read()


async def test_a_certificate_nobody_vouches_for_is_refused(
    config: BrokerConfig, adapter: BrokerAdapter, book: InstrumentBook, settings: Settings, tmp_path: Path
) -> None:
    tls, _ = self_signed(tmp_path)
    async with kite_feed(tls) as server:
        elsewhere(settings, config, "https", server.port)
        gateway = adapter.gateway(config, book)
        with pytest.raises(BrokerUnavailable, match=r"(?i)certificate|trusted"):
            await asyncio.to_thread(gateway.open_wire)
        with pytest.raises(BrokerUnavailable):
            await asyncio.to_thread(gateway.orders)
        listener = adapter.listener_class(1, config, tokens=book)
        await listener.connect()
        assert "not trusted" in listener.health_check().last_error
        await listener.disconnect()
        assert server.requests == []


def elsewhere(settings: Settings, config: BrokerConfig, scheme: str, port: int) -> None:
    """Send the broker's every endpoint to another port of this machine."""
    websocket = {"http": "ws", "https": "wss"}[scheme]
    roots = {
        role: f"{websocket if websocket in endpoint.schemes else scheme}://127.0.0.1:{port}"
        for role, endpoint in registry.endpoints(config.broker).items()
    }
    settings.BROKER_ENDPOINTS = {**settings.BROKER_ENDPOINTS, config.broker: roots}


@pytest.mark.parametrize(
    ("fault", "options", "kind"),
    [
        ("html", {}, BadReply),
        ("html", {"status": 502}, BrokerError),
        ("server_error", {}, BrokerUnavailable),
        ("rate_limited", {}, BrokerUnavailable),
        ("cut_before", {}, BrokerUnavailable),
    ],
)
def test_a_failed_read_is_never_an_empty_book(
    bench: Bench, fault: str, options: dict[str, Any], kind: type[BrokerError]
) -> None:
    gateway = bench.gateway
    reads = {"orders": gateway.orders, "trades": gateway.trades, "positions": gateway.positions}
    for operation, read in reads.items():
        bench.fault(fault, operation=operation, **options)
        with pytest.raises(kind):
            read()


def test_holdings_count_for_deliveries(
    gateway: OrderGateway, config: BrokerConfig, control: SimulatorControl
) -> None:
    control.set_holding(config.client_id, "NSE:SBIN", 10, "800")
    assert PositionSnapshot("NSE:SBIN", "CNC", 10, from_holdings=True) in gateway.positions()
    request = replace(sell("CNC1", 4), symbol="NSE:SBIN", product="CNC")
    assert place(gateway, request).outcome is Outcome.ACKED
    left = PositionSnapshot("NSE:SBIN", "CNC", 6, from_holdings=True)
    eventually(lambda: left in gateway.positions())


def test_a_share_stands_under_both_exchanges(
    gateway: OrderGateway, config: BrokerConfig, control: SimulatorControl, book: InstrumentBook
) -> None:
    name = next(
        s[4:] for s in sorted(book.symbols) if s.startswith("NSE:") and f"BSE:{s[4:]}" in book.symbols
    )
    control.set_holding(config.client_id, f"NSE:{name}", 10, "800")
    both = {
        PositionSnapshot(f"{exchange}:{name}", "CNC", 10, from_holdings=True) for exchange in ("NSE", "BSE")
    }
    assert both <= set(gateway.positions())


def test_what_our_list_does_not_have_is_not_left_out(
    adapter: BrokerAdapter, config: BrokerConfig, control: SimulatorControl
) -> None:
    control.set_holding(config.client_id, "NSE:SBIN", 10, "800")
    found = adapter.gateway(config, InstrumentBook.of(config.broker, [])).positions()
    nameless = PositionSnapshot("", "MIS", 10), PositionSnapshot("", "CNC", 10, from_holdings=True)
    assert set(found) == set(nameless)


def test_quotes_are_exact_and_unknown_symbols_absent(
    gateway: OrderGateway, control: SimulatorControl
) -> None:
    control.set_price(INFY, "1498.35")
    quotes = gateway.quotes([INFY, "NSE:NOSUCH"])
    assert list(quotes) == [INFY]
    assert to_rupees(quotes[INFY].price) == Decimal("1498.35")
    low = quotes[INFY].day_low
    assert low is not None
    assert low <= quotes[INFY].price
    assert quotes[INFY].exchange_time is not None


def test_quotes_tell_who_is_there_and_the_days_limits(
    gateway: OrderGateway, control: SimulatorControl
) -> None:
    control.set_price(INFY, "1500")
    control.set_band(INFY, lower=1350, upper=1650)
    control.set_book(INFY, bid="0", ask="1500.05")
    quote = gateway.quotes([INFY])[INFY]
    assert (quote.bid, quote.lower, quote.upper) == (0, to_units(Decimal(1350)), to_units(Decimal(1650)))
    assert quote.ask == to_units(Decimal("1500.05"))


def test_the_days_trades_are_told_with_their_orders(gateway: OrderGateway) -> None:
    assert list(gateway.trades()) == []
    assert place(gateway, sell("TRADED1")).outcome is Outcome.ACKED
    eventually(lambda: find(gateway, "TRADED1").status is OrderStatus.FILLED)
    order = find(gateway, "TRADED1")
    (trade,) = gateway.trades()
    assert trade == TradeSnapshot(order.order_id, INFY, Side.SELL, "MIS", 10, trade.price)
    assert trade.price == order.average_price


def test_the_limits_are_known(adapter: BrokerAdapter) -> None:
    limits = adapter.order_limits
    assert 0 < limits.per_second < limits.per_minute < limits.per_day


def test_quotes_of_many_symbols_come_in_chunks(gateway: OrderGateway, book: InstrumentBook) -> None:
    symbols = sorted(book.symbols)
    assert len(symbols) >= 2000
    quotes = gateway.quotes(symbols[:1500])
    assert len(quotes) >= 1400


def test_quotes_of_nothing_ask_nothing(gateway: OrderGateway) -> None:
    assert gateway.quotes([]) == {}


def test_no_secret_is_said(
    gateway: OrderGateway, config: BrokerConfig, control: SimulatorControl, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = [repr(gateway.orders()), repr(place(gateway, sell("QUIET1", 1)))]
    control.fault("lost_reply", account=config.client_id)
    said.append(repr(place(gateway, sell("QUIET2", 1))))
    control.kill_token(config.client_id)
    with pytest.raises(LoginExpired) as caught:
        gateway.orders()
    said += [repr(caught.value), repr(place(gateway, sell("QUIET3", 1))), repr(config), caplog.text]
    for text in said:
        assert config.access_token.reveal() not in text
        assert config.api_secret.reveal() not in text
