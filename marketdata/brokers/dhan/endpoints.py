"""Where Dhan is reached."""

from __future__ import annotations

from marketdata.brokers.endpoints import WEBSOCKET, Endpoint

ENDPOINTS = {
    "api": Endpoint("DHAN_API_ROOT", "https://api.dhan.co/v2"),
    "feed": Endpoint("DHAN_FEED_ROOT", "wss://api-feed.dhan.co", WEBSOCKET),
    "order_feed": Endpoint("DHAN_ORDER_FEED_ROOT", "wss://api-order-update.dhan.co", WEBSOCKET),
    "auth": Endpoint("DHAN_AUTH_ROOT", "https://auth.dhan.co"),
    "instruments": Endpoint("DHAN_INSTRUMENTS_URL", "https://images.dhan.co/api-data/api-scrip-master.csv"),
}
