"""Frames as Kite and Dhan write them, seeded: random order, sparse tokens, never one repeated frame."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

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
    """Instruments in four columns: names, Kite's tokens, the price around which each stays, and its highest stop (paise)."""

    symbols: tuple[str, ...]
    tokens: tuple[int, ...]
    paise: tuple[int, ...]
    stops: tuple[int, ...]

    @classmethod
    def of(cls, count: int, seed: int = 1) -> Universe:
        """Make up instruments with tokens as sparse as real ones."""
        numbers = random.Random(seed).sample(range(1_000, 250_000), count)
        symbols = tuple(f"NSE:BENCH{number}" for number in range(count))
        tokens = tuple(number << 8 | 1 for number in numbers)
        return cls(symbols, tokens, (PRICE * 100,) * count, (STOP * 100,) * count)

    @classmethod
    def named(cls, name: str) -> Universe:
        """Return so many made-up ones, or those of a file that ``write`` wrote."""
        if name.isdigit():
            return cls.of(int(name))
        return cls(**{column: tuple(values) for column, values in json.loads(Path(name).read_text()).items()})

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    def part(self, start: int, end: int) -> Universe:
        """Return the instruments from number ``start`` up to ``end``."""
        return Universe(*(column[start:end] for column in asdict(self).values()))

    @cached_property
    def around(self) -> Mapping[int, int]:
        """The price (paise) of each token."""
        return dict(zip(self.tokens, self.paise, strict=True))

    @cached_property
    def stop_of(self) -> Mapping[int, int]:
        """The highest stop (paise) of each token."""
        return dict(zip(self.tokens, self.stops, strict=True))


def kite_frame(
    rng: random.Random,
    universe: Universe,
    full: Sequence[int],
    brief: Sequence[int],
    now: int,
    paise: Mapping[int, int] | None = None,
) -> bytes:
    """Return one frame with a packet of each token, shuffled.

    Args:
        rng: Draws order and prices, a third of a per cent around each instrument's own.
        universe: Whose tokens they are.
        full: Of these full packets come.
        brief: Of these LTP packets.
        now: Exchange time, UNIX seconds.
        paise: Prices that are not to be drawn, by token.

    """
    drawn = {token: _near(rng, universe.around[token]) for token in (*full, *brief)} | dict(paise or {})
    packets = [_full(token, drawn[token], now) for token in full]
    packets += [struct.pack(">HII", LTP, token, drawn[token]) for token in brief]
    rng.shuffle(packets)
    return len(packets).to_bytes(2, "big") + b"".join(packets)


def kite_frames(
    rng: random.Random, universe: Universe, armed: int, size: int, count: int, now: int
) -> Iterator[bytes]:
    """Yield frames of ``size`` packets that go round through all instruments; those below ``armed`` come in full."""
    order = list(range(len(universe.tokens)))
    for number in range(count):
        if number * size % len(order) < size:
            rng.shuffle(order)
        start = number * size % len(order)
        chosen = (order[start:] + order[:start])[:size]
        full = [universe.tokens[index] for index in chosen if index < armed]
        brief = [universe.tokens[index] for index in chosen if index >= armed]
        yield kite_frame(rng, universe, full, brief, now)


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
    """Return the stop of a made-up instrument's strategy of that number, a paisa below the one before."""
    return STOP * UNITS_PER_RUPEE - number * (UNITS_PER_RUPEE // 100)


def _near(rng: random.Random, paise: int) -> int:
    reach = max(1, paise // 300)
    return paise + rng.randrange(-reach, reach)


def _full(token: int, price: int, now: int) -> bytes:
    packet = bytearray(2 + FULL)
    struct.pack_into(">HII", packet, 0, FULL, token, price)
    struct.pack_into(">I", packet, 62, now)
    return bytes(packet)
