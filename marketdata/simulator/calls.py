"""What HTTP requests to every broker have in common: who asks, and what faults make of it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Protocol, cast

from aiohttp import web

from marketdata.domain.clock import Clock
from marketdata.simulator.accounts import Account
from marketdata.simulator.faults import Fault
from marketdata.simulator.instrument import Instrument
from marketdata.simulator.market import Market
from marketdata.simulator.orders import Order, Ticket

_PAGE = "<html><head><title>Maintenance</title></head><body><h1>We will be back soon</h1></body></html>"


class Words(Protocol):
    """A broker's errors for what can happen at all of them."""

    def too_many(self) -> Exception: ...

    def gateway_error(self, status: int) -> Exception: ...

    def refusal(self, fault: Fault) -> Exception:
        """Word the fault ``reject``."""
        ...


@dataclass(slots=True)
class Call:
    """A request that was let in. Public ones have no caller."""

    market: Market
    broker: str
    request: web.Request
    operation: str
    caller: Account | None

    @property
    def client_id(self) -> str | None:
        return self.caller.client_id if self.caller else None

    @property
    def who(self) -> tuple[str | None, str, str]:
        """What faults ask for: account, operation, broker."""
        return self.client_id, self.operation, self.broker

    def path(self, name: str) -> str:
        return self.request.match_info[name]

    def instrument(self, symbol: str) -> Instrument:
        return self.market.exchange.instrument(symbol)

    def cut(self) -> web.Response:
        """End the connection without an answer."""
        cast("asyncio.Transport", self.request.transport).abort()
        return web.Response()


async def before(call: Call, words: Words) -> web.Response | None:
    """Let faults strike before anything is done; a response is the end of it."""
    faults = call.market.faults
    if delay := faults.take("latency", *call.who):
        await call.market.clock.sleep(delay.parameters["delay_s"])
    if faults.take("cut_before", *call.who):
        return call.cut()
    if faults.take("rate_limited", *call.who):
        raise words.too_many()
    if page := faults.take("html", *call.who):
        return web.Response(text=_PAGE, content_type="text/html", status=page.parameters["status"])
    failing = faults.active("server_error", *call.who)
    if failing and not failing.parameters["booked"]:
        faults.take("server_error", *call.who)
        raise words.gateway_error(failing.parameters["status"])
    return None


def after(call: Call, words: Words) -> web.Response | None:
    """Let faults strike when it is done, in the place of the answer."""
    faults = call.market.faults
    if faults.take("lost_reply", *call.who):
        return call.cut()
    if failing := faults.take("server_error", *call.who):
        raise words.gateway_error(failing.parameters["status"])
    return None


def book(call: Call, ticket: Ticket, words: Words) -> Order:
    """Take an order into the caller's book and hand it to the exchange, unless a fault refuses it."""
    faults, exchange = call.market.faults, call.market.exchange
    reject, late = faults.take("reject", *call.who), faults.take("reject_after_ack", *call.who)
    if reject and not reject.parameters["booked"]:
        raise words.refusal(reject)
    fate = next((fault.parameters["text"] for fault in (reject, late) if fault), "")
    held = faults.take("rest", *call.who) is not None
    order = exchange.place(call.client_id or "", ticket, held=held, fate=fate)
    _judge(call.market, order, now=reject is not None)
    if reject:
        raise words.refusal(reject)
    return order


def _judge(market: Market, order: Order, *, now: bool) -> None:
    """Hand a received order on to the exchange: accepting it and dealing are two moments."""
    if now or not market.matching_delay_s:
        market.exchange.work(order)
    else:
        asyncio.get_running_loop().call_later(market.matching_delay_s, market.exchange.work, order)


class Windows:
    """Counts what happened in sliding windows of time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, str], deque[float]] = {}

    def admits(self, key: str, bucket: str, limit: int, window_s: float) -> bool:
        """Count one more, unless there were ``limit`` of them within ``window_s``."""
        now, seen = self._clock.monotonic(), self._seen.setdefault((key, bucket), deque())
        while seen and now - seen[0] >= window_s:
            seen.popleft()
        if len(seen) >= limit:
            return False
        seen.append(now)
        return True
