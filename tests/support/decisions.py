"""Prints what the whole corpus comes to, for a process of its own: in another time zone, perhaps."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import sys
import time

import tests.environment  # noqa: F401 - before Django's settings
from marketdata.brokers.dhan import decode as dhan
from marketdata.brokers.zerodha import decode as kite
from tests.support.bad_ticks import corpus
from tests.support.crashes import Crash


def decisions() -> list[object]:
    """Return every count and breach of the corpus, of some crashes, and the times two brokers' packets decode to."""
    found: list[object] = []
    for case, now in corpus():
        house = case.house(now)
        case.act(case, house)
        house.move(5)
        found.append((case.name, house.counts, len(house.breaches), len(house.closed)))
    for seed in range(200):
        fallen = Crash(random.Random(seed).randint).play()
        found.append((seed, fallen.delay_s, [breach.evidence() for breach in fallen.house.breaches]))
    return [*found, *_times()]


def _times() -> list[object]:
    at = 1795411800
    full = struct.pack(">II52xI4xI56xI", 408065, 150000, at, 149995, 150005).ljust(kite.FULL, b"\0")
    frame = struct.pack(">HH", 1, len(full)) + full
    ticker = struct.pack("<BHBIfI", 2, 16, 1, 1594, 1500.0, at + 19800)
    ticks = kite.decode(frame, received_at=float(at), symbols={408065: "NSE:INFY"}).ticks
    ticks += dhan.decode(ticker, received_at=float(at), symbols={(1, 1594): "NSE:INFY"}, steps={}).ticks
    return [(tick.symbol, tick.price, tick.exchange_time) for tick in ticks]


if __name__ == "__main__":
    told = json.dumps(decisions(), default=str)
    sys.stdout.write(f"{time.tzname[0]} {hashlib.sha256(told.encode()).hexdigest()} {told[-120:]}\n")
