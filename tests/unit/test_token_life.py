from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from marketdata.brokers.zerodha.login import tokens_die
from marketdata.domain.sessions import IST
from marketdata.logins import moment_text, token_life
from marketdata.models import BrokerAccount

NOW = datetime(2026, 11, 23, 9, 15, tzinfo=IST)


@pytest.mark.parametrize(
    ("now", "dies"),
    [
        (datetime(2026, 11, 23, 9, 15, tzinfo=IST), datetime(2026, 11, 24, 6, tzinfo=IST)),
        (datetime(2026, 11, 23, 23, 59, tzinfo=IST), datetime(2026, 11, 24, 6, tzinfo=IST)),
        (datetime(2026, 11, 23, 20, 0, tzinfo=UTC), datetime(2026, 11, 24, 6, tzinfo=IST)),  # 01:30 there
        (datetime(2026, 11, 24, 5, 59, tzinfo=IST), datetime(2026, 11, 24, 6, tzinfo=IST)),
        (datetime(2026, 11, 24, 6, 0, tzinfo=IST), datetime(2026, 11, 25, 6, tzinfo=IST)),
        (datetime(2026, 12, 31, 12, 0, tzinfo=IST), datetime(2027, 1, 1, 6, tzinfo=IST)),
    ],
)
def test_kite_s_tokens_die_at_the_next_six_in_the_morning(now: datetime, dies: datetime) -> None:
    assert tokens_die(now) == dies


@pytest.mark.parametrize(
    ("token", "expires_at", "text", "holds"),
    [
        ("", None, "Not logged in", False),
        ("", NOW + timedelta(hours=1), "Not logged in", False),
        ("t", None, "Logged in, not known until when", True),
        ("t", NOW + timedelta(minutes=30), "Logged in until 09:45 IST", True),
        ("t", NOW + timedelta(hours=21), "Logged in until 06:15 IST, 24 Nov", True),
        ("t", NOW, "Login expired at 09:15 IST", False),
        ("t", NOW - timedelta(days=1), "Login expired at 09:15 IST, 22 Nov", False),
    ],
)
def test_how_a_token_is(token: str, expires_at: datetime | None, text: str, holds: bool) -> None:
    account = BrokerAccount(access_token=token, token_expires_at=expires_at)

    life = token_life(account, NOW)
    assert (life.text, life.holds) == (text, holds)


def test_moments_are_india_s_whatever_zone_they_come_in() -> None:
    assert moment_text(datetime(2026, 11, 23, 20, 0, tzinfo=UTC), NOW) == "01:30 IST, 24 Nov"
