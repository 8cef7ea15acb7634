"""Dhan's answers in our terms, and nothing guessed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketdata.brokers.dhan import book
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

REST = Path(__file__).parents[2] / "data" / "dhan" / "rest"
TOKENS = {"NSE_EQ:11536": "NSE:TCS"}


def documented() -> dict[str, Any]:
    (row,) = json.loads((REST / "order_object.json").read_text())
    return dict(row)


def order(**changes: Any) -> OrderSnapshot:
    return book.order_snapshot({**documented(), **changes})


def test_the_documented_order() -> None:
    assert order() == OrderSnapshot(
        "112111182198", "123abc678", "NSE_EQ:11536", Side.BUY, "MIS", 5, 0, OrderStatus.LIVE, "PENDING"
    )


def test_a_filled_order() -> None:
    filled = order(orderStatus="TRADED", filledQty=5, averageTradedPrice=3345.8)
    assert (filled.status, filled.filled_quantity) == (OrderStatus.FILLED, 5)
    assert filled.average_price == Decimal("3345.8")


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("TRADED", OrderStatus.FILLED),
        ("CANCELLED", OrderStatus.CANCELLED),
        ("EXPIRED", OrderStatus.CANCELLED),
        ("REJECTED", OrderStatus.REJECTED),
        *((word, OrderStatus.LIVE) for word in (
            "TRANSIT", "PENDING", "PART_TRADED", "MODIFIED", "TRIGGERED", "INACTIVE", "CONFIRM", "CLOSED", "NEW WORD",
        )),
    ],
)  # fmt: skip
def test_only_four_words_are_final(word: str, status: OrderStatus) -> None:
    snapshot = order(orderStatus=word)
    assert (snapshot.status, snapshot.status_text) == (status, word)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("INTRADAY", "MIS"), ("CNC", "CNC"), ("MARGIN", "NRML"), ("MTF", "MTF"), ("CO", "CO"), ("BO", "BO")],
)
def test_products_have_our_words(theirs: str, ours: str) -> None:
    assert order(productType=theirs).product == ours


def test_a_rejected_order_says_why() -> None:
    assert order(orderStatus="REJECTED", omsErrorDescription="RMS: no").message == "RMS: no"


def test_an_order_of_others_has_no_tag() -> None:
    snapshot = order(correlationId=None)
    assert snapshot.tag == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("orderId", None), ("orderId", ""), ("orderId", 5), ("orderStatus", None), ("quantity", "5"),
        ("quantity", True), ("filledQty", None), ("transactionType", "HOLD"), ("averageTradedPrice", "1.5"),
        ("averageTradedPrice", float("nan")), ("exchangeSegment", ""), ("securityId", 11536), ("productType", 1),
        ("correlationId", 7),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(BadReply, match=field):
        order(**{field: value})


@pytest.mark.parametrize("reply", [None, {}, {"data": []}, "", [None], ["x"], [documented(), {}]])
def test_one_bad_row_spoils_the_book(reply: Any) -> None:
    with pytest.raises(BadReply):
        book.order_snapshots(reply)


def position(token: str, product: str, quantity: int) -> dict[str, Any]:
    segment, _, security_id = token.partition(":")
    return {
        "exchangeSegment": segment, "securityId": security_id, "productType": product, "netQty": quantity,
        "positionType": "LONG" if quantity > 0 else "SHORT",
    }  # fmt: skip


def holding(total: int, available: int, *, pledged: int = 0, exchange: str = "ALL") -> dict[str, Any]:
    security_id = "500112" if exchange == "BSE" else "3045"
    return {"exchange": exchange, "securityId": security_id, "totalQty": total, "availableQty": available,
            "collateralQty": pledged}  # fmt: skip


def test_positions_are_signed() -> None:
    rows = [position("NSE_FNO:35001", "MARGIN", -75), position("NSE_EQ:11536", "INTRADAY", 10)]
    assert book.net_positions(rows) == [
        PositionSnapshot("NSE_FNO:35001", "NRML", -75),
        PositionSnapshot("NSE_EQ:11536", "MIS", 10),
    ]


@pytest.mark.parametrize(
    ("row", "held"),
    [
        (holding(10, 10), Held("NSE_EQ:3045", "CNC", 10, 0)),
        (holding(10, 6), Held("NSE_EQ:3045", "CNC", 10, 4)),
        (holding(10, 5, pledged=5), Held("NSE_EQ:3045", "CNC", 5, 0)),
        (holding(10, 3, pledged=5), Held("NSE_EQ:3045", "CNC", 5, 2)),
        (holding(10, 10, pledged=5), Held("NSE_EQ:3045", "CNC", 5, 0)),
        (holding(10, 10, exchange="NSE"), Held("NSE_EQ:3045", "CNC", 10, 0)),
        (holding(3, 3, exchange="BSE"), Held("BSE_EQ:500112", "CNC", 3, 0)),
        (holding(3, 3, exchange="MSEI"), Held("", "CNC", 3, 0)),  # whose ids these are is not known
        (holding(3, 3) | {"isin": "INE062A01020"}, Held("NSE_EQ:3045", "CNC", 3, 0, "INE062A01020")),
    ],
)
def test_what_is_pledged_cannot_be_sold(row: dict[str, Any], held: Held) -> None:
    assert book.holdings([row]) == [held]


@pytest.mark.parametrize("reply", [None, {}, [{}], [position("NSE_EQ:1", "CNC", 1) | {"netQty": 1.5}]])
def test_positions_of_another_shape_are_refused(reply: Any) -> None:
    with pytest.raises(BadReply):
        book.net_positions(reply)


@pytest.mark.parametrize(
    "reply", [None, {}, [{}], [holding(1, 1) | {"availableQty": None}], [holding(1, 1) | {"exchange": ""}]]
)
def test_holdings_of_another_shape_are_refused(reply: Any) -> None:
    with pytest.raises(BadReply):
        book.holdings(reply)


QUOTED = {"last_price": 3345.05, "last_trade_time": "23/11/2026 11:59:58",
          "ohlc": {"open": 1, "high": 3400.0, "low": 3300.95, "close": 2}}  # fmt: skip


def quoted(row: Any, *, segment: str = "NSE_EQ", security_id: str = "11536") -> dict[str, Quote]:
    return book.quotes({"data": {segment: {security_id: row}}, "status": "success"}, TOKENS)


def test_a_quote_is_exact_and_its_time_indias() -> None:
    at = datetime(2026, 11, 23, 6, 29, 58, tzinfo=UTC)
    assert quoted(QUOTED) == {
        "NSE:TCS": Quote("NSE:TCS", 33450500000, int(at.timestamp()), 33009500000, 34000000000)
    }


@pytest.mark.parametrize("never", [None, "", "01/01/1980 00:00:00"])
def test_no_trade_yet_is_no_time(never: str | None) -> None:
    assert quoted(QUOTED | {"last_trade_time": never})["NSE:TCS"].exchange_time is None


def test_a_quote_may_tell_the_book_and_the_days_limits() -> None:
    depth = {"buy": [{"price": 3345.0, "quantity": 7, "orders": 1}], "sell": [{"price": 0, "quantity": 0}]}
    row = QUOTED | {"depth": depth, "lower_circuit_limit": 3010.5, "upper_circuit_limit": 0}
    quote = quoted(row)["NSE:TCS"]
    assert (quote.bid, quote.ask, quote.lower, quote.upper) == (33450000000, 0, 30105000000, None)


TRADED = {"orderId": "1", "exchangeSegment": "NSE_EQ", "securityId": "11536", "transactionType": "SELL",
          "productType": "INTRADAY", "tradedQuantity": 5, "tradedPrice": 3345.8}  # fmt: skip


def test_trades_are_ours() -> None:
    assert book.trade_snapshots([TRADED]) == [
        TradeSnapshot("1", "NSE_EQ:11536", Side.SELL, "MIS", 5, Decimal("3345.8"))
    ]


@pytest.mark.parametrize("name", sorted(TRADED))
def test_a_trade_without_a_field_spoils_them_all(name: str) -> None:
    with pytest.raises(BadReply, match=name):
        book.trade_snapshots([TRADED, TRADED | {name: None}])


@pytest.mark.parametrize("reply", [None, {}, "", [None]])
def test_trades_of_another_shape_are_not_none(reply: Any) -> None:
    with pytest.raises(BadReply):
        book.trade_snapshots(reply)


@pytest.mark.parametrize(
    ("word", "text", "reason"),
    [
        ("REJECTED", "RMS:Margin Exceeds, Required:1000, Available:0", RejectReason.MARGIN),
        ("REJECTED", "RMS: EDIS TPIN not authorised", RejectReason.AUTHORISATION),
        ("REJECTED", "a text nobody has seen before", RejectReason.OTHER),
        ("REJECTED", None, RejectReason.OTHER),
        ("CANCELLED", "Order price is outside the LPP range", RejectReason.BAND),
        ("EXPIRED", "Order price is outside the LPP range", RejectReason.BAND),
        ("CANCELLED", "by the user", None),
        ("TRADED", "circuit", None),
        ("PENDING", "circuit", None),
    ],
)
def test_why_an_order_of_the_book_was_refused(
    word: str, text: str | None, reason: RejectReason | None
) -> None:
    snapshot = order(orderStatus=word, omsErrorDescription=text)
    assert snapshot.reject_reason is reason
    assert snapshot.reject_class is (reason and reason.reject_class)


def test_what_was_not_asked_for_is_no_quote() -> None:
    assert quoted(QUOTED, security_id="7") == quoted({}) == {}


@pytest.mark.parametrize(
    "row", [{"last_price": 1}, QUOTED | {"last_price": "1"}, QUOTED | {"last_trade_time": "noon"}, 5]
)
def test_a_quote_of_another_shape_is_refused(row: Any) -> None:
    with pytest.raises(BadReply):
        quoted(row)


def test_the_documented_profile_says_who() -> None:
    assert book.client_id(json.loads((REST / "profile.json").read_text())) == "1100003626"
