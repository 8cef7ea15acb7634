"""The ticker socket: who is connected, what they asked for, what they get."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from marketdata.brokers.zerodha.simulated import views, wire
from marketdata.brokers.zerodha.simulated.catalogue import Catalogue
from marketdata.simulator.accounts import Account
from marketdata.simulator.exchange import Print
from marketdata.simulator.hub import Client, FeedHub
from marketdata.simulator.market import Market
from marketdata.simulator.orders import Order, Status
from marketdata.simulator.sockets import FeedSocket, texts

INSTRUMENTS, CONNECTIONS = "zerodha.instruments", "zerodha.connections"
"""How many one connection carries, and how many connections an API key may have."""
_MODES = ("ltp", "quote", "full")
# A subscription and its mode come as two messages: the first packet waits for both.
_SETTLE_S = 0.02


class KiteClient(Client):
    """One connection with its mode per symbol."""

    def __init__(self, account: str, socket: FeedSocket, api_key: str) -> None:
        super().__init__(account, socket)
        self.api_key = api_key
        self.modes: dict[str, str] = {}
        self.unanswered: set[str] = set()  # subscribed, and not yet sent a first packet

    def shown(self) -> Mapping[str, str]:
        return self.modes


class KiteHub(FeedHub[KiteClient]):
    """The ticker of all accounts; implements ``simulator.exchange.Observer`` too."""

    broker = "zerodha"

    def __init__(self, market: Market, catalogue: Catalogue) -> None:
        super().__init__(market)
        self._catalogue = catalogue
        market.variants |= {INSTRUMENTS: 3_000, CONNECTIONS: 3}

    # --- Connections --------------------------------------------------------------------
    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Take one handshake: 403 for a token that is dead or wrong, 429 for one connection too many."""
        account, status = self._admit(request)
        if account is None:
            self._market.counters["handshakes.refused"] += 1
            return web.Response(status=status, text=HTTPStatus(status).phrase)
        ws = web.WebSocketResponse(autoping=False, compress=False)
        await ws.prepare(request)
        self._market.counters["handshakes.accepted"] += 1
        socket = self.make_socket(ws, request, account.client_id, frame=wire.frames, heartbeat=wire.HEARTBEAT)
        await self._talk(KiteClient(account.client_id, socket, account.api_key))
        return ws

    def _admit(self, request: web.Request) -> tuple[Account | None, int]:
        """Return who may come in, or None and the HTTP status of the refusal."""
        key, token = request.query.get("api_key", ""), request.query.get("access_token", "")
        account = self._market.exchange.accounts.authenticated(key, token)
        if account is None:
            return None, 403
        forbidden = self._market.faults.take("forbid", account.client_id, self.role, self.broker)
        if forbidden:
            return None, int(forbidden.parameters["status"])
        others = sum(client.api_key == key for client in self._clients)
        return (account, 101) if others < int(self._market.variants[CONNECTIONS]) else (None, 429)

    async def _talk(self, client: KiteClient) -> None:
        self._clients.append(client)
        client.socket.message(json.dumps({"type": "instruments_meta", "data": self._meta()}))
        sender = asyncio.create_task(client.socket.send_all())
        try:
            while (received := await texts(client.socket)) is not None:
                for text in received:
                    self._command(client, text)
        finally:
            sender.cancel()
            self._forget(client, list(client.modes))
            self._clients.remove(client)

    def _meta(self) -> dict[str, object]:
        return {"count": len(self._catalogue.token_by_symbol), "etag": f'W/"{self._market.seed}"'}

    # --- Commands -----------------------------------------------------------------------
    def _command(self, client: KiteClient, text: str) -> None:
        try:
            self._obey(client, json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError):
            self.say(client, f"Invalid message: {text[:100]}")

    def _obey(self, client: KiteClient, message: Mapping[str, Any]) -> None:
        action, value = message["a"], message["v"]
        if action == "mode":
            self._set_mode(client, value[0], self._known(value[1]))
        elif action == "subscribe":
            self._subscribe(client, self.heard(client, self._known(value)))
        elif action == "unsubscribe":
            self._forget(client, [symbol for symbol in self._known(value) if symbol in client.modes])
        else:
            raise ValueError(f"unknown action {action!r}")

    def _known(self, tokens: list[int]) -> list[str]:
        found = (self._catalogue.symbol_by_token.get(int(token)) for token in tokens)
        return [symbol for symbol in found if symbol]

    def _subscribe(self, client: KiteClient, symbols: list[str]) -> None:
        new = [symbol for symbol in dict.fromkeys(symbols) if symbol not in client.modes]
        most = int(self._market.variants[INSTRUMENTS])
        if len(client.modes) + len(new) > most:
            self.say(client, f"Maximum of {most} instruments can be subscribed on one connection.")
            return
        client.modes.update(dict.fromkeys(new, "quote"))
        self.view(client, new)
        self._answer_soon(client, new)

    def _set_mode(self, client: KiteClient, mode: str, symbols: list[str]) -> None:
        if mode not in _MODES:
            raise ValueError(f"unknown mode {mode!r}")
        subscribed = [symbol for symbol in symbols if symbol in client.modes]
        richer = [s for s in subscribed if _MODES.index(mode) > _MODES.index(client.modes[s])]
        client.modes.update(dict.fromkeys(subscribed, mode))
        self._answer_soon(client, richer)

    def _forget(self, client: KiteClient, symbols: list[str]) -> None:
        for symbol in symbols:
            client.modes.pop(symbol, None)
        self.unview(client, symbols)

    def _answer_soon(self, client: KiteClient, symbols: list[str]) -> None:
        """Send the last known values, with the time they were traded at."""
        client.unanswered.update(symbols)
        asyncio.get_running_loop().call_later(_SETTLE_S, self._answer, client)

    def _answer(self, client: KiteClient) -> None:
        waiting, client.unanswered = client.unanswered, set()
        for symbol in sorted(waiting & client.modes.keys()):
            if self.is_mute(client, symbol):
                continue
            item = self._market.exchange.instrument(symbol)
            last = Print(item, item.last, item.last_trade_time)
            client.socket.packet(self._packet(last, client.modes[symbol]))

    # --- What happens at the exchange ---------------------------------------------------
    def on_print(self, trade: Print) -> None:
        """Send a print to everybody who subscribed to it."""
        symbol = trade.instrument.symbol
        packets: dict[str, bytes] = {}
        for client in self._viewers.get(symbol, ()):
            if self.is_mute(client, symbol):
                continue
            mode = client.modes[symbol]
            packets[mode] = packets.get(mode) or self._packet(trade, mode)
            client.unanswered.discard(symbol)
            client.socket.packet(packets[mode])

    def on_order(self, order: Order) -> None:
        """Send an order's news to every socket of its account."""
        if order.status is not Status.RECEIVED:
            account = self._market.exchange.accounts.get(order.account)
            data = views.postback(order, account, self._catalogue.token_by_symbol[order.ticket.symbol])
            for client in self.of(order.account):
                client.socket.message(json.dumps({"type": "order", "data": data}))

    def _packet(self, trade: Print, mode: str) -> bytes:
        return wire.packet(self._catalogue.token_by_symbol[trade.instrument.symbol], trade, mode)

    # --- The control API's side ---------------------------------------------------------
    def say(self, client: KiteClient, message: str) -> None:
        client.socket.message(json.dumps({"type": "error", "data": message}))

    def malformed_frame(self, client: KiteClient, kind: str) -> bytes:
        token = next((self._catalogue.token_by_symbol[symbol] for symbol in client.modes), 408065)
        return wire.malformed(kind, token)
