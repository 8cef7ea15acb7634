"""Whatever bytes and texts a broker sends: ticks, or one typed error, and nothing left behind."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from marketdata.brokers import registry
from marketdata.brokers.dhan.decode import SIZES
from marketdata.domain.errors import BadFrame
from marketdata.domain.ticks import Tick
from marketdata.instruments import InstrumentBook
from marketdata.listener import MarketDataListener
from marketdata.ports import BrokerConfig
from marketdata.secret import Secret
from tests.support import dhan_frames

FRAMES = 100_000


class EverySymbol(dict[Any, str]):
    """Names every token there could be."""

    def get(self, key: Any, default: Any = None) -> str:
        return "NSE:INFY"


def kite_frame(rng: random.Random) -> bytes:
    lengths = rng.choices((8, 28, 32, 44, 184, 60), k=rng.randint(1, 3))
    packets = [struct.pack(">H", length) + rng.randbytes(length) for length in lengths]
    return struct.pack(">H", len(packets)) + b"".join(packets)


def dhan_frame(rng: random.Random) -> bytes:
    kinds = rng.choices((*SIZES, 99), k=rng.randint(1, 3))
    return b"".join(
        dhan_frames.packet(kind, (rng.choice((0, 1, 2, 3, 4, 5, 7, 8)), 1594), rng.randbytes(SIZES.get(kind, 30) - 8))
        for kind in kinds
    )  # fmt: skip


MAKERS: dict[str, Callable[[random.Random], bytes]] = {"zerodha": kite_frame, "dhan": dhan_frame}


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return one frame in ten cut and spoilt."""
    return data if rng.random() > 0.1 else data[: rng.randrange(len(data))] + rng.randbytes(3)


@cache
def a_listener(broker: str) -> MarketDataListener:
    config = BrokerConfig(1, broker, "CT0001", "key", Secret("a-secret"), Secret("a-token"))
    listener = registry.adapter(broker).listener_class(1, config, tokens=InstrumentBook.of(broker, []))
    listener.handshake()
    return listener


def ticks_of(broker: str, data: bytes) -> list[Tick] | None:
    """Return the ticks of a frame; None when it is malformed."""
    try:
        return list(a_listener(broker).decode(data, received_at=1.5e9, symbols=EverySymbol()))
    except BadFrame:
        return None


brokers = pytest.mark.parametrize("broker", registry.BROKERS)
quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@brokers
@quick
@given(st.binary(max_size=400))
@example(b"")
def test_any_bytes_give_ticks_or_a_bad_frame(broker: str, data: bytes) -> None:
    for tick in ticks_of(broker, data) or ():
        assert abs(tick.price) < 2**63


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
messages = st.dictionaries(
    st.sampled_from(["type", "data", "Type", "Data"]),
    values | st.sampled_from(["order", "error", "order_alert"]),
).map(json.dumps)


@brokers
@quick
@given(messages | values.map(json.dumps) | st.text(max_size=50))
@example("[" * 100_000)
def test_any_text_is_read_or_a_bad_frame(broker: str, text: str) -> None:
    try:
        a_listener(broker).read_text(text)
    except BadFrame:
        pass


@brokers
def test_a_hundred_thousand_frames_leave_nothing_behind(broker: str) -> None:
    rng, make = random.Random(20_261_123), MAKERS[broker]

    def read(count: int) -> int:
        return sum(len(ticks_of(broker, damaged(make(rng), rng)) or ()) for _ in range(count))

    read(5_000)  # caches fill; what comes after must leave nothing
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    ticks = read(FRAMES - 5_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert ticks > FRAMES // 4
    assert grown < 20_000
