"""Packets of Dhan's feed, from the layouts of its documentation. No capture of whole frames is public."""

from __future__ import annotations

import struct

IST = 19_800
NSE_EQ, NSE_CURRENCY, INDICES = 1, 3, 0
INFY = (NSE_EQ, 1594)
SBIN = (NSE_EQ, 3045)

Security = tuple[int, int]


def packet(kind: int, security: Security, body: bytes = b"") -> bytes:
    """A packet whose header tells the truth about its length."""
    return struct.pack("<BHBI", kind, 8 + len(body), *security) + body


def ticker(security: Security, price: float, time: int = 0) -> bytes:
    return packet(2, security, struct.pack("<fI", price, time))


def quote(security: Security, price: float, time: int = 0) -> bytes:
    return packet(
        4, security, struct.pack("<fHIfIIIffff", price, 1, time, price, 9, 8, 7, 1.0, 2.0, 3.0, 4.0)
    )


def full(security: Security, price: float, time: int = 0, bid: float = 0.0, ask: float = 0.0) -> bytes:
    head = struct.pack("<fHIfIIIIIIffff", price, 1, time, price, 9, 8, 7, 6, 5, 4, 1.0, 2.0, 3.0, 4.0)
    return packet(8, security, head + struct.pack("<IIHHff", 1, 2, 3, 4, bid, ask) * 5)


def disconnect(reason: int) -> bytes:
    return packet(50, (0, 0), struct.pack("<H", reason))
