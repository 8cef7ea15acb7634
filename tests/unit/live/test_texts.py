from __future__ import annotations

from decimal import Decimal

import pytest

from strategies.live.texts import decimals, price_text
from strategies.templatetags.live import inr


@pytest.mark.parametrize(
    ("price", "tick", "text"),
    [
        ("1499.95", "0.05", "1499.95"),
        ("1500", "0.05", "1500.00"),
        ("1500.0000000", "0.0500000", "1500.00"),
        ("83.1", "0.0025", "83.1000"),
        ("121000", "1", "121000.00"),
        ("0.0025", "0.05", "0.0025"),
    ],
)
def test_a_price_shows_the_decimals_of_its_tick_and_is_never_rounded(
    price: str, tick: str, text: str
) -> None:
    assert price_text(Decimal(price), Decimal(tick)) == text


def test_no_price_is_no_text() -> None:
    assert price_text(None, Decimal("0.05")) is None
    assert decimals(Decimal("0.0025")) == 4


@pytest.mark.parametrize(
    ("price", "places", "shown"),
    [
        ("12345678.5", 2, "1,23,45,678.50"),
        ("121344.5", 2, "1,21,344.50"),
        ("1499.95", 2, "1,499.95"),
        ("999.95", 2, "999.95"),
        ("83.1", 4, "83.1000"),
        (None, 2, "–"),
    ],
)
def test_templates_group_by_lakh_and_crore(price: str | None, places: int, shown: str) -> None:
    assert inr(price, places) == shown
