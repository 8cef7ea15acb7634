"""KiteTicker as a protocol: it says what to send and reads what comes; the socket is ours.

The SDK keeps the URL, the subscribe and mode messages, which token has which mode, what to
ask for again on a new connection, and the text messages. Its reactor never runs: nothing
here calls ``connect``. Checked with kiteconnect 5.2.2; the contract tests hold the seam.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kiteconnect import KiteTicker


class Outbox:
    """What the SDK takes for its WebSocket: it keeps the messages for us to send."""

    STATE_OPEN = 3

    def __init__(self) -> None:
        self.state = self.STATE_OPEN
        self._messages: list[str] = []

    def sendMessage(self, payload: bytes) -> None:  # noqa: N802 - the SDK calls it so
        self._messages.append(payload.decode())

    def sendClose(self, code: int | None = None, reason: str | None = None) -> None:  # noqa: N802
        """Do nothing: only the listener closes."""

    def take(self) -> list[str]:
        """Return the messages since the last time."""
        messages, self._messages = self._messages, []
        return messages


class Protocol(KiteTicker):  # type: ignore[misc]  # the SDK has no types
    """The SDK's half of a feed, for one access token: its URL is built once."""

    def __init__(
        self,
        api_key: str,
        access_token: str,
        root: str,
        *,
        on_order: Callable[[Mapping[str, Any]], None],
        on_complaint: Callable[[str], None],
    ) -> None:
        super().__init__(api_key, access_token, root=root)
        self.outbox = Outbox()
        self.on_order_update = lambda _, data: on_order(data)
        self.on_error = lambda _, __, reason: on_complaint(str(reason))
        # Every connection asks for all that is wanted; the first is no exception.
        self._is_first_connect = False

    @property
    def user_agent(self) -> str:
        return str(self._user_agent())

    def opened(self, modes: Mapping[int, str]) -> list[str]:
        """Take a new connection; return the messages that ask for ``modes``."""
        self.subscribed_tokens = dict(modes)
        self._on_connect(self.outbox, None)
        self._on_open(self.outbox)
        return self.outbox.take()

    def text(self, message: str) -> None:
        """Read a text message; raises what the SDK raises on one that is no JSON object."""
        self._on_message(self.outbox, message, False)
