"""The market feed: who is connected, what they asked for, what they get, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import WSCloseCode, web

from marketdata.brokers.dhan.simulated import wire
from marketdata.brokers.dhan.simulated.catalogue import Catalogue, Security
from marketdata.brokers.dhan.simulated.sessions import Sessions
from marketdata.simulator.exchange import Print
from marketdata.simulator.hub import Client, FeedHub
from marketdata.simulator.market import Market
from marketdata.simulator.orders import Order
from marketdata.simulator.sockets import FeedSocket, Keepalive, texts

INSTRUMENTS, CONNECTIONS = "dhan.instruments", "dhan.connections"
"""How many one connection carries, and how many connections a user may have."""
_PER_MESSAGE = 100
_KEEPALIVE = Keepalive(every_s=10.0, patience_s=40.0)
_BEFORE_THE_CUT_S = 0.05  # the answer to the handshake leaves first
_TOO_MANY_INSTRUMENTS, _TOO_MANY_CONNECTIONS, _BAD_REQUEST = 804, 805, 814
STACKED = "dhan.packets_per_frame"
DEAD_TOKEN = "dhan.dead_token"  # noqa: S105
"""How a dead token is met: ``code`` (then a close), ``drop`` (an accepted socket is cut), ``401``, ``429``."""


class _Request(NamedTuple):
    mode: str
    subscribes: bool


_REQUESTS = {
    code + off: _Request(mode, not off)
    for code, mode in ((15, "ticker"), (17, "quote"), (21, "full"))
    for off in (0, 1)
}
_DISCONNECT = 12
_RICHNESS = ("full", "quote", "ticker")


class DhanClient(Client):
    """One connection. An instrument may be subscribed in several modes at once: each sends its packets."""

    def __init__(self, account: str, socket: FeedSocket) -> None:
        super().__init__(account, socket)
        self.modes: dict[str, set[str]] = {}
        self.knows_status = False

    def shown(self) -> Mapping[str, str]:
        return {symbol: min(modes, key=_RICHNESS.index) for symbol, modes in self.modes.items()}


class _Ended(Exception):
    """The connection is to end, with a code for the client or, with 0, without a word."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class DhanHub(FeedHub[DhanClient]):
    """The market feed of all accounts; implements ``simulator.exchange.Observer`` too."""

    broker = "dhan"

    def __init__(
        self, market: Market, catalogue: Catalogue, sessions: Sessions, keepalive: Keepalive = _KEEPALIVE
    ) -> None:
        super().__init__(market)
        self._catalogue = catalogue
        self._sessions = sessions
        self._keepalive = keepalive
        market.variants |= {STACKED: 1, DEAD_TOKEN: "code", INSTRUMENTS: 5_000, CONNECTIONS: 5}

    # --- Connections --------------------------------------------------------------------
    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Take one handshake. Unlike others, most refusals come after it was accepted."""
        client_id = request.query.get("clientId", "")
        if status := self._refusal(request, client_id):
            self._market.counters["handshakes.refused"] += 1
            return web.Response(status=status)
        ws = web.WebSocketResponse(autoping=False, compress=False, timeout=1.0)
        await ws.prepare(request)
        socket = self.make_socket(ws, request, client_id, frame=self._frames, keepalive=self._keepalive)
        client = DhanClient(client_id, socket)
        try:
            self._check(request, client_id)
        except _Ended as end:
            self._market.counters["handshakes.refused"] += 1
            await self._end(client, end.code)
            return ws
        self._market.counters["handshakes.accepted"] += 1
        await self._talk(client)
        return ws

    def _refusal(self, request: web.Request, client_id: str) -> int:
        """Return the HTTP status with which the handshake is refused, or 0."""
        if (request.query.get("version"), request.query.get("authType")) != ("2", "2"):
            return 400
        if forbidden := self._market.faults.take("forbid", client_id, self.role, self.broker):
            return int(forbidden.parameters["status"])
        how = str(self._market.variants[DEAD_TOKEN])
        dead = how.isdecimal() and self._sessions.fault_of(client_id, request.query.get("token", ""))
        return int(how) if dead else 0

    def _check(self, request: web.Request, client_id: str) -> None:
        """Raise ``_Ended`` for whoever is turned away behind the door."""
        if away := self._market.faults.take("turn_away", client_id, self.role, self.broker):
            raise _Ended(int(away.parameters["code"]))
        if code := self._sessions.fault_of(client_id, request.query.get("token", "")):
            raise _Ended(0 if self._market.variants[DEAD_TOKEN] == "drop" else code)

    async def _end(self, client: DhanClient, code: int) -> None:
        """End a connection: with the packet that says why and a close frame, or by cutting it."""
        if not code:
            await asyncio.sleep(_BEFORE_THE_CUT_S)
            client.socket.cut()
            return
        await client.socket.ws.send_bytes(wire.disconnect(code))
        await client.socket.ws.close(code=WSCloseCode.OK)

    async def _talk(self, client: DhanClient) -> None:
        await self._make_room(client.account)
        self._clients.append(client)
        sender = asyncio.create_task(client.socket.send_all())
        try:
            while (received := await texts(client.socket)) is not None:
                for text in received:
                    self._command(client, text)
        except _Ended as end:
            await self._end(client, end.code)
        finally:
            sender.cancel()
            self._clients.remove(client)
            self._forget(client)

    async def _make_room(self, account: str) -> None:
        """End the oldest connections of an account that has as many as are allowed."""
        open_ones = list(self.of(account))
        most = int(self._market.variants[CONNECTIONS])
        for oldest in open_ones[: max(0, len(open_ones) - most + 1)]:
            await self._end(oldest, _TOO_MANY_CONNECTIONS)

    def _frames(self, waiting: list[bytes]) -> list[bytes]:
        return list(wire.frames(waiting, max(1, int(self._market.variants[STACKED]))))

    # --- Requests -----------------------------------------------------------------------
    def _command(self, client: DhanClient, text: str) -> None:
        """Obey one request; raises ``_Ended`` for what is none."""
        try:
            message = json.loads(text)
            code = message["RequestCode"]
            asked = _REQUESTS.get(code)
            symbols = [] if asked is None else self._named(message)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise _Ended(_BAD_REQUEST) from None
        if code == _DISCONNECT:
            self._forget(client)  # the client closes the socket itself, after a binary frame of 83 bytes
        elif asked is None:
            raise _Ended(_BAD_REQUEST)
        elif asked.subscribes:
            self._subscribe(client, self.heard(client, symbols), asked.mode)
        else:
            self._unsubscribe(client, symbols, asked.mode)

    def _named(self, message: Mapping[str, Any]) -> list[str]:
        """Return the symbols of a request; unknown ids are passed over without a word."""
        wanted = message["InstrumentList"]
        if not 0 < len(wanted) <= _PER_MESSAGE or message["InstrumentCount"] != len(wanted):
            raise ValueError(f"{len(wanted)} instruments in a message")
        found = (self._catalogue.symbol(item["ExchangeSegment"], item["SecurityId"]) for item in wanted)
        return [symbol for symbol in found if symbol]

    def _subscribe(self, client: DhanClient, symbols: list[str], mode: str) -> None:
        new = [symbol for symbol in dict.fromkeys(symbols) if mode not in client.modes.get(symbol, ())]
        unseen = [symbol for symbol in new if symbol not in client.modes]
        if len(client.modes) + len(unseen) > int(self._market.variants[INSTRUMENTS]):
            raise _Ended(_TOO_MANY_INSTRUMENTS)
        for symbol in new:
            client.modes.setdefault(symbol, set()).add(mode)
        self.view(client, unseen)
        self._greet(client, new, mode)

    def _greet(self, client: DhanClient, symbols: list[str], mode: str) -> None:
        """Send the last known values, with the time they were traded at."""
        for symbol in symbols:
            if self.is_mute(client, symbol):
                continue
            security, item = self._catalogue.by_symbol[symbol], self._market.exchange.instrument(symbol)
            if not client.knows_status:
                client.knows_status = True
                client.socket.packet(wire.market_status(security.segment))
            last = Print(item, item.last, item.last_trade_time)
            _send(client, wire.packets(security, last, mode))
            if item.listing.is_index:
                client.socket.packet(wire.previous_close(security, item))

    def _unsubscribe(self, client: DhanClient, symbols: list[str], mode: str) -> None:
        for symbol in symbols:
            client.modes.get(symbol, set()).discard(mode)
        ended = [symbol for symbol in dict.fromkeys(symbols) if client.modes.get(symbol) == set()]
        for symbol in ended:
            del client.modes[symbol]
        self.unview(client, ended)

    def _forget(self, client: DhanClient) -> None:
        self.unview(client, list(client.modes))
        client.modes.clear()

    # --- What happens at the exchange ---------------------------------------------------
    def on_print(self, trade: Print) -> None:
        """Send a print to everybody who subscribed to it."""
        symbol = trade.instrument.symbol
        made: dict[str, list[bytes]] = {}
        for client in self._viewers.get(symbol, ()):
            if self.is_mute(client, symbol):
                continue
            for mode in client.modes[symbol]:
                if mode not in made:
                    made[mode] = wire.packets(self._catalogue.by_symbol[symbol], trade, mode)
                _send(client, made[mode])

    def on_order(self, order: Order) -> None:
        """Nothing: orders have a socket of their own."""

    # --- The control API's side ---------------------------------------------------------
    async def close(self, account: str | None, code: int, reason: str) -> int:
        """Close sockets; for 800 to 814 with the packet that says so."""
        if code >= 1_000:
            return await super().close(account, code, reason)
        clients = list(self.of(account))
        for client in clients:
            await self._end(client, code)
        return len(clients)

    def say(self, client: DhanClient, message: str) -> None:
        """Queue a text frame: this feed has no errors in words, and a client must live with one."""
        client.socket.message(json.dumps({"status": "failed", "message": message}))

    def malformed_frame(self, client: DhanClient, kind: str) -> bytes:
        securities = (self._catalogue.by_symbol[symbol] for symbol in client.modes)
        return wire.malformed(kind, next(securities, Security("NSE_EQ", 1594)))


def _send(client: DhanClient, waiting: list[bytes]) -> None:
    for packet in waiting:
        client.socket.packet(packet)
