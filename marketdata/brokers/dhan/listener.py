"""Dhan's feed: our decoder on its frames, requests of at most a hundred instruments."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from marketdata.brokers.dhan.columns import DhanColumns, joined
from marketdata.brokers.dhan.decode import SEGMENTS, Security, decode
from marketdata.brokers.dhan.diagnosis import diagnose
from marketdata.brokers.dhan.goodbyes import BACK_OFF_S, goodbye
from marketdata.brokers.dhan.order_updates import OrderUpdates
from marketdata.brokers.dhan.roots import root
from marketdata.brokers.dhan.segments import split_token
from marketdata.columns import ColumnReader
from marketdata.domain.errors import BrokerError, BrokerRejected, LoginExpired, TryLater
from marketdata.domain.feed import ListenerState
from marketdata.domain.prices import to_units
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.listener import MarketDataListener
from marketdata.ports import BrokerConfig, Tokens
from marketdata.secret import MASK, Secret
from marketdata.transport import Handshake, HandshakeRefused, TransportOptions

logger = logging.getLogger(__name__)

PER_MESSAGE = 100
_ADD: Mapping[FeedMode, int] = {FeedMode.FULL: 21, FeedMode.LTP: 15}
"""Request codes: full and ticker. The next number takes an instrument out again."""
_NAMES = {number: name for name, number in SEGMENTS.items()}
_UNAUTHORIZED, _TOO_MANY_REQUESTS = 401, 429
_UNAUTHORIZED_S = 15.0
_DIAGNOSIS_S = 3.0
"""The profile is asked in the way of the next attempt: no longer than this."""
_SHOWN = 200


class DhanMarketListener(MarketDataListener):
    """One Dhan account's feed, and beside it the socket of its order updates.

    Nothing comes while nothing trades, so pongs to our pings are what shows that it lives.
    """

    instruments_per_connection = 5000
    options = TransportOptions(pongs_count=True)
    skipped_packets = 0
    """Packets of an undocumented kind, or with an impossible price, so far."""

    def __init__(self, user_id: int, broker_config: BrokerConfig, **parts: Any) -> None:
        super().__init__(user_id, broker_config, **parts)
        self._tokens: Tokens = parts["tokens"]
        self._carried: dict[Security, FeedMode] = {}
        self._steps: dict[Security, int] = {}
        self._reason: int | None = None
        self._orders = OrderUpdates(
            broker_config,
            self._tokens,
            lambda order: self._callbacks.emit("on_order_update", order),
            is_wanted=lambda: self._state is not ListenerState.LOGIN_NEEDED,
            clock=self._clock,
            rng=self._rng,
        )
        self.register_callback("on_connect", self._orders.hurry)  # a login that was needed is there

    # --- Life ----------------------------------------------------------------------------

    async def connect(self) -> None:
        if self.hears_orders:
            self._orders.start()
        await super().connect()

    async def disconnect(self) -> None:
        await self._orders.stop()
        await super().disconnect()

    async def use_config(self, broker_config: BrokerConfig) -> None:
        self._orders.use_config(broker_config)
        await super().use_config(broker_config)

    # --- Speech --------------------------------------------------------------------------

    def handshake(self) -> Handshake:
        token = self._config.access_token.reveal()
        if not token:
            raise LoginExpired("the account has no access token: log in")
        query = {"version": 2, "token": token, "clientId": self._config.client_id, "authType": 2}
        return Handshake(Secret(f"{root('feed')}?{urlencode(query)}"))

    def refused(self, error: HandshakeRefused) -> BrokerError:
        if error.status == _TOO_MANY_REQUESTS:
            return TryLater(str(error), BACK_OFF_S)
        if error.status == _UNAUTHORIZED:
            return TryLater(str(error), _UNAUTHORIZED_S)
        return error

    async def diagnose(self, error: Exception) -> Exception:
        if isinstance(error, LoginExpired | BrokerRejected):
            return error
        try:
            async with asyncio.timeout(_DIAGNOSIS_S):
                return await asyncio.to_thread(diagnose, self._config, root("api"), error)
        except TimeoutError:
            return error

    def wire_token(self, token: str) -> Security:
        segment, security_id = split_token(token)
        return SEGMENTS[segment], int(security_id)

    def opening_messages(self, wanted: Mapping[Security, FeedMode]) -> Sequence[str]:
        self._reason = None
        self._carried.clear()
        self._steps.clear()
        messages: list[str] = []
        for mode in _ADD:
            messages += self.subscribe_messages([s for s, its in wanted.items() if its is mode], mode)
        return messages

    def subscribe_messages(self, tokens: Sequence[Security], mode: FeedMode) -> Sequence[str]:
        self._carried.update(dict.fromkeys(tokens, mode))
        self._learn_steps(tokens)
        return list(_requests(_ADD[mode], tokens))

    def mode_messages(self, tokens: Sequence[Security], mode: FeedMode) -> Sequence[str]:
        # Whether taking an instrument out of one mode takes it out altogether is not documented:
        # asked for before, so that there is no gap, and once more in case it was.
        added = self.subscribe_messages(tokens, mode)
        others = [other for other in _ADD if other is not mode]
        removed = [message for other in others for message in _requests(_ADD[other] + 1, tokens)]
        return [*added, *removed, *added]

    def unsubscribe_messages(self, tokens: Sequence[Security]) -> Sequence[str]:
        modes = {security: self._carried.pop(security) for security in tokens}
        return [
            message
            for mode, code in _ADD.items()
            for message in _requests(code + 1, [s for s, its in modes.items() if its is mode])
        ]

    def decode(self, frame: bytes, *, received_at: float, symbols: Mapping[Security, str]) -> Sequence[Tick]:
        ticks, _, reason, skipped = decode(frame, received_at=received_at, symbols=symbols, steps=self._steps)
        self._reason = reason
        self.skipped_packets += skipped
        return ticks

    def columns(self) -> ColumnReader:
        return DhanColumns(self._steps)

    def joined(self, messages: Sequence[bytes | str]) -> Sequence[bytes | str]:
        return joined(messages)

    def goodbye(self) -> BrokerError | None:
        return None if self._reason is None else goodbye(self._reason)

    def read_text(self, text: str) -> None:
        # None is documented: whatever it says, it is for a person.
        said = text[:_SHOWN]
        if token := self._config.access_token.reveal():
            said = text.replace(token, MASK)[:_SHOWN]
        self._complain(BrokerRejected(f"Dhan's feed says: {said}"))

    def _learn_steps(self, securities: Iterable[Security]) -> None:
        for security in securities:
            size = self._tokens.tick_size(self._subscribed.symbols[security])
            if size:
                self._steps[security] = to_units(size)


def _requests(code: int, securities: Sequence[Security]) -> Iterator[str]:
    for start in range(0, len(securities), PER_MESSAGE):
        some = [
            {"ExchangeSegment": _NAMES[segment], "SecurityId": str(security_id)}
            for segment, security_id in securities[start : start + PER_MESSAGE]
        ]
        yield json.dumps({"RequestCode": code, "InstrumentCount": len(some), "InstrumentList": some})
