"""Where Kite Connect is reached."""

from __future__ import annotations

from marketdata.brokers.endpoints import WEBSOCKET, Endpoint

ENDPOINTS = {
    "api": Endpoint("KITE_API_ROOT", "https://api.kite.trade"),
    "feed": Endpoint("KITE_FEED_ROOT", "wss://ws.kite.trade", WEBSOCKET),
    "login": Endpoint("KITE_LOGIN_ROOT", "https://kite.zerodha.com/connect/login"),
}
