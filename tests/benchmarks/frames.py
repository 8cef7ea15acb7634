"""Frames as Kite and Dhan write them, seeded: random order, sparse tokens, never one repeated frame."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from marketdata.brokers.dhan import decode as dhan
from marketdata.domain.prices import UNITS_PER_RUPEE

FULL, LTP = 184, 8
PRICE = 1500
"""Rupees around which every price stays; the highest stop is at ``STOP``."""
STOP = 1300
AHEAD_S = 5
"""How far ahead stamps are, so that frames made beforehand are fresh for so long and ten seconds more."""


@dataclass(frozen=True)
class Universe:
    """Instruments with tokens as sparse as real ones."""

    symbols: tuple[str, ...]
    tokens: tuple[int, ...]

    @classmethod
    def of(cls, count: int, seed: int = 1) -> Universe:
        numbers = random.Random(seed).sample(range(1_000, 250_000), count)
        symbols = tuple(f"NSE:BENCH{number}" for number in range(count))
        return cls(symbols, tuple(number << 8 | 1 for number in numbers))


def kite_frame(
    rng: random.Random, tokens: Sequence[int], armed: int, now: int, paise: dict[int, int] | None = None
) -> bytes:
    """Return one frame with a packet of each token, shuffled.

    Args:
        rng: Draws order and prices.
        tokens: Of those with an index below ``armed`` full packets come, of the others LTP packets.
        armed: How many are armed.
        now: Exchange time, UNIX seconds.
        paise: Prices that are not to be drawn, by token.

    """
    packets = []
    for index, token in enumerate(tokens):
        price = (paise or {}).get(token, PRICE * 100 + rng.randrange(-500, 500))
        packets.append(_full(token, price, now) if index < armed else struct.pack(">HII", LTP, token, price))
    rng.shuffle(packets)
    return len(packets).to_bytes(2, "big") + b"".join(packets)


def kite_frames(
    rng: random.Random, universe: Universe, armed: int, size: int, count: int, now: int
) -> Iterator[bytes]:
    """Yield frames of ``size`` packets that go round through all instruments."""
    order = list(range(len(universe.tokens)))
    for number in range(count):
        if number * size % len(order) < size:
            rng.shuffle(order)
        start = number * size % len(order)
        chosen = (order[start:] + order[:start])[:size]
        full = [universe.tokens[index] for index in chosen if index < armed]
        others = [universe.tokens[index] for index in chosen if index >= armed]
        yield kite_frame(rng, [*full, *others], len(full), now)


def dhan_packet(security: int, rupees: float, now: int) -> bytes:
    """Return one full packet of a share on NSE; Dhan writes India's wall clock."""
    size = dhan.SIZES[dhan.FULL]
    head = struct.pack("<BHBI", dhan.FULL, size, dhan.SEGMENTS["NSE_EQ"], security)
    return (head + struct.pack("<f2xI", rupees, now + dhan.IST_S)).ljust(size, b"\0")


def dhan_packets(rng: random.Random, universe: Universe, count: int, now: int) -> Iterator[bytes]:
    """Yield packets of instruments at random, one a message."""
    for _ in range(count):
        security = rng.choice(universe.tokens) >> 8
        yield dhan_packet(security, PRICE + rng.randrange(-100, 100) * 0.05, now)


def stop_units(number: int) -> int:
    """Return the stop of an instrument's strategy of that number, a paisa below the one before."""
    return STOP * UNITS_PER_RUPEE - number * (UNITS_PER_RUPEE // 100)


def _full(token: int, price: int, now: int) -> bytes:
    packet = bytearray(2 + FULL)
    struct.pack_into(">HII", packet, 0, FULL, token, price)
    struct.pack_into(">I", packet, 62, now)
    return bytes(packet)
