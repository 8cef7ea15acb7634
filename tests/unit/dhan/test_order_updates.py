"""Order alerts: hints, read in whatever case their keys are written."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.brokers.dhan.order_updates import login_message, order_update
from marketdata.domain.errors import BadFrame
from marketdata.domain.orders import OrderSnapshot, OrderStatus, Side
from marketdata.instruments import InstrumentBook
from marketdata.ports import BrokerConfig
from marketdata.secret import Secret

DATA = Path(__file__).parents[2] / "data" / "dhan" / "order_feed"
BOOK = InstrumentBook.of("dhan", [("NSE", "IDEA", "NSE_EQ:14366", Decimal("0.01"), 1, None)])


def alert(**changes: Any) -> str:
    message = json.loads((DATA / "camel_case.json").read_text())
    message["Data"].update(changes)
    return json.dumps(message)


def read(message: str | bytes) -> OrderSnapshot:
    order = order_update(message, BOOK)
    assert order is not None
    return order


@pytest.mark.parametrize("name", ["documented", "camel_case"])
def test_the_case_of_the_keys_does_not_matter(name: str) -> None:
    assert read((DATA / f"{name}.json").read_bytes()) == OrderSnapshot(
        order_id="1124091136546", tag="", symbol="NSE:IDEA", side=Side.BUY, product="CNC", quantity=1,
        filled_quantity=0, status=OrderStatus.CANCELLED, status_text="CANCELLED", average_price=None,
        message="CONFIRMED",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("word", "text", "status"),
    [
        ("Pending", "PENDING", OrderStatus.LIVE),
        ("TRADED", "TRADED", OrderStatus.FILLED),
        ("Part Traded", "PART_TRADED", OrderStatus.LIVE),
        ("rejected", "REJECTED", OrderStatus.REJECTED),
        ("Something new", "SOMETHING_NEW", OrderStatus.LIVE),
    ],
)
def test_status_words(word: str, text: str, status: OrderStatus) -> None:
    order = read(alert(status=word))
    assert (order.status_text, order.status) == (text, status)


def test_our_tag_and_what_was_filled() -> None:
    order = read(
        alert(correlationId="ABC123", tradedQty=7.0, avgTradedPrice=13.05, quantity=10, txnType="S", product="I")
    )  # fmt: skip
    assert (order.tag, order.filled_quantity, order.quantity) == ("ABC123", 7, 10)
    assert (order.average_price, order.side, order.product) == (Decimal("13.05"), Side.SELL, "MIS")


def test_an_order_in_something_the_feed_does_not_carry_keeps_the_brokers_name() -> None:
    order = read(alert(securityId="1", segment="D", symbol="NIFTY-Nov2026-FUT"))
    assert order.symbol == "NFO:NIFTY-Nov2026-FUT"


@pytest.mark.parametrize(
    "message", ['{"Type": "welcome"}', "{}", '{"Type": "error", "Data": {"message": "no"}}']
)
def test_other_messages_are_about_no_order(message: str) -> None:
    assert order_update(message, BOOK) is None


@pytest.mark.parametrize(
    "message",
    [
        "no json", "[]", b"\xff{", '{"Type": "order_alert"}', '{"Type": "order_alert", "Data": []}',
        alert(quantity="many"), alert(tradedQty=1.5), alert(tradedQty=None), alert(quantity=float("inf")),
        alert(avgTradedPrice=1e300), alert(txnType="X"), alert(exchange="NYSE"), alert(orderNo=5),
        alert(status=""), alert(correlationId=3),
    ],
)  # fmt: skip
def test_one_that_is_damaged_says_so(message: str | bytes) -> None:
    with pytest.raises(BadFrame, match="order update"):
        order_update(message, BOOK)


fields = st.dictionaries(
    st.sampled_from(list(json.loads((DATA / "camel_case.json").read_text())["Data"])),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers()),
)


@given(fields)
def test_whatever_the_fields_hold(changes: dict[str, Any]) -> None:
    try:
        order_update(alert(**changes), BOOK)
    except BadFrame:
        pass


def test_the_login_is_as_documented() -> None:
    config = BrokerConfig(1, "dhan", "1000000001", "", access_token=Secret("a.b.c"))
    assert json.loads(login_message(config)) == {
        "LoginReq": {"MsgCode": 42, "ClientId": "1000000001", "Token": "a.b.c"},
        "UserType": "SELF",
    }
