"""Dhan's order updates: a socket of their own, beside the feed and never in its way.

They are hints to read the order book and nothing more, so what is lost here is lost time only.
The documentation writes its keys in one way and the wire in another.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

from marketdata.backoff import Delays, pause
from marketdata.brokers.dhan.book import order_status
from marketdata.brokers.dhan.refusals import REFUSALS
from marketdata.brokers.dhan.roots import root
from marketdata.brokers.dhan.segments import LISTED, token_of
from marketdata.domain.clock import Clock
from marketdata.domain.errors import BadFrame, BadReply, BrokerError, BrokerUnavailable
from marketdata.domain.instruments import canonical
from marketdata.domain.orders import OrderSnapshot, Side
from marketdata.malformed import Malformed
from marketdata.ports import BrokerConfig, Tokens
from marketdata.replies import mapping, optional_text, price, text
from marketdata.secret import Secret
from marketdata.transport import Handshake, Transport, TransportOptions

logger = logging.getLogger(__name__)

OPTIONS = TransportOptions(silence_s=10.0, pongs_count=True)
_ALERT = "order_alert"
_LOGIN_CODE = 42
_SIDES: Mapping[str, Side] = {"B": Side.BUY, "S": Side.SELL, "BUY": Side.BUY, "SELL": Side.SELL}
_PRODUCTS: Mapping[str, str] = {"C": "CNC", "I": "MIS", "M": "NRML", "F": "MTF", "V": "CO", "B": "BO"}


class OrderUpdates:
    """Keeps the socket open from :meth:`start` to :meth:`stop` and hands on what it says.

    Attributes:
        is_connected: Logged in, as far as can be known: a login is not answered.

    """

    def __init__(
        self,
        config: BrokerConfig,
        tokens: Tokens,
        on_order: Callable[[OrderSnapshot], None],
        *,
        is_wanted: Callable[[], bool],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._config = config
        self._tokens = tokens
        self._on_order = on_order
        self._is_wanted = is_wanted
        self._clock = clock
        self._rng = rng
        self._name = f"{config.broker} account {config.account_id}"
        self._hurry = asyncio.Event()
        self._malformed = Malformed()
        self._transport: Transport | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        return self._transport is not None

    def start(self) -> None:
        """Begin, unless it has begun already."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"order updates of {self._name}")

    async def stop(self) -> None:
        """Close, and stop trying. Safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def use_config(self, config: BrokerConfig) -> None:
        """Go on with other credentials; an open connection is replaced."""
        self._config = config
        if self._transport is not None:
            self._transport.abort("the credentials changed")
        self._hurry.set()

    def hurry(self) -> None:
        """Try again now when not connected."""
        if self._transport is None:
            self._hurry.set()

    async def _run(self) -> None:
        delays = Delays(self._rng)
        while True:
            self._hurry.clear()
            if not self._is_wanted():  # the token is known to be dead: no use in showing it again
                await self._hurry.wait()
                continue
            began = self._clock.monotonic()
            try:
                await self._listen()
            except Exception as exc:
                trace = None if isinstance(exc, BrokerError) else exc
                logger.info("%s: order updates interrupted: %s", self._name, exc, exc_info=trace)
                delay = delays.after(exc, self._clock.monotonic() - began)
                await pause(self._clock, delay, unless=self._hurry)

    async def _listen(self) -> None:
        config = self._config
        transport = await Transport.open(
            Handshake(Secret(root("order_feed"))), options=OPTIONS, clock=self._clock
        )
        try:
            if config is not self._config:
                raise BrokerUnavailable("the credentials changed during the handshake")
            await transport.send(login_message(config))
            self._transport = transport
            logger.info("%s: order updates connected", self._name)
            while True:
                self._read(await transport.receive())
        finally:
            self._transport = None
            await transport.close()

    def _read(self, message: bytes | str) -> None:
        try:
            order = order_update(message, self._tokens)
        except BadFrame as exc:
            logger.warning("%s: %s", self._name, exc)
            self._malformed.count(self._clock.monotonic())
            return
        if order is not None:
            self._on_order(order)


def login_message(config: BrokerConfig) -> str:
    """Return what logs in. It holds the token: never log it."""
    login = {"MsgCode": _LOGIN_CODE, "ClientId": config.client_id, "Token": config.access_token.reveal()}
    return json.dumps({"LoginReq": login, "UserType": "SELF"})


def order_update(message: bytes | str, tokens: Tokens) -> OrderSnapshot | None:
    """Read one message; None when it is about something else than an order.

    Raises:
        BadFrame: Not of the documented shape.

    """
    try:
        envelope = _lowered(json.loads(message))
        if envelope.get("type") != _ALERT:
            return None
        return _snapshot(_lowered(envelope.get("data")), tokens)
    except (BadReply, ValueError, ArithmeticError, RecursionError) as exc:
        raise BadFrame(f"order update: {_why(exc)}") from exc


def _lowered(value: Any) -> dict[str, Any]:
    return {key.lower(): field for key, field in mapping(value, "message").items()}


def _snapshot(row: Mapping[str, Any], tokens: Tokens) -> OrderSnapshot:
    status = text(row, "status").upper().replace(" ", "_")
    side = text(row, "txntype").upper()
    product, reason = text(row, "product").upper(), optional_text(row, "reasondescription")
    if side not in _SIDES:
        raise BadReply(f"txntype: expected B or S, got {side!r}")
    return OrderSnapshot(
        order_id=text(row, "orderno"),
        tag=optional_text(row, "correlationid"),
        symbol=_symbol(row, tokens),
        side=_SIDES[side],
        product=_PRODUCTS.get(product, product),
        quantity=_count(row, "quantity"),
        filled_quantity=_count(row, "tradedqty"),
        status=order_status(status),
        status_text=status,
        average_price=price(row, "avgtradedprice") or None,
        message=reason,
        reject_reason=REFUSALS.of_order(order_status(status), reason),
    )


def _symbol(row: Mapping[str, Any], tokens: Tokens) -> str:
    # The feed knows the symbols it carries; another one keeps the name that Dhan gives it.
    exchange, letter = text(row, "exchange").upper(), text(row, "segment").upper()
    if (exchange, letter) not in LISTED:
        raise BadReply(f"exchange and segment: no segment {exchange} {letter} is known")
    segment, ours = LISTED[exchange, letter]
    known = tokens.symbol(token_of(segment, text(row, "securityid")))
    return known or canonical(ours, text(row, "symbol"))


def _count(row: Mapping[str, Any], name: str) -> int:
    value: Any = row.get(name)
    if type(value) not in (int, float) or value != int(value):
        raise BadReply(f"{name}: expected a whole number, got {value!r}")
    return int(value)


def _why(exc: Exception) -> str:
    return str(exc) if isinstance(exc, BadReply) else f"not readable ({type(exc).__name__})"
