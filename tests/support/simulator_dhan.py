"""Dhan's sockets for tests: our connection, the vendor's parser on what arrives; and its REST client."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dhanhq import DhanContext, MarketFeed, dhanhq
from websockets.sync.client import ClientConnection, connect

from tests.support.waiting import eventually

INFY, SBIN, RELIANCE = ("NSE_EQ", "1594"), ("NSE_EQ", "3045"), ("NSE_EQ", "2885")
NIFTY = ("IDX_I", "13")
SUBSCRIBE = {"ticker": 15, "quote": 17, "full": 21}
Security = tuple[str, str]
Packet = dict[str, Any]

# Without its constructor, which makes an event loop and leaves it with the thread.
_parser = MarketFeed.__new__(MarketFeed)
_parser.on_close = None


def security_of(packet: Packet) -> Security:
    """Return what a packet is about, in the words of a request."""
    segment = _parser.get_exchange_segment(packet["exchange_segment"])
    return segment, str(packet["security_id"])


class Feed:
    """One feed socket. Everything received is kept in order."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.frames: list[bytes] = []
        self.parts: list[bytes] = []
        self.packets: list[Packet] = []
        self.texts: list[str] = []
        self.codes: list[int] = []

    def send(self, code: int, securities: Iterable[Security], **changes: object) -> None:
        """Send a request as the SDK does."""
        named = [{"ExchangeSegment": segment, "SecurityId": number} for segment, number in securities]
        message = {"RequestCode": code, "InstrumentCount": len(named), "InstrumentList": named}
        self.ws.send(json.dumps(message | changes))

    def subscribe(self, mode: str, *securities: Security) -> None:
        """Subscribe, and wait for the first packet of each."""
        self.send(SUBSCRIBE[mode], securities)
        self.until(lambda: {security_of(p) for p in self.packets} >= set(securities))

    def receive(self, timeout: float = 5.0) -> None:
        """Take one message; raises ``TimeoutError`` or ``ConnectionClosed``."""
        message = self.ws.recv(timeout)
        if isinstance(message, str):
            self.texts.append(message)
            return
        self.frames.append(message)
        for part in split(message):
            self.parts.append(part)
            if part[0] == 50:
                self.codes.append(struct.unpack_from("<H", part, 8)[0])
            elif isinstance(packet := _parser.process_data(part), dict):
                self.packets.append(packet)

    def until(self, condition: Callable[[], Any], timeout: float = 5.0) -> Any:
        """Receive until ``condition`` is true and return it."""
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            self.receive(max(0.01, deadline - time.monotonic()))
        return found

    def prices(self, security: Security) -> list[str]:
        """Return the SDK's prices of one security: texts of two decimals."""
        return [p["LTP"] for p in self.packets if "LTP" in p and security_of(p) == security]


def split(frame: bytes) -> Iterator[bytes]:
    """Yield the packets of a frame by the lengths in their headers, which must be right."""
    while frame:
        length = struct.unpack_from("<H", frame, 1)[0]
        assert 8 <= length <= len(frame), f"header says {length} of {len(frame)} bytes"
        yield frame[:length]
        frame = frame[length:]


@contextmanager
def open_feed(root: str, credentials: Mapping[str, str], **changes: str) -> Iterator[Feed]:
    """Connect with the URL that the SDK makes."""
    query = {"version": "2", "token": credentials["access_token"], "clientId": credentials["client_id"]}
    pairs = {**query, "authType": "2", **changes}
    url = f"{root}?{'&'.join(f'{name}={value}' for name, value in pairs.items())}"
    with connect(url, compression=None, max_size=None, proxy=None) as ws:
        yield Feed(ws)


@contextmanager
def open_orders(root: str, credentials: Mapping[str, str]) -> Iterator[ClientConnection]:
    """Connect to the order updates with the login that the SDK sends."""
    login = {"MsgCode": 42, "ClientId": credentials["client_id"], "Token": credentials["access_token"]}
    with connect(root, compression=None, proxy=None) as ws:
        ws.send(json.dumps({"LoginReq": login, "UserType": "SELF"}))
        yield ws


def client(root: str, credentials: Mapping[str, str]) -> dhanhq:
    """Return the unmodified SDK, sent to ``root``."""
    context = DhanContext(credentials["client_id"], credentials["access_token"])
    context.get_dhan_http().base_url = root
    context.get_dhan_http().timeout = 5
    return dhanhq(context)


def placed(dhan: dhanhq, **changes: object) -> dict[str, Any]:
    """Place an order through the SDK and return its whole answer."""
    values: dict[str, object] = {
        "security_id": "1594", "exchange_segment": "NSE_EQ", "transaction_type": "SELL", "quantity": 10,
        "order_type": "MARKET", "product_type": "INTRADAY", "price": 0,
    }  # fmt: skip
    return dict(dhan.place_order(**(values | changes)))


def order(dhan: dhanhq, **changes: object) -> str:
    """Place an order through the SDK and return its id."""
    answer = placed(dhan, **changes)
    assert answer["status"] == "success", answer
    return str(answer["data"]["orderId"])


def row(dhan: dhanhq, order_id: str) -> dict[str, Any]:
    return dict(dhan.get_order_by_id(order_id)["data"])


def settled(dhan: dhanhq, order_id: str, status: str = "TRADED") -> dict[str, Any]:
    return eventually(lambda: (found := row(dhan, order_id))["orderStatus"] == status and found) or {}
