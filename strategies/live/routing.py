"""Which socket address leads where."""

from __future__ import annotations

from typing import Any

from channels.security.websocket import WebsocketDenier
from django.urls import path, re_path

from strategies.live.consumers import LiveConsumer

# Any: Django's types know views only, and Channels routes applications with the same patterns.
_live: Any = LiveConsumer.as_asgi()
_refuse: Any = WebsocketDenier.as_asgi()
websocket_urlpatterns: list[Any] = [
    path("ws/live/", _live),
    re_path(r"", _refuse),  # without it the router raises, one traceback for each guessed address
]
