"""Telling pages and other programs what has been committed. Never before, and never in the way."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)


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
        layer = get_channel_layer()
        if layer is None:
            return
        message = {"type": "live.message", "source": "", "n": 0, "kind": kind, "body": dict(body)}
        try:
            async_to_sync(layer.group_send)(f"live.user.{user_id}", message)
        except Exception:  # whatever the layer's backend raises, the commit stands
            logger.warning(
                "could not tell the page: it shows the change with its next snapshot", exc_info=True
            )

    def publish(self, channel: str, message: Mapping[str, Any]) -> None:
        """Other programs hear of breaches only, and those are the listeners' business."""
