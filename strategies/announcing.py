"""Telling pages and other programs what has been committed. Never before, and never in the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)

TELL_WITHIN_S = 1.0
"""How long a person's click waits for a channel layer that hangs."""


class Announcer(Protocol):
    """Best effort: returns at once, never raises. Pages that miss one ask for a snapshot."""

    def tell(self, user_id: int, kind: str, body: Mapping[str, Any]) -> None:
        """Tell the user's pages. ``kind`` is ``strategy exit alert``."""
        ...

    def publish(self, channel: str, message: Mapping[str, Any]) -> None:
        """Publish to other programs."""
        ...


class LayerAnnouncer:
    """For the web process and commands, where nothing runs in the background."""

    def tell(self, user_id: int, kind: str, body: Mapping[str, Any]) -> None:
        message = {"type": "live.message", "source": "", "n": 0, "kind": kind, "body": dict(body)}
        try:
            async_to_sync(_send)(f"live.user.{user_id}", message)
        except Exception as exc:  # noqa: BLE001 - whatever the layer's backend raises, the commit stands
            logger.warning("could not tell the page (%r): it shows the change with its next snapshot", exc)

    def publish(self, channel: str, message: Mapping[str, Any]) -> None:
        """Other programs hear of breaches only, and those are the listeners' business."""


async def _send(group: str, message: Mapping[str, Any]) -> None:
    if (layer := get_channel_layer()) is not None:
        async with asyncio.timeout(TELL_WITHIN_S):
            await layer.group_send(group, dict(message))
