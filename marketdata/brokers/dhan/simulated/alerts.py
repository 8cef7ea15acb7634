"""The socket of order updates: a login in its first message, then news of the account's orders."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import WSCloseCode, web

from marketdata.brokers.dhan.simulated import views
from marketdata.brokers.dhan.simulated.catalogue import Catalogue, Security
from marketdata.brokers.dhan.simulated.sessions import Sessions
from marketdata.simulator.exchange import Print
from marketdata.simulator.hub import Client, FeedHub
from marketdata.simulator.instrument import Instrument
from marketdata.simulator.market import Market
from marketdata.simulator.orders import Order
from marketdata.simulator.sockets import Keepalive, texts
from marketdata.simulator.values import moment, number

_LOGIN = 42
_KEEPALIVE = Keepalive(every_s=10.0, patience_s=40.0)
KEYS = "dhan.alert_keys"
"""How the keys of an alert are written: ``camel`` (as live) or ``pascal`` (as documented)."""

_NEVER = "0001-01-01 00:00:00"
_TYPE = {"MARKET": "MKT", "LIMIT": "LMT", "STOP_LOSS": "SL"}
_PRODUCT = {"CNC": "C", "INTRADAY": "I", "MARGIN": "M", "MTF": "F"}
_STATUS = {
    "TRANSIT": "Transit", "PENDING": "Pending", "PART_TRADED": "Part Traded", "TRADED": "Traded",
    "CANCELLED": "Cancelled", "REJECTED": "Rejected",
}  # fmt: skip


class DhanAlerts(FeedHub[Client]):
    """The order updates of all accounts; implements ``simulator.exchange.Observer`` too."""

    broker = "dhan"
    role = "order_feed"

    def __init__(self, market: Market, catalogue: Catalogue, sessions: Sessions) -> None:
        super().__init__(market)
        self._catalogue = catalogue
        self._sessions = sessions
        market.variants[KEYS] = "camel"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Take one connection; a login that is none ends it without a word."""
        ws = web.WebSocketResponse(autoping=False, compress=False)
        await ws.prepare(request)
        client = Client("", self.make_socket(ws, request, "", frame=list, keepalive=_KEEPALIVE))
        sender = asyncio.create_task(client.socket.send_all())
        try:
            while (received := await texts(client.socket)) is not None:
                for text in received:
                    await self._hear(client, text)
        finally:
            sender.cancel()
            if client in self._clients:
                self._clients.remove(client)
        return ws

    async def _hear(self, client: Client, text: str) -> None:
        client_id, token = _credentials(text)
        forbidden = self._market.faults.take("forbid", client_id, self.role, self.broker)
        if forbidden or self._sessions.fault_of(client_id, token):
            self._market.counters["order_feed.refused"] += 1
            await client.socket.ws.close(code=WSCloseCode.OK)
            return
        self._market.counters["order_feed.accepted"] += 1
        client.account = client_id
        if client not in self._clients:
            self._clients.append(client)

    # --- What happens at the exchange ---------------------------------------------------
    def on_print(self, trade: Print) -> None:
        """Nothing: prices have a socket of their own."""

    def on_order(self, order: Order) -> None:
        """Send an order's news to every socket of its account, unless a fault silences them."""
        silenced = self._market.faults.active("silence", order.account, self.role, self.broker)
        for client in () if silenced else self.of(order.account):
            client.socket.message(json.dumps({"Data": self._data(order), "Type": "order_alert"}))

    def _data(self, order: Order) -> dict[str, Any]:
        symbol = order.ticket.symbol
        item = self._market.exchange.instrument(symbol)
        data = alert(order, item, self._catalogue.by_symbol[symbol])
        if self._market.variants[KEYS] == "pascal":
            return data
        return {key[0].lower() + key[1:]: value for key, value in data.items()}

    # --- The control API's side ---------------------------------------------------------
    def say(self, client: Client, message: str) -> None:
        client.socket.message(json.dumps({"Data": {"message": message}, "Type": "error"}))

    def malformed_frame(self, client: Client, kind: str) -> bytes:
        return b"\xff{" + kind.encode()


def _credentials(text: str) -> tuple[str, str]:
    """Return client id and token of a login message, empty for anything else."""
    try:
        login = json.loads(text)["LoginReq"]
        if login["MsgCode"] == _LOGIN:
            return str(login["ClientId"]), str(login["Token"])
    except (ValueError, TypeError, KeyError):
        pass
    return "", ""


def alert(order: Order, item: Instrument, security: Security) -> dict[str, Any]:
    """Return an order's news with the documented names."""
    row, contract = views.order(order, item, security), item.listing.contract
    exchange = "MCX" if security.segment == "MCX_COMM" else security.segment.split("_")[0]
    last = order.fills[-1] if order.fills else None
    return {
        "Exchange": exchange,
        "Segment": views.LETTERS.get(security.segment, "E"),
        "Source": "P",
        "SecurityId": row["securityId"],
        "ClientId": order.account,
        "ExchOrderNo": row["exchangeOrderId"],
        "OrderNo": order.order_id,
        "Product": _PRODUCT[row["productType"]],
        "TxnType": order.ticket.side.value[0],
        "OrderType": _TYPE[row["orderType"]],
        "Validity": row["validity"],
        "DiscQuantity": row["disclosedQuantity"],
        "DiscQtyRem": row["disclosedQuantity"],
        "RemainingQuantity": row["remainingQuantity"],
        "Quantity": order.ticket.quantity,
        "TradedQty": order.filled,
        "Price": row["price"],
        "TriggerPrice": row["triggerPrice"],
        "TradedPrice": number(last.price) if last else 0,
        "AvgTradedPrice": row["averageTradedPrice"],
        "AlgoOrdNo": "",
        "OffMktFlag": "0",
        "OrderDateTime": row["createTime"],
        "ExchOrderTime": row["exchangeTime"],
        "LastUpdatedTime": row["updateTime"],
        "Remarks": order.ticket.tag or "NR",
        "MktType": "NL",
        "ReasonDescription": order.message or "CONFIRMED",
        "LegNo": 1,
        "Instrument": contract.instrument_type if contract.expiry else "EQUITY",
        "Symbol": row["tradingSymbol"],
        "ProductName": row["productType"],
        "Status": _STATUS.get(row["orderStatus"], row["orderStatus"]),
        "LotSize": contract.lot_size,
        "StrikePrice": row["drvStrikePrice"],
        "ExpiryDate": f"{contract.expiry} 00:00:00" if contract.expiry else _NEVER,
        "OptType": contract.instrument_type if contract.strike else "XX",
        "DisplayName": contract.name,
        "Isin": "INE000000000",
        "Series": "EQ" if not contract.expiry else "XX",
        "GoodTillDaysDate": moment(order.received_at)[:10],
        "RefLtp": number(item.last),
        "TickSize": float(contract.tick_size),
        "AlgoId": "0",
        "Multiplier": item.listing.multiplier,
        "CorrelationId": order.ticket.tag,
    }
