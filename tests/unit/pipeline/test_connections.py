"""Several connections of one account: who goes where, and how the whole is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.connections import Connections, merged, place
from marketdata.domain.feed import NO_LISTENER, ListenerState
from marketdata.domain.ticks import FeedMode
from marketdata.ports import BrokerConfig
from marketdata.secret import Secret
from marketdata.wanted import FeedTokens
from tests.fakes.clock import HandClock
from tests.fakes.feed import FakeAdapter, FakeListener

NAMES = [f"NSE:X{n}" for n in range(30)]
TOKENS = FeedTokens({name: str(n) for n, name in enumerate(NAMES)}, {})
CONFIG = BrokerConfig(account_id=1, broker="zerodha", client_id="C", api_key="K", access_token=Secret("T"))


@given(
    st.lists(st.sampled_from(NAMES), unique=True),
    st.dictionaries(st.integers(0, 4), st.integers(0, 5)),
    st.integers(1, 5),
)
def test_each_has_a_place_and_no_connection_is_opened_while_there_is_room(
    new: list[str], used: dict[int, int], capacity: int
) -> None:
    used = {number: min(count, capacity) for number, count in used.items()}
    found = place(new, used, capacity)
    counts = Counter(used) + Counter(found.values())
    assert list(found) == new
    assert all(count <= capacity for count in counts.values())
    opened = set(found.values()) - used.keys()
    room = sum(capacity - count for count in used.values())
    assert len(opened) == max(0, -(-(len(new) - room) // capacity))


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    FakeListener.all, FakeListener.refuses = [], set()
    yield
    FakeListener.all, FakeListener.refuses = [], set()


class Whole:
    """A feed of connections of three instruments each, and what it told."""

    def __init__(self) -> None:
        adapter: Any = FakeAdapter()
        self.feed = Connections(1, CONFIG, adapter, tokens=TOKENS, clock=HandClock())
        self.told: list[str] = []
        self.feed.register_callback("on_connect", lambda: self.told.append("connect"))
        self.feed.register_callback("on_disconnect", lambda _: self.told.append("disconnect"))

    def open(self) -> list[list[str]]:
        return [sorted(one.modes) for one in FakeListener.all if one.is_connected]

    def lose(self, number: int) -> None:
        listener = FakeListener.all[number]
        listener.is_connected = False
        listener.emit("on_disconnect", None)

    def find(self, number: int) -> None:
        listener = FakeListener.all[number]
        listener.is_connected = True
        listener.emit("on_connect")


@pytest.fixture
async def whole() -> Whole:
    started = Whole()
    await started.feed.subscribe(NAMES[:7])
    await started.feed.connect()
    return started


async def test_instruments_are_spread_and_stay_where_they_are(whole: Whole) -> None:
    assert whole.open() == [NAMES[:3], NAMES[3:6], NAMES[6:7]]
    await whole.feed.unsubscribe([NAMES[0], NAMES[4]])
    assert whole.open() == [NAMES[1:3], [NAMES[3], NAMES[5]], NAMES[6:7]]
    await whole.feed.subscribe(NAMES[10:13])
    assert whole.open() == [
        [NAMES[1], NAMES[10], NAMES[2]],
        [NAMES[11], NAMES[3], NAMES[5]],
        [NAMES[12], NAMES[6]],
    ]
    await whole.feed.subscribe([NAMES[6]], FeedMode.LTP)
    assert FakeListener.all[2].modes[NAMES[6]] is FeedMode.LTP


async def test_one_without_instruments_is_closed_but_for_the_first(whole: Whole) -> None:
    await whole.feed.unsubscribe([*NAMES[:3], NAMES[6]])
    assert whole.open() == [[], NAMES[3:6]]
    await whole.feed.subscribe(NAMES[:5])
    assert whole.open() == [NAMES[:3], NAMES[3:6]]
    await whole.feed.subscribe(NAMES[20:21])
    assert whole.open() == [NAMES[:3], NAMES[3:6], NAMES[20:21]]


async def test_it_is_connected_when_all_are_and_tells_it_once(whole: Whole) -> None:
    assert whole.told == ["connect"]
    whole.lose(1)
    whole.lose(2)
    assert not whole.feed.is_connected
    whole.find(2)
    assert whole.told == ["connect", "disconnect"]
    whole.find(1)
    assert whole.told == ["connect", "disconnect", "connect"]
    await whole.feed.disconnect()
    assert whole.told[3:] == ["disconnect"]


async def test_one_more_connection_is_no_news_unless_it_fails(whole: Whole) -> None:
    await whole.feed.subscribe(NAMES[7:10])
    assert len(whole.open()) == 4
    assert whole.told == ["connect"]
    FakeListener.refuses = {CONFIG.account_id}
    await whole.feed.subscribe(NAMES[10:13])
    assert whole.told == ["connect", "disconnect"]
    await whole.feed.unsubscribe(NAMES[10:13])  # the one that failed goes, and all the others are there
    assert whole.told == ["connect", "disconnect", "connect"]


def test_the_worst_state_and_the_sums_are_told() -> None:
    sound = replace(
        NO_LISTENER, state=ListenerState.CONNECTED, is_connected=True, is_ticking=True, subscription_count=2,
        subscribed_symbols=("NSE:A", "NSE:C"), last_frame_age_s=0.5, last_tick_age_s=1.0,
    )  # fmt: skip
    away = replace(
        NO_LISTENER, state=ListenerState.CONNECTING, subscription_count=1, subscribed_symbols=("NSE:B",),
        reconnect_attempts=3, last_frame_age_s=20.0, last_tick_age_s=30.0, last_error="cut",
    )  # fmt: skip
    whole = merged([sound, away])
    assert whole.state is ListenerState.CONNECTING
    assert (whole.is_connected, whole.is_ticking) == (False, False)
    assert whole.subscribed_symbols == ("NSE:A", "NSE:B", "NSE:C")
    assert (whole.subscription_count, whole.reconnect_attempts) == (3, 3)
    assert (whole.last_frame_age_s, whole.last_tick_age_s) == (20.0, 1.0)
    assert whole.last_error == "cut"
    assert merged([sound]) == sound
