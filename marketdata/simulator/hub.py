"""What the feed sockets of every broker have in common: who is connected, and who watches what."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Generic, TypeVar, cast

from aiohttp import web

from marketdata.simulator.market import Market
from marketdata.simulator.sockets import FeedSocket, Keepalive


class Client:
    """One connection of an account. A broker's own keeps its subscriptions too."""

    def __init__(self, account: str, socket: FeedSocket) -> None:
        self.account = account
        self.socket = socket

    def shown(self) -> Mapping[str, str]:
        """Return symbol -> mode, the richest where there are several."""
        return {}


C = TypeVar("C", bound=Client)


class FeedHub(ABC, Generic[C]):
    """The open sockets of one broker; implements ``simulator.market.Hub``.

    A broker's own hub takes the handshakes, reads what clients ask for, and makes the packets.
    """

    broker: str
    role = "feed"

    def __init__(self, market: Market) -> None:
        self._market = market
        self._clients: list[C] = []
        self._viewers: dict[str, set[C]] = {}

    @abstractmethod
    def say(self, client: C, message: str) -> None:
        """Queue an error text as the broker words it."""

    @abstractmethod
    def malformed_frame(self, client: C, kind: str) -> bytes:
        """Return a frame that is not of the documented shape; raises ``ValueError`` for another kind."""

    # --- For a broker's own hub ---------------------------------------------------------
    def make_socket(
        self,
        ws: web.WebSocketResponse,
        request: web.Request,
        account: str,
        *,
        frame: Callable[[list[bytes]], list[bytes]],
        heartbeat: bytes = b"",
        keepalive: Keepalive | None = None,
    ) -> FeedSocket:
        """Return what sends to one client; it is silent while the fault says so."""
        silence = partial(self._market.faults.active, "silence", account, self.role, self.broker)
        return FeedSocket(
            ws,
            cast("asyncio.Transport", request.transport),
            frame=frame,
            heartbeat=heartbeat,
            is_silent=lambda: silence() is not None,
            keepalive=keepalive,
        )

    def view(self, client: C, symbols: Collection[str]) -> None:
        """Send a client the prints of ``symbols``, which it did not get so far."""
        for symbol in symbols:
            self._viewers.setdefault(symbol, set()).add(client)
        self._market.exchange.watch(symbols)

    def unview(self, client: C, symbols: Collection[str]) -> None:
        """Send a client no more prints of ``symbols``, which it got so far."""
        for symbol in symbols:
            self._viewers[symbol].discard(client)
        self._market.exchange.unwatch(symbols)

    def heard(self, client: C, symbols: Collection[str]) -> list[str]:
        """Return the symbols of a request to subscribe that are taken notice of."""
        faults, name = self._market.faults, "deaf"
        fault = faults.active(name, client.account, self.role, self.broker)
        if fault is None or fault.parameters["symbol"] not in symbols:
            return list(symbols)
        faults.take(name, client.account, self.role, self.broker)
        return [symbol for symbol in symbols if symbol != fault.parameters["symbol"]]

    def is_mute(self, client: C, symbol: str) -> bool:
        """Tell whether a client is sent nothing of a symbol now."""
        fault = self._market.faults.active("mute", client.account, self.role, self.broker)
        return fault is not None and fault.parameters["symbol"] in ("", symbol)

    def of(self, account: str | None) -> Iterator[C]:
        """Yield the connections of one account, or all, oldest first."""
        return (client for client in list(self._clients) if account in (None, client.account))

    # --- The control API's side ---------------------------------------------------------
    def drop(self, account: str | None) -> int:
        clients = list(self.of(account))
        for client in clients:
            client.socket.cut()
        return len(clients)

    async def close(self, account: str | None, code: int, reason: str) -> int:
        clients = list(self.of(account))
        for client in clients:
            await client.socket.ws.close(code=code, message=reason.encode())
        return len(clients)

    def malformed(self, account: str | None, kind: str) -> int:
        clients = list(self.of(account))
        for client in clients:
            client.socket.message(self.malformed_frame(client, kind))
        return len(clients)

    def text(self, account: str | None, message: str) -> int:
        clients = list(self.of(account))
        for client in clients:
            self.say(client, message)
        return len(clients)

    def subscriptions(self) -> Mapping[str, Mapping[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for client in self._clients:
            found.setdefault(client.account, {}).update(client.shown())
        return found

    def connections(self) -> Mapping[str, int]:
        accounts = [client.account for client in self._clients]
        return {account: accounts.count(account) for account in accounts}
