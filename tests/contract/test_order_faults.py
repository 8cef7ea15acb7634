"""What brokers and exchanges do to orders, seen through each broker's own gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from marketdata.domain.errors import BrokerUnavailable, LoginExpired
from marketdata.domain.orders import (
    OrderSnapshot,
    OrderStatus,
    Outcome,
    PositionSnapshot,
    RejectClass,
    RejectReason,
    Side,
)
from marketdata.domain.prices import to_units
from marketdata.ports import BrokerAdapter, BrokerConfig
from marketdata.simulator.control import SimulatorControl
from tests.contract.ordering import INFY, STATIONS, Bench, sell
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def price(control: SimulatorControl, config: BrokerConfig) -> Iterator[None]:
    control.set_price(INFY, "1500")
    control.set_book(INFY)
    control.set_position(config.client_id, INFY, "MIS", 10, "1510")
    yield
    control.set_book(INFY)


def settled(bench: Bench, tag: str) -> OrderSnapshot:
    """Return an order once the exchange has judged it."""

    def judged() -> OrderSnapshot | None:
        order = bench.find(tag)
        return None if order.status_text in STATIONS else order

    return eventually(judged) or bench.find(tag)


def accepted(bench: Bench, tag: str, **more: Any) -> OrderSnapshot:
    assert bench.place(sell(tag, **more)).outcome is Outcome.ACKED
    return settled(bench, tag)


def held(bench: Bench) -> int:
    return sum(row.quantity for row in bench.gateway.positions() if row.symbol == INFY)


# --- Fills ------------------------------------------------------------------------------
def test_part_of_it_fills_and_the_rest_rests(bench: Bench) -> None:
    bench.fault("partial", quantity=4)
    order = accepted(bench, "PART1")
    assert (order.status, order.filled_quantity, held(bench)) == (OrderStatus.LIVE, 4, 6)
    assert [trade.quantity for trade in bench.gateway.trades()] == [4]
    bench.control.release(order.order_id)
    assert bench.find("PART1").status is OrderStatus.FILLED
    assert [trade.quantity for trade in bench.gateway.trades()] == [4, 6]


def test_what_is_cancelled_keeps_what_was_filled(bench: Bench) -> None:
    bench.fault("partial", quantity=4)
    order = accepted(bench, "PART2")
    assert bench.cancel(order.order_id).outcome is Outcome.ACKED
    order = bench.find("PART2")
    assert (order.status, order.filled_quantity) == (OrderStatus.CANCELLED, 4)
    assert bench.booked("PART2")[0]["cancelled_by"] == "client"


@pytest.mark.parametrize("filled", [0, 3])
def test_the_exchange_takes_an_order_out_for_its_price(bench: Bench, filled: int) -> None:
    bench.fault("cancelled_by_exchange", filled=filled)
    order = accepted(bench, "LPP1")
    assert (order.status, order.filled_quantity) == (OrderStatus.CANCELLED, filled)
    assert order.reject_reason is RejectReason.BAND
    assert bench.booked("LPP1")[0]["cancelled_by"] == "exchange"


def test_a_cancel_of_ones_own_has_no_reason(bench: Bench) -> None:
    bench.fault("rest")
    order = accepted(bench, "OWN1")
    bench.cancel(order.order_id)
    assert (bench.find("OWN1").status, bench.find("OWN1").reject_reason) == (OrderStatus.CANCELLED, None)


@pytest.mark.parametrize("refused", [True, False])
def test_a_fill_is_faster_than_the_cancel(bench: Bench, *, refused: bool) -> None:
    bench.fault("rest")
    order = accepted(bench, "RACE1")
    bench.fault("fill_on_cancel", refused=refused)
    outcome = bench.cancel(order.order_id).outcome
    assert outcome in ((Outcome.REJECTED, Outcome.UNKNOWN) if refused else (Outcome.ACKED,))
    order = bench.find("RACE1")
    assert (order.status, order.filled_quantity, held(bench)) == (OrderStatus.FILLED, 10, 0)


def test_a_cancelled_order_executes_later(bench: Bench) -> None:
    bench.fault("rest")
    order = accepted(bench, "GHOST1")
    bench.fault("late_fill", after_s=2.0)
    assert bench.cancel(order.order_id).outcome is Outcome.ACKED
    assert bench.find("GHOST1").status is OrderStatus.CANCELLED
    eventually(lambda: bench.find("GHOST1").status is OrderStatus.FILLED)
    assert (bench.find("GHOST1").filled_quantity, held(bench)) == (10, 0)


def test_a_test_may_say_when_a_cancelled_order_executes(bench: Bench) -> None:
    bench.fault("rest")
    order = accepted(bench, "GHOST2")
    bench.cancel(order.order_id)
    bench.control.execute(order.order_id, quantity=4, price="1499")
    order = bench.find("GHOST2")
    assert (order.status, order.filled_quantity, order.average_price) == (OrderStatus.LIVE, 4, Decimal(1499))


def test_a_lost_reply_to_a_cancel_leaves_its_fate_open(bench: Bench) -> None:
    bench.fault("rest")
    order = accepted(bench, "MUTE1")
    bench.fault("lost_reply", operation="cancel")
    assert bench.cancel(order.order_id).outcome is Outcome.UNKNOWN
    assert bench.find("MUTE1").status is OrderStatus.CANCELLED


# --- Books that do not tell the truth ---------------------------------------------------
def test_a_booked_order_is_not_shown_for_a_while(bench: Bench) -> None:
    bench.fault("hide", hide_s=600)
    bench.fault("lost_reply")
    assert bench.place(sell("HIDE1")).outcome is Outcome.UNKNOWN
    eventually(lambda: bench.booked("HIDE1")[0]["filled"] == 10)
    assert [o for o in bench.gateway.orders() if o.tag == "HIDE1"] == []
    assert list(bench.gateway.trades()) == []
    bench.control.release(bench.booked("HIDE1")[0]["order_id"])
    assert bench.find("HIDE1").status is OrderStatus.FILLED
    assert len(bench.gateway.trades()) == 1


def test_books_show_an_old_state(bench: Bench) -> None:
    before = accepted(bench, "OLD1", quantity=4)
    bench.fault("freeze_book", seconds=60)
    assert bench.place(sell("OLD2", 6)).outcome is Outcome.ACKED
    eventually(lambda: bench.booked("OLD2")[0]["filled"] == 6)
    assert [order.tag for order in bench.gateway.orders()] == ["OLD1"]
    assert [trade.order_id for trade in bench.gateway.trades()] == [before.order_id]
    assert held(bench) == 6
    bench.control.clear_faults("freeze_book")
    assert [order.tag for order in bench.gateway.orders()] == ["OLD1", "OLD2"]
    assert (held(bench), len(bench.gateway.trades())) == (0, 2)


def test_one_book_alone_may_be_old(bench: Bench) -> None:
    bench.fault("freeze_book", seconds=60, operation="orders")
    assert bench.place(sell("OLD3")).outcome is Outcome.ACKED
    eventually(lambda: held(bench) == 0)
    assert list(bench.gateway.orders()) == []


@pytest.mark.parametrize("keep", [0, 5])
def test_a_tag_is_lost_or_cut(bench: Bench, keep: int) -> None:
    bench.fault("strip_tag", keep=keep)
    assert bench.place(sell("STRIP1234")).outcome is Outcome.ACKED
    assert [order.tag for order in bench.gateway.orders()] == ["STRIP1234"[:keep]]
    (row,) = bench.booked("STRIP1234")  # the ledger knows what was sent
    assert (row["shown_tag"], row["side"], row["product"], row["quantity"]) == (
        "STRIP1234"[:keep],
        "SELL",
        "MIS",
        10,
    )


def test_an_order_is_booked_twice(bench: Bench) -> None:
    bench.fault("double_booking")
    result = bench.place(sell("TWIN1"))
    assert result.outcome is Outcome.ACKED
    first, second = bench.gateway.orders()
    assert (first.tag, second.tag, first.order_id) == ("TWIN1", "TWIN1", result.order_id)
    eventually(lambda: held(bench) == -10)
    (extremes,) = bench.control.position_extremes(bench.client_id)
    assert (extremes["lowest"], extremes["highest"]) == (-10, 10)


def test_a_second_order_with_the_same_tag_is_forged(bench: Bench) -> None:
    order = accepted(bench, "TWIN2")
    twin = bench.control.forge(order.order_id, held=True)
    found = {o.order_id: o.status for o in bench.gateway.orders() if o.tag == "TWIN2"}
    assert found == {order.order_id: OrderStatus.FILLED, twin: OrderStatus.LIVE}


def test_a_status_nobody_knows_is_not_final(bench: Bench) -> None:
    bench.fault("odd_status", word="PONDERING")
    order = accepted(bench, "ODD1")
    assert (order.status, order.status_text) == (OrderStatus.LIVE, "PONDERING")
    bench.control.show_status(order.order_id)
    eventually(lambda: bench.find("ODD1").status is OrderStatus.FILLED)


# --- Refusals ---------------------------------------------------------------------------
@pytest.mark.parametrize("booked", [True, False])
def test_a_limit_far_from_the_last_price_is_refused_as_if_for_the_circuit(
    bench: Bench, *, booked: bool
) -> None:
    bench.fault("price_protection", percent=5, booked=booked, times=2)
    result = bench.place(sell("FAR1", limit_price=Decimal("1420")))
    if booked:
        order = settled(bench, "FAR1")
        assert (order.status, order.reject_reason) == (OrderStatus.REJECTED, RejectReason.BAND)
        assert order.reject_class is RejectClass.FIX
    else:
        assert (result.outcome, result.reject_reason) == (Outcome.REJECTED, RejectReason.BAND)
        assert result.reject_class is RejectClass.FIX
        assert "circuit" in result.message
        assert bench.booked("FAR1") == []
    assert bench.place(sell("NEAR1", limit_price=Decimal("1430"))).outcome is Outcome.ACKED


def test_market_orders_are_not_taken_where_nobody_trades(bench: Bench) -> None:
    bench.fault("market_blocked", symbol=INFY, times=2)
    for tag in ("BLOCK1", "BLOCK2"):
        result = bench.place(sell(tag))
        assert (result.outcome, result.reject_reason) == (Outcome.REJECTED, RejectReason.NO_MARKET)
        assert result.reject_class is RejectClass.FIX
    assert bench.place(sell("LIMIT1", limit_price=Decimal("1500"))).outcome is Outcome.ACKED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("RMS:Margin Exceeds,Required:99999, Available:0 for entity account", RejectReason.MARGIN),
        ("RMS:Rule: Check holdings including btst quantity for entity account", RejectReason.HOLDINGS),
        ("16283 : The order quantity is greater than the freeze quantity 1800.", RejectReason.FREEZE),
        ("17070 : The Price is out of the current execution range.", RejectReason.BAND),
        ("Tick size for this script is 0.05. Kindly enter price in the multiple of it.", RejectReason.TICK),
        ("16387 : Security is not allowed to trade in this market", RejectReason.BAN),
        ("Nobody has ever read this", RejectReason.OTHER),
    ],
)
def test_an_order_rejected_after_it_was_accepted_has_its_class_and_reason(
    bench: Bench, text: str, reason: RejectReason
) -> None:
    bench.fault("reject_after_ack", text=text)
    order = accepted(bench, "LATE1")
    assert (order.status, order.message) == (OrderStatus.REJECTED, text)
    assert (order.reject_reason, order.reject_class) == (reason, reason.reject_class)


def test_a_definite_refusal_may_leave_a_row(bench: Bench) -> None:
    text = "Insufficient funds. Required margin is 1 but available margin is 0."
    bench.fault("reject", text=text, booked=True)
    result = bench.place(sell("ROW1"))
    assert (result.outcome, result.reject_reason) == (Outcome.REJECTED, RejectReason.MARGIN)
    order = bench.find("ROW1")
    assert (order.status, order.reject_reason) == (OrderStatus.REJECTED, RejectReason.MARGIN)


def test_a_token_dies_in_the_middle_of_the_day(bench: Bench, control: SimulatorControl) -> None:
    bench.fault("rest")
    order = accepted(bench, "TOKEN1")
    control.kill_token(bench.client_id, after_s=0.2)

    def dead() -> bool:
        try:
            bench.gateway.orders()
        except LoginExpired:
            return True
        return False

    eventually(dead)
    for result in (bench.place(sell("TOKEN2")), bench.cancel(order.order_id)):
        assert (result.outcome, result.reject_reason) == (Outcome.REJECTED, RejectReason.LOGIN)
    assert bench.booked("TOKEN2") == []


# --- Limits -----------------------------------------------------------------------------
def test_more_orders_than_allowed_are_refused_at_the_door(bench: Bench, adapter: BrokerAdapter) -> None:
    limit = adapter.order_limits.per_second
    bench.control.enforce_limits()
    wires = [bench.gateway.open_wire() for _ in range(limit + 2)]
    for number, wire in enumerate(wires):
        wire.prepare(sell(f"MANY{number}", 1))
    with ThreadPoolExecutor(len(wires)) as pool:
        results = list(pool.map(lambda wire: wire.send(time.monotonic() + 5), wires))
    refused = [result for result in results if result.outcome is Outcome.REJECTED]
    assert [result.outcome for result in results].count(Outcome.ACKED) == limit
    assert {(r.reject_reason, r.reject_class) for r in refused} == {(RejectReason.RATE, RejectClass.WAIT)}
    received = bench.control.order_requests(bench.client_id)
    assert (received["total"], received["most_in_a_second"]) == (limit + 2, limit + 2)
    assert [row["operation"] for row in received["requests"]] == ["place"] * (limit + 2)
    assert all(abs(row["at"] - time.time()) < 30 for row in received["requests"])


def test_refused_orders_count_to_the_minute(bench: Bench) -> None:
    bench.control.enforce_limits(per_minute=3)
    bench.fault("reject", times=2)
    for tag in ("R1", "R2"):
        assert bench.place(sell(tag)).reject_reason is RejectReason.MARGIN
    order = accepted(bench, "R3", quantity=1)
    assert bench.cancel(order.order_id).reject_reason is RejectReason.RATE


def test_the_day_has_a_limit_of_its_own(bench: Bench) -> None:
    bench.control.enforce_limits(per_day=2)
    for tag in ("D1", "D2"):
        assert bench.place(sell(tag, 1)).outcome is Outcome.ACKED
    result = bench.place(sell("D3", 1))
    assert (result.reject_reason, result.reject_class) == (RejectReason.DAY_LIMIT, RejectClass.HUMAN)


# --- The exchange -----------------------------------------------------------------------
def test_at_the_lower_limit_a_sale_waits_in_the_queue(bench: Bench, control: SimulatorControl) -> None:
    share = "NSE:TCS"
    lower = Decimal(control.instrument(share)["lower"])
    control.set_band(share, lower=lower, upper=lower * 2)
    control.set_book(share)
    control.set_price(share, lower)
    quote = bench.gateway.quotes([share])[share]
    assert (quote.price, quote.bid, quote.lower) == (to_units(lower), 0, to_units(lower))
    bench.place(replace(sell("QUEUE1", limit_price=lower), symbol=share))
    assert settled(bench, "QUEUE1").status is OrderStatus.LIVE
    control.set_book(share, bid=lower)
    assert bench.find("QUEUE1").status is OrderStatus.FILLED
    assert PositionSnapshot(share, "MIS", -10) in bench.gateway.positions()


def test_an_answer_is_late_though_the_order_is_booked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketdata.single_shot.READ_S", 0.3)
    bench.fault("latency", operation="place", delay_s=1.0, booked=True)
    assert bench.place(sell("SLOW1")).outcome is Outcome.UNKNOWN
    eventually(lambda: bench.booked("SLOW1"))
    assert bench.find("SLOW1").side is Side.SELL


def test_a_read_above_the_rate_may_be_tried_again(bench: Bench) -> None:
    for read in (bench.gateway.orders, bench.gateway.trades, bench.gateway.positions):
        bench.fault("rate_limited", operation=read.__name__)
        with pytest.raises(BrokerUnavailable):
            read()
        read()
