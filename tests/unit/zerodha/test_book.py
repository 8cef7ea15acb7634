"""Kite's answers in our terms, and nothing guessed."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketdata.brokers.zerodha import book
from marketdata.domain.errors import BadReply
from marketdata.domain.orders import (
    OrderSnapshot,
    OrderStatus,
    PositionSnapshot,
    Quote,
    RejectReason,
    Side,
    TradeSnapshot,
)
from marketdata.portfolio import Held

MARGIN, HOLDINGS, BAND, OTHER = (
    RejectReason.MARGIN, RejectReason.HOLDINGS, RejectReason.BAND, RejectReason.OTHER
)  # fmt: skip
REST = Path(__file__).parents[2] / "data" / "zerodha" / "rest"


def recorded(name: str) -> Any:
    reply = json.loads((REST / f"{name}.json").read_text())
    return reply.get("data", reply)


def order(**changes: Any) -> dict[str, Any]:
    return {**recorded("postback"), **changes}


def test_the_recorded_order_book() -> None:
    cancelled, complete, *_ = book.order_snapshots(recorded("orders"))
    assert cancelled.status is OrderStatus.CANCELLED
    assert cancelled.average_price is None
    assert complete == OrderSnapshot(
        "300000000000000",
        "",
        "NSE:IOC",
        Side.BUY,
        "CNC",
        1,
        1,
        OrderStatus.FILLED,
        "COMPLETE",
        Decimal("109.4"),
    )


def test_the_recorded_order_update() -> None:
    update = book.order_snapshot(recorded("postback"))
    assert (update.symbol, update.status, update.average_price) == (
        "NSE:SBIN",
        OrderStatus.FILLED,
        Decimal(470),
    )


@pytest.mark.parametrize(
    "status",
    ["OPEN", "UPDATE", "TRIGGER PENDING", "PUT ORDER REQ RECEIVED", "CANCEL PENDING", "SOMETHING NEW"],
)
def test_a_status_that_is_not_final_is_live(status: str) -> None:
    snapshot = book.order_snapshot(order(status=status))
    assert snapshot.status is OrderStatus.LIVE
    assert snapshot.status_text == status


def test_tag_and_words_of_the_broker_are_kept() -> None:
    snapshot = book.order_snapshot(order(tag="TG1", status="REJECTED", status_message="RMS: no margin"))
    assert (snapshot.tag, snapshot.message) == ("TG1", "RMS: no margin")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("order_id", None), ("order_id", ""), ("order_id", 5), ("status", None), ("quantity", "5"), ("quantity", 5.0),
        ("quantity", True), ("filled_quantity", None), ("transaction_type", "HOLD"), ("average_price", "1.5"),
        ("average_price", float("nan")), ("tradingsymbol", ""), ("exchange", None), ("product", 1), ("tag", 7),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(name: str, value: Any) -> None:
    with pytest.raises(BadReply, match=name):
        book.order_snapshot(order(**{name: value}))


@pytest.mark.parametrize(
    "name", ["order_id", "status", "quantity", "filled_quantity", "average_price", "product"]
)
def test_a_missing_field_is_named(name: str) -> None:
    row = order()
    del row[name]
    with pytest.raises(BadReply, match=name):
        book.order_snapshot(row)


@pytest.mark.parametrize("reply", [None, {}, "text", 5])
def test_what_is_no_list_is_no_empty_book(reply: Any) -> None:
    with pytest.raises(BadReply, match="orders: expected a list"):
        book.order_snapshots(reply)


def test_one_bad_row_spoils_the_book() -> None:
    with pytest.raises(BadReply):
        book.order_snapshots([order(), None])


def test_the_recorded_positions() -> None:
    found = book.net_positions(recorded("positions"))
    assert PositionSnapshot("MCX:LEADMINI17DECFUT", "NRML", 1) in found
    assert PositionSnapshot("NSE:SBIN", "CO", 0) in found


def test_the_recorded_holdings() -> None:
    found = book.holdings(recorded("holdings"))
    assert Held("NSE:AARON", "CNC", 1, 0, "INE721Z01010") in found
    assert Held("NSE:AARON", "MTF", 1000, 0, "INE721Z01010") in found
    assert Held("BSE:SBIN", "CNC", 16, 0, "INE062A01020") in found


def test_shares_that_settle_are_held_and_a_short_position_is_negative() -> None:
    row = {"exchange": "NSE", "tradingsymbol": "INFY"}
    (held,) = book.holdings([{**row, "quantity": 10, "t1_quantity": 5, "used_quantity": 4}])
    assert held == Held("NSE:INFY", "CNC", 15, 4)
    net = {"net": [{**row, "product": "MIS", "quantity": -7}]}
    assert book.net_positions(net) == [PositionSnapshot("NSE:INFY", "MIS", -7)]


@pytest.mark.parametrize("reply", [{}, {"net": None}, {"net": [None]}, {"net": [{}]}, None, []])
def test_positions_of_another_shape_are_not_flat(reply: Any) -> None:
    with pytest.raises(BadReply):
        book.net_positions(reply)


@pytest.mark.parametrize("reply", [None, {}, [None], [{}], [{"exchange": "NSE", "tradingsymbol": "INFY"}]])
def test_holdings_of_another_shape_are_not_none(reply: Any) -> None:
    with pytest.raises(BadReply):
        book.holdings(reply)


def test_a_quote_is_exact_and_timed_in_india() -> None:
    assert book.quote("NSE:INFY", recorded("quote")["NSE:INFY"]) == Quote(
        "NSE:INFY", 14_129_500_000, 1623147356, 13_955_500_000, 14_217_500_000,
        bid=0, ask=14_129_500_000, lower=12_507_000_000, upper=15_286_000_000, close=13_896_500_000,
    )  # fmt: skip


@pytest.mark.parametrize(
    "timestamp", [5, "now", "2021-06-08", "2021-06-08 15:45:61", "2021-06-08 15:45:56+05:30"]
)
def test_a_quote_of_an_unknown_time_is_none(timestamp: Any) -> None:
    with pytest.raises(BadReply, match="timestamp"):
        book.quote("NSE:INFY", recorded("quote")["NSE:INFY"] | {"timestamp": timestamp})


def test_an_ohlc_quote_has_no_time() -> None:
    quote = book.quote("NSE:INFY", recorded("ohlc")["NSE:INFY"])
    assert {quote.exchange_time, quote.bid, quote.ask, quote.lower, quote.upper} == {None}


@pytest.mark.parametrize(
    "depth", [None, 5, {}, {"buy": None}, {"buy": [None]}, {"buy": [{"price": "1", "quantity": 1}]}]
)
def test_a_book_that_is_not_understood_does_not_cost_the_price(depth: Any) -> None:
    row = recorded("ohlc")["NSE:INFY"] | {"depth": depth, "upper_circuit_limit": "high"}
    quote = book.quote("NSE:INFY", row)
    assert quote.price > 0
    assert (quote.bid, quote.upper) == (None, None)


def test_the_recorded_trades() -> None:
    first, *others = book.trade_snapshots(recorded("trades"))
    assert first == TradeSnapshot("200000000000000", "NSE:SBIN", Side.BUY, "CNC", 1, Decimal("420.65"))
    assert len(others) == len(recorded("trades")) - 1


@pytest.mark.parametrize("name", ["order_id", "transaction_type", "product", "quantity", "average_price"])
def test_a_trade_without_a_field_spoils_them_all(name: str) -> None:
    with pytest.raises(BadReply, match=name):
        book.trade_snapshots([recorded("trades")[0], recorded("trades")[0] | {name: None}])


def test_the_raw_text_tells_more_than_the_one_for_people() -> None:
    row = order(status="REJECTED", status_message="Not placed.", status_message_raw="RMS:Margin Exceeds")
    assert book.order_snapshot(row).reject_reason is MARGIN


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        ("REJECTED", "RMS:Margin Exceeds,Required:1000, Available:0 for entity account-AB1234", MARGIN),
        ("REJECTED", "RMS:Rule: Check holdings including btst quantity for entity", HOLDINGS),
        ("REJECTED", "17070 : The Price is out of the current execution range.", BAND),
        ("REJECTED", "a text nobody has seen before", OTHER),
        ("REJECTED", None, OTHER),
        ("CANCELLED", "17070 : The Price is out of the LPP range", BAND),
        ("CANCELLED", "Order cancelled by the exchange: margin", None),
        ("CANCELLED", None, None),
        ("COMPLETE", "circuit", None),
        ("OPEN", "circuit", None),
    ],
)
def test_why_an_order_of_the_book_was_refused(
    status: str, text: str | None, reason: RejectReason | None
) -> None:
    snapshot = book.order_snapshot(order(status=status, status_message=text))
    assert snapshot.reject_reason is reason
    assert snapshot.reject_class is (reason and reason.reject_class)


def test_a_float_of_the_finest_segment_comes_back_exact() -> None:
    quote = book.quote("CDS:USDINR", {"last_price": 83.3525001, "ohlc": {"low": 0, "high": 0}})
    assert (quote.price, quote.day_low) == (833_525_001, None)


@pytest.mark.parametrize("row", [{}, {"last_price": 1}, {"last_price": "1", "ohlc": {"low": 1, "high": 1}}])
def test_a_quote_of_another_shape_is_refused(row: Any) -> None:
    with pytest.raises(BadReply):
        book.quote("NSE:INFY", row)
