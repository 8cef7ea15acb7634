from __future__ import annotations

from decimal import Decimal
from functools import partial

import pytest

from marketdata.domain.errors import UnknownInstrument
from marketdata.domain.orders import Side
from marketdata.simulator.accounts import Account, UnknownAccount
from marketdata.simulator.exchange import Exchange, OrderClosed, UnknownOrder, previous_close_time
from marketdata.simulator.orders import Kind, Order, Status, Ticket, Whims
from tests.unit.simulator.conftest import NOON, ManualClock, Recorder, rupees, ticket

ID = "AB1234"


def placed(exchange: Exchange, wanted: Ticket, whims: Whims | None = None) -> Order:
    order = exchange.place(ID, wanted, whims)
    exchange.work(order)
    return order


def status(order: Order) -> Status:
    """Return where an order is now: a type checker would remember where it was."""
    return order.status


@pytest.fixture
def account(exchange: Exchange) -> Account:
    return exchange.accounts.get(ID)


def test_starts_at_yesterdays_close(exchange: Exchange) -> None:
    infy = exchange.instrument("NSE:INFY")
    assert infy.last == infy.previous_close == rupees("1500")
    assert infy.last_trade_time == previous_close_time(NOON) == 1_795_168_800  # Friday 15:30 IST


def test_a_print_moves_the_day(exchange: Exchange, recorder: Recorder) -> None:
    for price in ("1501", "1499.5", "1500.5"):
        exchange.trade("NSE:INFY", rupees(price), quantity=10)
    infy = exchange.instrument("NSE:INFY")
    assert (infy.last, infy.high, infy.low) == (rupees("1500.5"), rupees("1501"), rupees("1499.5"))
    assert (infy.volume, infy.last_trade_time) == (30, int(NOON))
    assert [trade.price for trade in recorder.prints] == [rupees(p) for p in ("1501", "1499.5", "1500.5")]


@pytest.mark.parametrize("price", ["0", "-1"])
def test_a_false_print_is_shown_and_never_dealt_at(
    exchange: Exchange, recorder: Recorder, price: str
) -> None:
    order = placed(exchange, ticket(Side.BUY, kind=Kind.LIMIT, price=rupees("1400")))
    exchange.trade("NSE:INFY", rupees(price))
    assert [trade.price for trade in recorder.prints] == [rupees(price)]
    assert exchange.instrument("NSE:INFY").last == rupees("1500")
    assert status(order) is Status.OPEN


def test_a_stale_print_carries_its_age(exchange: Exchange, recorder: Recorder) -> None:
    exchange.trade("NSE:INFY", rupees("1490"), age_s=25)
    assert recorder.prints[0].at == int(NOON) - 25


def test_unknown_names_are_refused(exchange: Exchange) -> None:
    with pytest.raises(UnknownInstrument, match="'NSE:NOPE' is not listed"):
        exchange.trade("NSE:NOPE", 1)
    with pytest.raises(UnknownAccount, match=r"'ZZ'.*AB1234"):
        exchange.accounts.get("ZZ")
    with pytest.raises(UnknownOrder):
        exchange.order(ID, "1")


def test_a_market_sale_fills_at_the_bid(exchange: Exchange, account: Account, recorder: Recorder) -> None:
    account.seed_position("NSE:INFY", "MIS", 10, rupees("1510"))
    order = placed(exchange, ticket())
    assert (order.status, order.filled, order.average) == (Status.COMPLETE, 10, Decimal(rupees("1500")))
    assert account.position("NSE:INFY", "MIS").quantity == 0
    assert recorder.news == [(order.order_id, Status.OPEN, 0), (order.order_id, Status.COMPLETE, 10)]


def test_a_market_purchase_fills_at_the_ask(exchange: Exchange, account: Account) -> None:
    order = placed(exchange, ticket(Side.BUY))
    assert order.average == rupees("1500.05")
    assert account.position("NSE:INFY", "MIS").quantity == 10


def test_a_protected_order_rests_at_the_end_of_its_band(exchange: Exchange) -> None:
    exchange.instrument("NSE:INFY").bid = rupees("1480")
    order = placed(exchange, ticket())
    assert (order.status, order.limit) == (Status.OPEN, rupees("1492.5"))  # 0.5 % below 1500
    exchange.trade("NSE:INFY", rupees("1495"))
    assert order.filled == 0
    exchange.instrument("NSE:INFY").bid = rupees("1492.5")
    exchange.trade("NSE:INFY", rupees("1495"))
    assert (order.status, order.average) == (Status.COMPLETE, Decimal(rupees("1492.5")))


def test_nobody_buys_at_the_lower_end_of_a_fixed_band(exchange: Exchange) -> None:
    infy = exchange.instrument("NSE:INFY")
    infy.lower, infy.upper, infy.band_is_fixed = rupees("1400"), rupees("1600"), True
    exchange.trade("NSE:INFY", rupees("1400"))
    order = placed(exchange, ticket())
    assert (infy.best_bid(), order.status) == (0, Status.OPEN)
    exchange.trade("NSE:INFY", rupees("1401"))
    assert status(order) is Status.COMPLETE


def test_a_free_band_follows_the_price(exchange: Exchange) -> None:
    exchange.trade("NSE:INFY", rupees("1100"))
    infy = exchange.instrument("NSE:INFY")
    assert infy.lower < infy.last
    assert placed(exchange, ticket()).status is Status.COMPLETE


@pytest.mark.parametrize(
    ("side", "limit", "misses", "touches"),
    [(Side.SELL, "1510", "1509.95", "1510"), (Side.BUY, "1490", "1490", "1489.95")],
)
def test_a_limit_order_rests_until_the_price_crosses(
    exchange: Exchange, side: Side, limit: str, misses: str, touches: str
) -> None:
    order = placed(exchange, ticket(side, kind=Kind.LIMIT, price=rupees(limit)))
    exchange.trade("NSE:INFY", rupees(misses))
    assert (order.status, order.pending) == (Status.OPEN, 10)
    exchange.trade("NSE:INFY", rupees(touches))
    assert (order.status, order.pending) == (Status.COMPLETE, 0)


@pytest.mark.parametrize(
    ("side", "trigger", "misses"), [(Side.SELL, "1490", "1490.05"), (Side.BUY, "1510", "1509.95")]
)
def test_a_stop_waits_for_its_trigger(exchange: Exchange, side: Side, trigger: str, misses: str) -> None:
    order = placed(exchange, ticket(side, kind=Kind.STOP_MARKET, trigger=rupees(trigger)))
    exchange.trade("NSE:INFY", rupees(misses))
    assert status(order) is Status.WAITING
    exchange.trade("NSE:INFY", rupees(trigger))
    assert status(order) is Status.COMPLETE


def test_fill_now_or_never(exchange: Exchange) -> None:
    order = placed(exchange, ticket(kind=Kind.LIMIT, price=rupees("1510"), lives_s=0))
    assert (order.status, order.filled) == (Status.CANCELLED, 0)


def test_an_order_of_limited_life_expires(exchange: Exchange, clock: ManualClock) -> None:
    order = placed(exchange, ticket(kind=Kind.LIMIT, price=rupees("1510"), lives_s=60))
    clock.now += 59
    exchange.expire()
    assert status(order) is Status.OPEN
    clock.now += 1
    exchange.expire()
    assert status(order) is Status.CANCELLED


def test_cancel_and_modify_only_what_lives(exchange: Exchange) -> None:
    order = placed(exchange, ticket(kind=Kind.LIMIT, price=rupees("1510")))
    exchange.modify(order, price=rupees("1520"))
    exchange.trade("NSE:INFY", rupees("1510"))
    assert (order.status, order.modifications) == (Status.OPEN, 1)
    exchange.cancel(order, "client")
    assert status(order) is Status.CANCELLED
    for change in (partial(exchange.cancel, by="client"), exchange.modify):
        with pytest.raises(OrderClosed, match="is cancelled"):
            change(order)
    exchange.trade("NSE:INFY", rupees("1530"))
    assert order.filled == 0


def test_a_modified_price_is_met_at_once(exchange: Exchange) -> None:
    order = placed(exchange, ticket(kind=Kind.LIMIT, price=rupees("1510")))
    exchange.modify(order, price=rupees("1500"))
    assert status(order) is Status.COMPLETE


def test_a_held_order_never_fills_until_released(exchange: Exchange) -> None:
    order = placed(exchange, ticket(), whims=Whims(fills_at_most=0))
    exchange.trade("NSE:INFY", rupees("1600"))
    assert status(order) is Status.OPEN
    order.whims.fills_at_most = None
    exchange.rematch("NSE:INFY")
    assert status(order) is Status.COMPLETE


def test_a_doomed_order_is_rejected_with_its_text(exchange: Exchange) -> None:
    order = placed(exchange, ticket(), whims=Whims(fate="Insufficient funds"))
    assert (order.status, order.message) == (Status.REJECTED, "Insufficient funds")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbol": "NFO:NIFTY26NOVFUT", "quantity": 1_865, "product": "NRML"}, "freeze quantity 1800"),
        ({"kind": Kind.LIMIT, "price": rupees("1500.02")}, "Tick size for this script is 0.05"),
        ({"product": "CNC"}, "Check holdings"),
    ],
)
def test_the_risk_system_rejects(exchange: Exchange, changes: dict[str, object], message: str) -> None:
    order = placed(exchange, ticket(**changes))  # type: ignore[arg-type]  # a test's own shorthand
    assert status(order) is Status.REJECTED
    assert message in order.message


def test_delivered_shares_are_sold_once(exchange: Exchange, account: Account) -> None:
    account.seed_holding("NSE:INFY", "CNC", 10, rupees("1400"))
    resting = placed(exchange, ticket(product="CNC", quantity=6, kind=Kind.LIMIT, price=rupees("1510")))
    too_many = placed(exchange, ticket(product="CNC", quantity=5))
    assert (resting.status, too_many.status) == (Status.OPEN, Status.REJECTED)
    assert placed(exchange, ticket(product="CNC", quantity=4)).status is Status.COMPLETE
    assert account.holdings["NSE:INFY", "CNC"].used == 4
    assert account.position("NSE:INFY", "CNC").quantity == -4


def test_positions_turn_round(exchange: Exchange, account: Account) -> None:
    account.seed_position("NSE:INFY", "MIS", 10, rupees("1490"))
    exchange.instrument("NSE:INFY").bid = rupees("1500")
    placed(exchange, ticket(quantity=4))
    position = account.position("NSE:INFY", "MIS")
    assert (position.quantity, position.average) == (6, rupees("1490"))
    placed(exchange, ticket(quantity=10))
    assert (position.quantity, position.average) == (-4, rupees("1500"))


def test_only_what_is_watched_or_ordered_is_active(exchange: Exchange) -> None:
    assert exchange.active() == []
    exchange.watch(["NSE:SBIN", "NSE:INFY"])
    exchange.watch(["NSE:SBIN"])
    exchange.unwatch(["NSE:SBIN", "NSE:INFY"])
    assert exchange.active() == ["NSE:SBIN"]
    order = placed(exchange, ticket(symbol="NSE:TCS", kind=Kind.LIMIT, price=rupees("3200")))
    assert exchange.active() == ["NSE:SBIN", "NSE:TCS"]
    exchange.cancel(order, "client")
    assert exchange.active() == ["NSE:SBIN"]


def test_tokens_live_until_the_next(exchange: Exchange, account: Account) -> None:
    first = account.access_token
    second = exchange.accounts.mint(ID)
    assert exchange.accounts.authenticated(account.api_key, first) is None
    assert exchange.accounts.authenticated(account.api_key, second) is account
    exchange.accounts.kill(ID)
    assert exchange.accounts.authenticated(account.api_key, second) is None
    assert exchange.accounts.authenticated(account.api_key, "") is None


def test_part_of_an_order_fills_and_the_rest_rests(exchange: Exchange) -> None:
    order = placed(exchange, ticket(), Whims(fills_at_most=3))
    exchange.trade("NSE:INFY", rupees("1600"))
    assert (status(order), order.filled, order.pending) == (Status.OPEN, 3, 7)


def test_what_is_to_fill_now_or_never_keeps_what_it_got(exchange: Exchange) -> None:
    order = placed(exchange, ticket(lives_s=0), Whims(fills_at_most=3))
    assert (status(order), order.filled, order.cancelled_by) == (Status.CANCELLED, 3, "exchange")


def test_a_cancelled_order_may_be_executed_after_all(exchange: Exchange, account: Account) -> None:
    order = placed(exchange, ticket(), Whims(fills_at_most=4))
    exchange.cancel(order, "client")
    exchange.execute(order, quantity=5)
    exchange.execute(order)
    exchange.execute(order)  # there is nothing left
    assert (status(order), order.filled) == (Status.COMPLETE, 10)
    assert account.position("NSE:INFY", "MIS").quantity == -10


def test_at_the_lower_limit_a_sale_waits_for_buyers(exchange: Exchange) -> None:
    infy = exchange.instrument("NSE:INFY")
    infy.lower, infy.upper, infy.band_is_fixed = rupees("1350"), rupees("1650"), True
    exchange.trade("NSE:INFY", rupees("1350"))
    market = placed(exchange, ticket())
    limit = placed(exchange, ticket(kind=Kind.LIMIT, price=rupees("1350")))
    assert [(status(o), o.limit) for o in (market, limit)] == [(Status.OPEN, rupees("1350"))] * 2
    infy.bid = rupees("1350")
    exchange.rematch("NSE:INFY")
    assert {status(market), status(limit)} == {Status.COMPLETE}


def test_extremes_of_a_position_start_where_it_was_seeded(exchange: Exchange, account: Account) -> None:
    account.seed_position("NSE:INFY", "MIS", 10, rupees("1500"))
    assert account.extremes["NSE:INFY", "MIS"] == (10, 10)
    placed(exchange, ticket(quantity=15))
    placed(exchange, ticket(Side.BUY, quantity=20))
    assert account.extremes["NSE:INFY", "MIS"] == (-5, 15)


def test_extremes_count_the_shares_of_the_demat_account(exchange: Exchange, account: Account) -> None:
    account.seed_holding("NSE:INFY", "CNC", 10, rupees("1500"))
    placed(exchange, ticket(product="CNC", quantity=10))
    assert account.extremes["NSE:INFY", "CNC"] == (0, 10)


@pytest.mark.parametrize(("asked", "whole"), [(0, 0), (1, 1), (7, 7)])
def test_a_share_is_a_lot(exchange: Exchange, asked: int, whole: int) -> None:
    assert exchange.instruments["NSE:INFY"].in_lots(asked) == whole


def test_a_contract_fills_in_whole_lots(exchange: Exchange) -> None:
    future = next(row for row in exchange.instruments.values() if row.listing.contract.lot_size > 1)
    lot = future.listing.contract.lot_size
    assert [future.in_lots(quantity) for quantity in (0, 1, lot, lot + 1)] == [0, lot, lot, 2 * lot]
