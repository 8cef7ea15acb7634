"""Frames in, exact ticks out; the SDK's own parser is the second opinion."""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marketdata.brokers.dhan import decode as codec
from marketdata.brokers.dhan.decode import Decoded, OpenInterest, PreviousClose, decode
from marketdata.domain.errors import BadFrame
from marketdata.domain.prices import to_rupees, to_units
from marketdata.domain.ticks import Tick
from tests.support import dhan_frames as frames
from tests.support.dhan_frames import INFY, IST, NSE_CURRENCY, SBIN, Security

NOW = 1_795_000_000.5
TRADED = 1_795_000_000 - 2
USD = (NSE_CURRENCY, 1156)
NIFTY = (frames.INDICES, 13)


class Every(dict[Security, str]):
    """Names every security there could be."""

    def get(self, key: Security, default: Any = None) -> str:
        return f"{key[0]}:{key[1]}"


def decoded(data: bytes, steps: dict[Security, str] | None = None) -> Decoded:
    units = {security: to_units(Decimal(size)) for security, size in (steps or {}).items()}
    return decode(data, received_at=NOW, symbols=Every(), steps=units)


def only(data: bytes, steps: dict[Security, str] | None = None) -> Tick:
    (tick,) = decoded(data, steps).ticks
    return tick


def rupees(data: bytes, steps: dict[Security, str] | None = None) -> Decimal:
    return to_rupees(only(data, steps).price)


# --- what a packet says ------------------------------------------------------------------


def test_a_full_packet() -> None:
    tick = only(frames.full(INFY, 1501.35, TRADED + IST, 1501.3, 1501.4))
    assert tick == Tick(
        "1:1594", to_units(Decimal("1501.35")), NOW, TRADED, bid=to_units(Decimal("1501.3")),
        ask=to_units(Decimal("1501.4")), is_trade_time=True,
    )  # fmt: skip


@pytest.mark.parametrize("make", [frames.ticker, frames.quote])
def test_a_packet_without_depth(make: Any) -> None:
    tick = only(make(INFY, 1501.35, TRADED + IST))
    assert (to_rupees(tick.price), tick.exchange_time) == (Decimal("1501.35"), TRADED)
    assert tick.bid is tick.ask is None


def test_the_depth_packet_of_version_one_has_no_time() -> None:
    level = struct.pack("<IIHHff", 1, 2, 3, 4, 99.95, 100.05)
    tick = only(frames.packet(codec.DEPTH, INFY, struct.pack("<f", 100.0) + level * 5))
    assert tick.exchange_time is None
    assert tick.is_first
    assert (tick.bid, tick.ask) == (to_units(Decimal("99.95")), to_units(Decimal("100.05")))


def test_what_is_told_beside_prices() -> None:
    data = (
        frames.packet(codec.OPEN_INTEREST, (2, 7), struct.pack("<I", 12_345))
        + frames.packet(codec.PREVIOUS_CLOSE, NIFTY, struct.pack("<fI", 24_512.65, 3))
        + frames.packet(codec.MARKET_STATUS, INFY)
    )
    assert decoded(data).notes == [
        OpenInterest((2, 7), 12_345),
        PreviousClose(NIFTY, to_units(Decimal("24512.65")), 3),
        codec.MarketStatus(1),
    ]


@pytest.mark.parametrize("reason", [800, 805, 807, 814, 65_535])
def test_a_disconnect_carries_its_reason_and_costs_no_tick(reason: int) -> None:
    found = decoded(frames.ticker(INFY, 100.0, 1) + frames.disconnect(reason))
    assert found.disconnect == reason
    assert len(found.ticks) == 1
    assert decoded(frames.ticker(INFY, 100.0)).disconnect is None


def test_one_frame_holds_packets_of_all_kinds() -> None:
    data = (
        frames.packet(codec.HEARTBEAT, INFY)
        + frames.full(INFY, 100.0, 1)
        + frames.packet(codec.INDEX, NIFTY, b"whatever")
        + frames.packet(99, INFY, b"?" * 30)
        + frames.ticker(SBIN, 800.0, 1)
        + frames.quote(INFY, 101.0, 1)
    )
    found = decoded(data)
    assert [tick.symbol for tick in found.ticks] == ["1:1594", "1:3045", "1:1594"]
    assert found.skipped == 1


def test_a_security_nobody_asked_for_is_passed_over() -> None:
    found = decode(frames.ticker(INFY, 100.0), received_at=NOW, symbols={}, steps={})
    assert found == Decoded([], [], None, 0)


def test_the_same_id_in_another_segment_is_another_instrument() -> None:
    symbols = {INFY: "NSE:INFY"}
    data = frames.ticker((NSE_CURRENCY, INFY[1]), 84.0) + frames.ticker(INFY, 1500.0)
    assert [t.symbol for t in decode(data, received_at=NOW, symbols=symbols, steps={}).ticks] == ["NSE:INFY"]


# --- prices ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("security", "written", "step", "price"),
    [
        (INFY, 1501.35, "0.05", "1501.35"),
        (INFY, 1501.35, None, "1501.35"),
        (INFY, 150_000.05, "0.05", "150000.05"),  # the float32 says .046875
        (INFY, 150_005.0, "5", "150005"),
        (USD, 84.3525, "0.0025", "84.3525"),
        (USD, 83.1275, None, "83.1275"),
        (NIFTY, 84_512.63, "0.05", "84512.63"),  # indices are not traded: no tick binds them
        (INFY, 1501.35, "0.10", "1501.35"),  # the list is wrong about the tick: 1501.40 would be worse
        (INFY, 0.05, "0.05", "0.05"),
        (INFY, 0.0, "0.05", "0"),
        (INFY, -0.01, "0.05", "-0.01"),
    ],
)
def test_prices_are_exact(security: Security, written: float, step: str | None, price: str) -> None:
    steps = {security: step} if step else {}
    assert rupees(frames.ticker(security, written), steps) == Decimal(price)


@given(st.sampled_from(["0.01", "0.05", "0.1", "0.25", "1"]), st.integers(1, 10**7))
def test_every_price_on_the_tick_survives_the_float32(step: str, multiple: int) -> None:
    # Up to the price where a float32 no longer tells two neighbours apart.
    price = Decimal(step) * multiple
    if price <= Decimal(step) * 2**22:
        assert rupees(frames.ticker(INFY, float(price)), {INFY: step}) == price


@given(st.integers(1, 4_000_000))
def test_every_currency_price_survives(multiple: int) -> None:
    price = Decimal("0.0001") * multiple
    assert rupees(frames.ticker(USD, float(price))) == price
    on_tick = Decimal("0.0025") * multiple
    assert rupees(frames.ticker(USD, float(on_tick)), {USD: "0.0025"}) == on_tick


@pytest.mark.parametrize("price", [math.inf, -math.inf, math.nan, 3e38, 1e12])
def test_an_impossible_price_is_skipped_and_the_next_is_not(price: float) -> None:
    found = decoded(frames.ticker(INFY, price) + frames.ticker(SBIN, 800.0))
    assert [tick.symbol for tick in found.ticks] == ["1:3045"]
    assert found.skipped == 1


def test_a_bid_below_zero_is_no_bid() -> None:
    tick = only(frames.full(INFY, 100.0, 1, bid=-0.01, ask=math.nan))
    assert (tick.bid, tick.ask) == (0, 0)


# --- time --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "time"),
    [
        (int(NOW) + IST, int(NOW)),
        (int(NOW) + IST - 7200, int(NOW) - 7200),
        (int(NOW), int(NOW)),  # should Dhan ever write UTC, it must not look 5.5 hours old
        (int(NOW) - 10, int(NOW) - 10),
        (int(NOW) - 60, int(NOW) - 60 - IST),
        (0, None),
        (IST, None),
    ],
)
def test_the_time_is_indias_wall_clock(written: int, time: int | None) -> None:
    tick = only(frames.ticker(INFY, 100.0, written))
    assert tick.exchange_time == time
    assert tick.is_first is (time is None)
    assert tick.is_trade_time


# --- damage ------------------------------------------------------------------------------


def test_a_last_packet_needs_no_length() -> None:
    data = bytearray(frames.ticker(INFY, 100.0, 1))
    data[1:3] = b"\x00\x00"
    assert rupees(bytes(data)) == 100


@pytest.mark.parametrize("length", [0, 7, 15, 33, 65_535])
def test_a_length_that_cannot_be_is_bad(length: int) -> None:
    data = bytearray(frames.ticker(INFY, 100.0) + frames.ticker(SBIN, 1.0))
    data[1:3] = struct.pack("<H", length)
    with pytest.raises(BadFrame):
        decoded(bytes(data))


@pytest.mark.parametrize("cut", range(162 + 16))
def test_a_frame_cut_anywhere_is_bad(cut: int) -> None:
    if cut == codec.SIZES[codec.FULL]:
        return  # between the two packets
    with pytest.raises(BadFrame):
        decoded((frames.full(INFY, 100.0, 1) + frames.ticker(SBIN, 1.0))[:cut])


@given(st.binary(max_size=400))
@example(b"\xff" * 8)
def test_any_bytes_give_ticks_or_a_bad_frame(data: bytes) -> None:
    try:
        found = decoded(data)
    except BadFrame:
        return
    assert all(abs(tick.price) < 2**63 for tick in found.ticks)
