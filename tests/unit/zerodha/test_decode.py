"""Frames in, exact ticks out; the SDK's own parser is the second opinion."""

from __future__ import annotations

import base64
import json
import struct
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kiteconnect import KiteTicker

from marketdata.brokers.zerodha.decode import decode
from marketdata.domain.errors import BadFrame
from marketdata.domain.prices import to_rupees
from marketdata.domain.ticks import Tick

FRAMES = Path(__file__).parents[2] / "data" / "zerodha" / "frames"
INFY = 408065
SEGMENTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12)
DIVISORS = {3: 10_000_000, 6: 10_000, 12: 10_000}
ORACLE = KiteTicker("key", "token")


def frame(*packets: bytes) -> bytes:
    return struct.pack(">H", len(packets)) + b"".join(struct.pack(">H", len(p)) + p for p in packets)


def ticks_of(data: bytes, symbols: dict[int, str] | None = None) -> list[Tick]:
    return decode(data, received_at=1.5, symbols={INFY: "NSE:INFY"} if symbols is None else symbols).ticks


def recorded(name: str) -> tuple[bytes, Any]:
    packet = base64.b64decode((FRAMES / f"{name}.packet").read_text())
    return packet, json.loads((FRAMES / f"{name}.json").read_text())


def test_the_recorded_quote_packet() -> None:
    packet, expected = recorded("ticker_quote")
    (tick,) = ticks_of(frame(packet))
    assert tick == Tick("NSE:INFY", 15_731_500_000, 1.5)
    assert to_rupees(tick.price) == Decimal(str(expected["last_price"]))


def test_the_recorded_full_packet() -> None:
    packet, expected = recorded("ticker_full")
    (tick,) = ticks_of(frame(packet))
    assert tick.exchange_time == 1625461887 == datetime.fromisoformat(expected["timestamp"]).timestamp()
    assert to_rupees(tick.price) == Decimal(str(expected["last_price"])) == Decimal("1573.7")
    assert tick.bid is not None
    assert tick.ask is not None
    assert to_rupees(tick.bid) == Decimal(str(expected["depth"]["buy"][0]["price"]))
    assert to_rupees(tick.ask) == Decimal(str(expected["depth"]["sell"][0]["price"]))


@pytest.mark.parametrize(
    ("segment", "raw", "rupees"),
    [
        (1, 150005, "1500.05"),
        (3, 833_525_000, "83.3525"),
        (6, 833_525, "83.3525"),
        (12, 1_234_567, "123.4567"),
    ],
)
def test_each_segment_has_its_divisor(segment: int, raw: int, rupees: str) -> None:
    token = 1000 << 8 | segment
    (tick,) = ticks_of(frame(struct.pack(">II", token, raw)), {token: "X:Y"})
    assert to_rupees(tick.price) == Decimal(rupees)


def test_one_frame_mixes_lengths_and_skips_what_is_not_documented() -> None:
    full, _ = recorded("ticker_full")
    ltp = struct.pack(">II", INFY, 100)
    decoded = decode(frame(ltp, b"x" * 60, full, b"", ltp), received_at=1.5, symbols={INFY: "NSE:INFY"})
    assert [tick.exchange_time for tick in decoded.ticks] == [None, 1625461887, None]
    assert decoded.skipped == 2


def test_a_token_nobody_asked_for_is_passed_over() -> None:
    assert decode(frame(struct.pack(">II", 7, 100)), received_at=0, symbols={}) == ([], 0)


def test_a_heartbeat_holds_nothing() -> None:
    assert ticks_of(b"\x00") == []


@pytest.mark.parametrize(
    "data", [b"", b"\x00\x01", b"\x00\x01\x00", b"\x00\x01\x00\x08abc", b"\x00\x02\x00\x01a"]
)
def test_a_frame_cut_short_is_bad(data: bytes) -> None:
    with pytest.raises(BadFrame):
        ticks_of(data)


@pytest.mark.parametrize("cut", range(2, 186))
def test_the_recorded_frame_cut_anywhere_is_bad(cut: int) -> None:
    packet, _ = recorded("ticker_full")
    with pytest.raises(BadFrame):
        ticks_of(frame(packet)[:cut])


@given(st.binary(max_size=400))
@example(b"\xff\xff")
def test_any_bytes_give_ticks_or_a_bad_frame(data: bytes) -> None:
    try:
        decoded = decode(data, received_at=0, symbols=EverySymbol())
    except BadFrame:
        return
    assert all(tick.price >= 0 for tick in decoded.ticks)


class EverySymbol(dict[int, str]):
    def get(self, key: int, default: Any = None) -> str:
        return str(key)


packets = st.builds(
    lambda serial, segment, body: struct.pack(">I", serial << 8 | segment) + body,
    st.integers(0, 2**24 - 1),
    st.sampled_from(SEGMENTS),
    st.sampled_from([8, 28, 32, 44, 184]).flatmap(lambda n: st.binary(min_size=n - 4, max_size=n - 4)),
)


@given(st.lists(packets, max_size=6))
def test_the_sdk_reads_the_same(bodies: list[bytes]) -> None:
    data = frame(*bodies)
    ours = decode(data, received_at=0, symbols=EverySymbol()).ticks
    theirs = ORACLE._parse_binary(data)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert_same(mine, other)


def assert_same(mine: Tick, other: dict[str, Any]) -> None:
    assert mine.symbol == str(other["instrument_token"])
    assert price(mine.price, other) == other["last_price"]
    time = other.get("exchange_timestamp")
    assert mine.exchange_time == (int(time.timestamp()) or None if time else None)
    if depth := other.get("depth"):
        assert mine.bid is not None
        assert mine.ask is not None
        assert price(mine.bid, other) == depth["buy"][0]["price"]
        assert price(mine.ask, other) == depth["sell"][0]["price"]
    else:
        assert mine.bid is mine.ask is None


def price(units: int, other: dict[str, Any]) -> float:
    # Back to the integer of the wire, then divided as the SDK divides: equal to the last bit.
    divisor = DIVISORS.get(other["instrument_token"] & 0xFF, 100)
    raw, rest = divmod(units * divisor, 10_000_000)
    assert rest == 0
    return raw / float(divisor)
