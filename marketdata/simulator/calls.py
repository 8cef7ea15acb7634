"""What HTTP requests to every broker have in common: who asks, and what faults make of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol, cast

from aiohttp import web

from marketdata.simulator.accounts import Account
from marketdata.simulator.exchange import OrderClosed
from marketdata.simulator.faults import Fault
from marketdata.simulator.instrument import Instrument
from marketdata.simulator.market import Market
from marketdata.simulator.orders import Order, Ticket, Whims
from marketdata.simulator.protection import PriceRange
from marketdata.simulator.shown import Books

_PAGE = "<html><head><title>Maintenance</title></head><body><h1>We will be back soon</h1></body></html>"


class Words(Protocol):
    """A broker's errors for what can happen at all of them."""

    def too_many(self) -> Exception: ...

    def gateway_error(self, status: int) -> Exception: ...

    def refusal(self, fault: Fault) -> Exception:
        """Word the fault ``reject``."""
        ...

    def market_blocked(self) -> Exception:
        """Say that market orders are not taken in an instrument."""
        ...

    def beyond_range(self) -> Exception:
        """Refuse a limit price outside the exchange's range, as misleadingly as the broker does."""
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

    def books(self) -> Books:
        """Return the caller's books as this request is shown them."""
        return self.market.shown.books(self.who)

    def cut(self) -> web.Response:
        """End the connection without an answer."""
        cast("asyncio.Transport", self.request.transport).abort()
        return web.Response()


async def before(call: Call, words: Words) -> web.Response | None:
    """Let faults strike before anything is done; a response is the end of it."""
    faults = call.market.faults
    await _delay(call, booked=False)
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


async def after(call: Call, words: Words) -> web.Response | None:
    """Let faults strike when it is done, in the place of the answer."""
    faults = call.market.faults
    await _delay(call, booked=True)
    if faults.take("lost_reply", *call.who):
        return call.cut()
    if failing := faults.take("server_error", *call.who):
        raise words.gateway_error(failing.parameters["status"])
    return None


async def _delay(call: Call, *, booked: bool) -> None:
    late = call.market.faults.active("latency", *call.who)
    if late and late.parameters["booked"] is booked:
        call.market.faults.take("latency", *call.who)
        await call.market.clock.sleep(late.parameters["delay_s"])


def book(call: Call, ticket: Ticket, words: Words) -> Order:
    """Take an order into the caller's book and hand it to the exchange, unless a fault refuses it."""
    faults, exchange = call.market.faults, call.market.exchange
    reject = faults.take("reject", *call.who)
    if reject and not reject.parameters["booked"]:
        raise words.refusal(reject)
    whims = _whims(call, ticket, words)
    if reject:
        whims.fate = reject.parameters["text"]
    if cut := faults.take("strip_tag", *call.who):
        ticket = replace(ticket, tag=ticket.tag[: cut.parameters["keep"]])
    order = exchange.place(call.client_id or "", ticket, whims)
    _judge(call.market, order, now=reject is not None)
    if faults.take("double_booking", *call.who):
        _judge(call.market, exchange.place(call.client_id or "", ticket, replace(whims)), now=False)
    if reject:
        raise words.refusal(reject)
    return order


def _whims(call: Call, ticket: Ticket, words: Words) -> Whims:
    """Return what the armed faults are going to do to an order; raises the broker's refusal."""
    whims = Whims(fate=_objection(call, ticket, words), sent_tag=ticket.tag)
    who, faults, instrument = call.who, call.market.faults, call.instrument(ticket.symbol)
    if late := faults.take("reject_after_ack", *who):
        whims.fate = late.parameters["text"]
    if faults.take("rest", *who):
        whims.fills_at_most = 0
    if partial := faults.take("partial", *who):
        whims.fills_at_most = instrument.in_lots(partial.parameters["quantity"])
    if ended := faults.take("cancelled_by_exchange", *who):
        whims.fills_at_most = instrument.in_lots(ended.parameters["filled"])
        whims.ending = ended.parameters["text"]
    if hidden := faults.take("hide", *who):
        whims.hidden_until = call.market.clock.monotonic() + hidden.parameters["hide_s"]
    if odd := faults.take("odd_status", *who):
        whims.word = odd.parameters["word"]
    return whims


def _objection(call: Call, ticket: Ticket, words: Words) -> str:
    """Return the text with which the exchange is going to refuse; raises the broker's own refusal."""
    faults, instrument = call.market.faults, call.instrument(ticket.symbol)
    blocked = faults.active("market_blocked", *call.who)
    if blocked and not ticket.kind.has_price and blocked.parameters["symbol"] in ("", ticket.symbol):
        faults.take("market_blocked", *call.who)
        raise words.market_blocked()
    guarded = faults.active("price_protection", *call.who)
    if guarded is None or _price_range(guarded).takes(ticket, instrument):
        return ""
    faults.take("price_protection", *call.who)
    if not guarded.parameters["booked"]:
        raise words.beyond_range()
    return "17070 : The Price is out of the current execution range."


def _price_range(fault: Fault) -> PriceRange:
    percent, rupees = (Decimal(str(fault.parameters[name])) for name in ("percent", "rupees"))
    return PriceRange(percent, rupees)


def cancel(call: Call, order: Order) -> None:
    """Cancel an order as its client asks, unless a fault lets the exchange be faster.

    Raises:
        OrderClosed: It is in a final state.

    """
    faults, exchange = call.market.faults, call.market.exchange
    if not order.status.is_final and (race := faults.take("fill_on_cancel", *call.who)):
        exchange.execute(order)
        if race.parameters["refused"]:
            raise OrderClosed(f"order {order.order_id} was filled")
        return
    exchange.cancel(order, "client")
    if late := faults.take("late_fill", *call.who):
        asyncio.get_running_loop().call_later(late.parameters["after_s"], exchange.execute, order)


def _judge(market: Market, order: Order, *, now: bool) -> None:
    """Hand a received order on to the exchange: accepting it and dealing are two moments."""
    if now or not market.matching_delay_s:
        market.exchange.work(order)
    else:
        asyncio.get_running_loop().call_later(market.matching_delay_s, market.exchange.work, order)
