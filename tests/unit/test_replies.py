"""Numbers of a broker's answer: a price, or a refusal to guess."""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketdata.domain.errors import BadReply
from marketdata.replies import price


@pytest.mark.parametrize(
    ("value", "exact"), [(1499.95, "1499.95"), (83.1275, "83.1275"), (7, "7"), (0.1, "0.1")]
)
def test_a_price_is_the_brokers_own_text(value, exact):
    assert price({"price": value}, "price") == Decimal(exact)


@pytest.mark.parametrize("value", [1e300, float("nan"), float("inf"), True, None, "1499.95", [1]])
def test_what_is_no_price_is_refused_by_name(value):
    with pytest.raises(BadReply, match="price"):
        price({"price": value}, "price")
