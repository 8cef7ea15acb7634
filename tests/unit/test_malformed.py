"""Twenty malformed messages a minute are borne, the next ends the connection."""

from __future__ import annotations

import pytest

from marketdata.domain.errors import BrokerUnavailable
from marketdata.malformed import Malformed


def test_twenty_within_a_minute_are_borne_and_one_more_is_not() -> None:
    malformed = Malformed()
    for second in range(20):
        malformed.count(second)
    with pytest.raises(BrokerUnavailable, match="more than 20"):
        malformed.count(59)
    assert malformed.total == 21


def test_a_slow_drip_is_borne_for_ever() -> None:
    malformed = Malformed()
    for number in range(200):
        malformed.count(number * 3.1)
    assert malformed.total == 200


def test_after_the_connection_ended_the_count_starts_anew() -> None:
    malformed = Malformed()
    with pytest.raises(BrokerUnavailable):
        list(map(malformed.count, [0] * 21))
    malformed.count(1)
    assert malformed.total == 22
