"""The web process as shipped, with a stock consumer beside it on the same server and channel layer.

It is run as Daphne's application, never imported by a benchmark.
"""

from __future__ import annotations

from typing import Any

from project.asgi import application as shipped  # first: it sets Django up

from channels.auth import AuthMiddlewareStack  # isort: skip
from channels.generic.websocket import AsyncJsonWebsocketConsumer  # isort: skip

from strategies.live.consumers import LiveConsumer  # isort: skip

GROUP, PATH = "stock", "/stock/"


class StockConsumer(AsyncJsonWebsocketConsumer):
    """What Channels' documentation shows: one group, one message for each frame, JSON for each browser."""

    async def connect(self) -> None:
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def stock_prices(self, message: dict[str, Any]) -> None:
        await self.send_json({"type": "prices", "at": message["at"], "prices": message["prices"]})


LiveConsumer.SOCKETS_PER_USER = 1000  # all viewers are of one user: they share one set of prices
_stock: Any = AuthMiddlewareStack(StockConsumer.as_asgi())


async def application(scope: Any, receive: Any, send: Any) -> None:
    await (_stock if scope.get("path") == PATH else shipped)(scope, receive, send)
