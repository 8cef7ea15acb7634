"""Zerodha's feed: KiteTicker's protocol on our transport, our decoder on its frames."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from marketdata.brokers.zerodha.book import order_snapshot
from marketdata.brokers.zerodha.columns import KiteColumns
from marketdata.brokers.zerodha.decode import decode
from marketdata.brokers.zerodha.roots import root
from marketdata.columns import ColumnReader
from marketdata.domain.errors import BadFrame, BadReply, BrokerError, BrokerRejected, LoginExpired
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.listener import MarketDataListener
from marketdata.ports import BrokerConfig
from marketdata.secret import Secret
from marketdata.transport import Handshake, HandshakeRefused

logger = logging.getLogger(__name__)

_FORBIDDEN = 403
_DIGITS, _LARGEST = 10, 0xFFFF_FFFF
"""Of a token: frames carry four bytes."""


class ZerodhaMarketListener(MarketDataListener):
    """One Kite account's feed. Heartbeats of one byte come about every second when idle."""

    instruments_per_connection = 3000
    _protocol: Any
    skipped_packets = 0
    """Packets of an undocumented length so far."""

    def load(self) -> None:
        from marketdata.brokers.zerodha import ticker  # noqa: F401 - a second of work, and it installs a reactor

    def handshake(self) -> Handshake:
        # A new protocol for each connection: the URL holds the token of the day.
        self._protocol = _protocol(self._config, self._on_order, self._on_complaint)
        headers = {"X-Kite-Version": "3"}
        return Handshake(Secret(self._protocol.socket_url), headers, self._protocol.user_agent)

    def refused(self, error: HandshakeRefused) -> BrokerError:
        if error.status == _FORBIDDEN:  # Kite's word for a token that is dead or was never alive
            return LoginExpired(f"Zerodha refused the access token ({error}): log in again")
        return error

    def wire_token(self, token: str) -> int:
        if not token.isascii() or not token.isdigit() or len(token) > _DIGITS or int(token) > _LARGEST:
            raise ValueError(f"token {token!r}: expected a number of 32 bits, as in 408065")
        return int(token)

    def opening_messages(self, wanted: Mapping[int, FeedMode]) -> Sequence[str]:
        messages: list[str] = self._protocol.opened({token: mode.value for token, mode in wanted.items()})
        return messages

    def subscribe_messages(self, tokens: Sequence[int], mode: FeedMode) -> Sequence[str]:
        self._protocol.subscribe(list(tokens))
        return self.mode_messages(tokens, mode)

    def mode_messages(self, tokens: Sequence[int], mode: FeedMode) -> Sequence[str]:
        self._protocol.set_mode(mode.value, list(tokens))
        return self._taken()

    def unsubscribe_messages(self, tokens: Sequence[int]) -> Sequence[str]:
        self._protocol.unsubscribe(list(tokens))
        return self._taken()

    def decode(self, frame: bytes, *, received_at: float, symbols: Mapping[int, str]) -> Sequence[Tick]:
        ticks, skipped = decode(frame, received_at=received_at, symbols=symbols)
        self.skipped_packets += skipped
        return ticks

    def columns(self) -> ColumnReader:
        return KiteColumns()

    def read_text(self, text: str) -> None:
        try:
            self._protocol.text(text)
        except (AttributeError, RecursionError) as exc:  # what the SDK makes of JSON that is no object
            raise BadFrame("text message is not a JSON object") from exc

    def _taken(self) -> list[str]:
        messages: list[str] = self._protocol.outbox.take()
        return messages

    def _on_order(self, data: Mapping[str, Any]) -> None:
        try:
            order = order_snapshot(data)
        except BadReply as exc:
            raise BadFrame(f"order update: {exc}") from exc
        self._callbacks.emit("on_order_update", order)

    def _on_complaint(self, reason: str) -> None:
        self._complain(BrokerRejected(f"Zerodha's feed says: {reason}"))


def _protocol(config: BrokerConfig, on_order: Any, on_complaint: Any) -> Any:
    from marketdata.brokers.zerodha.ticker import Protocol  # heavy, and it installs a Twisted reactor

    return Protocol(
        config.api_key,
        config.access_token.reveal(),
        root("feed"),
        on_order=on_order,
        on_complaint=on_complaint,
    )
