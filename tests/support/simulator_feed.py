"""A ticker client for tests: our socket, the vendor's parser on what arrives."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kiteconnect import KiteTicker
from websockets.sync.client import ClientConnection, connect

Packet = dict[str, Any]


class Feed:
    """One feed socket. Everything received is kept in order."""

    def __init__(self, ws: ClientConnection, ticker: KiteTicker) -> None:
        self.ws = ws
        self.frames: list[bytes] = []
        self.texts: list[dict[str, Any]] = []
        self.packets: list[Packet] = []
        self._ticker = ticker

    def send(self, action: str, value: object) -> None:
        self.ws.send(json.dumps({"a": action, "v": value}))

    def subscribe(self, mode: str, tokens: list[int]) -> None:
        """Subscribe as the SDK does, and wait for the first packet of each."""
        self.send("subscribe", tokens)
        self.send("mode", [mode, tokens])
        self.until(lambda: {p["instrument_token"] for p in self.packets} >= set(tokens))

    def receive(self, timeout: float = 5.0) -> None:
        """Take one message; raises ``TimeoutError`` or ``ConnectionClosed``."""
        message = self.ws.recv(timeout)
        if isinstance(message, str):
            self.texts.append(json.loads(message))
        else:
            self.frames.append(message)
            self.packets += self._ticker._parse_binary(message)

    def until(self, condition: Callable[[], Any], timeout: float = 5.0) -> Any:
        """Receive until ``condition`` is true and return it."""
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            self.receive(max(0.01, deadline - time.monotonic()))
        return found

    def prices(self, token: int) -> list[Any]:
        return [p["last_price"] for p in self.packets if p["instrument_token"] == token]

    def orders(self) -> list[dict[str, Any]]:
        return [text["data"] for text in self.texts if text["type"] == "order"]

    def errors(self) -> list[str]:
        return [text["data"] for text in self.texts if text["type"] == "error"]


@contextmanager
def open_feed(root: str, credentials: Mapping[str, str]) -> Iterator[Feed]:
    """Connect with the URL that the SDK makes."""
    ticker = KiteTicker(credentials["api_key"], credentials["access_token"], root=root)
    with connect(ticker.socket_url, compression=None, max_size=None, proxy=None) as ws:
        yield Feed(ws, ticker)
