"""A broker with one account behind the order ports. What it does wrong, its seed decides."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from marketdata.domain.errors import BadReply, BrokerUnavailable, LoginExpired
from marketdata.domain.orders import (
    OrderRequest,
    OrderSnapshot,
    Outcome,
    PositionSnapshot,
    Quote,
    RejectReason,
    TradeSnapshot,
    WriteResult,
)
from tests.simulation.ledger import Ledger, TrueOrder
from tests.simulation.log import EventLog
from tests.simulation.loop import VirtualLoop
from tests.simulation.market import Market

PLACES = {
    "fill": 40, "slow_fill": 8, "rest": 8, "partial": 8, "partial_cancelled": 3, "reject_at_door": 7,
    "reject_after_ack": 4, "lost_booked": 8, "lost": 6, "error_booked": 4, "html_booked": 2, "throttled": 4,
    "refused_but_booked": 3, "slow_reply": 5, "arrives_late": 4, "hidden": 4, "hidden_lost": 4,
    "stripped_tag": 3, "cut_tag": 1, "not_sent": 3, "prepare_fails": 1,
}  # fmt: skip
"""How often each way of taking an order happens, in a session where everything goes wrong."""

CANCELS = {"ok": 50, "lost": 10, "lost_done": 10, "filled_first": 15, "slow": 8, "refused": 7, "revived": 3}
SOUND = {"fill", "slow_fill", "ok"}
"""Ways that are no fault."""

REASONS = {
    RejectReason.MARGIN: "Insufficient funds",
    RejectReason.HOLDINGS: "The shares are not in your holdings",
    RejectReason.BAND: "Price outside the execution range",
    RejectReason.FREEZE: "Quantity above the freeze limit",
    RejectReason.NO_MARKET: "Market orders are blocked for this contract",
    RejectReason.BAN: "Trading is suspended",
    RejectReason.OTHER: "Something new",
}


@dataclass
class Network:
    """How long the call just made takes to answer, besides the ordinary; read once."""

    extra: float = 0.0

    def take(self) -> float:
        extra, self.extra = self.extra, 0.0
        return extra


@dataclass
class BrokerState:
    """What is wrong with the broker now."""

    failing_reads: str = ""
    is_refusing: bool = False
    token: str = "token-1"
    is_sound: bool = False  # no faults any more
    weights: Mapping[str, float] = field(default_factory=dict)


class Broker:
    """The account's broker. Every call is answered at one instant of made-up time."""

    def __init__(
        self, name: str, loop: VirtualLoop, market: Market, rng: random.Random, log: EventLog
    ) -> None:
        self.name = name
        self.ledger = Ledger(name, loop.time)
        self.state = BrokerState()
        self.network = Network()
        self.on_place: Callable[[Broker, OrderRequest], None] = lambda _broker, _request: None
        self.on_read: Callable[[str, float, Sequence[Any]], None] = lambda _view, _since, _rows: None
        self.on_update: Callable[[OrderSnapshot], None] = lambda _: None
        self._loop = loop
        self._market = market
        self._rng = rng
        self._log = log

    # --- writes ---------------------------------------------------------------------------

    def place(self, request: OrderRequest) -> WriteResult:
        """Take one order request that has arrived."""
        self.on_place(self, request)
        way = self._choose(PLACES)
        self._log.write(f"{self.name} place {request.tag} {request.side} {request.quantity} {request.symbol} "
                        f"{request.product} {request.limit_price} {way}")  # fmt: skip
        if way not in SOUND:
            self._log.fault(f"place:{way}", request.tag)
        return getattr(self, f"_{way}")(request)

    def cancel(self, order_id: str) -> WriteResult:
        order = self.ledger.orders.get(order_id)
        way = self._choose(CANCELS)
        self._log.write(f"{self.name} cancel {order_id} {way}")
        if way not in SOUND:
            self._log.fault(f"cancel:{way}", order_id)
        if order is None or order.status.is_final:
            return WriteResult(Outcome.REJECTED, order_id, "Order is not open")
        return getattr(self, f"_cancel_{way}")(order)

    def _choose(self, weights: Mapping[str, int]) -> str:
        if self.state.is_sound:
            return next(iter(weights))
        ways = list(weights)
        scale = [w * self.state.weights.get(way, 1.0) for way, w in weights.items()]
        return self._rng.choices(ways, scale)[0]

    # --- ways of taking an order ----------------------------------------------------------

    def _book(self, request: OrderRequest, tag: str | None = None) -> TrueOrder:
        order = self.ledger.book(request, ours=True, tag=tag)
        self.push(order)
        return order

    def _fill(self, request: OrderRequest, tag: str | None = None) -> WriteResult:
        order = self._book(request, tag)
        self._later(self._rng.uniform(0.0, 0.4), partial(self.trade, order, order.quantity))
        return WriteResult(Outcome.ACKED, order.order_id)

    def _slow_fill(self, request: OrderRequest) -> WriteResult:
        order = self._book(request)
        self._later(self._rng.uniform(1.0, 9.0), partial(self.trade, order, order.quantity))
        return WriteResult(Outcome.ACKED, order.order_id)

    def _rest(self, request: OrderRequest) -> WriteResult:
        return WriteResult(Outcome.ACKED, self._book(request).order_id)

    def _partial(self, request: OrderRequest) -> WriteResult:
        order = self._book(request)
        self._later(self._rng.uniform(0.0, 2.0), partial(self.trade, order, self._part(order)))
        if self._rng.random() < 0.5:
            self._later(self._rng.uniform(2.0, 8.0), partial(self.trade, order, order.quantity))
        return WriteResult(Outcome.ACKED, order.order_id)

    def _partial_cancelled(self, request: OrderRequest) -> WriteResult:
        order, delay = self._book(request), self._rng.uniform(0.0, 2.0)
        self._later(delay, partial(self.trade, order, self._part(order)))
        self._later(delay + self._rng.uniform(0.0, 1.0), partial(self._cancelled, order, "by the exchange"))
        return WriteResult(Outcome.ACKED, order.order_id)

    def _reject_at_door(self, _: OrderRequest) -> WriteResult:
        reason = self._rng.choice(list(REASONS))
        return refusal(REASONS[reason], reason)

    def _reject_after_ack(self, request: OrderRequest) -> WriteResult:
        order, reason = self._book(request), self._rng.choice(list(REASONS))
        self._later(self._rng.uniform(0.0, 1.5), partial(self._rejected, order, reason))
        return WriteResult(Outcome.ACKED, order.order_id)

    def _throttled(self, _: OrderRequest) -> WriteResult:
        return refusal("Too many requests", RejectReason.RATE)

    def _refused_but_booked(self, request: OrderRequest) -> WriteResult:
        self._taken_somehow(request)
        return refusal("Too many requests", RejectReason.RATE)

    def _lost(self, _: OrderRequest) -> WriteResult:
        return self._no_answer()

    def _lost_booked(self, request: OrderRequest) -> WriteResult:
        self._taken_somehow(request)
        return self._no_answer()

    def _error_booked(self, request: OrderRequest) -> WriteResult:
        self._taken_somehow(request)
        return WriteResult(Outcome.UNKNOWN, message="502 Bad Gateway")

    def _html_booked(self, request: OrderRequest) -> WriteResult:
        self._taken_somehow(request)
        return WriteResult(Outcome.UNKNOWN, message="<html>maintenance</html>")

    def _slow_reply(self, request: OrderRequest) -> WriteResult:
        self.network.extra = self._rng.uniform(1.0, 9.5)
        return self._taken_somehow(request)

    def _arrives_late(self, request: OrderRequest) -> WriteResult:
        delay = self._rng.choice((2.0, 5.0, 9.0, self._rng.uniform(9.0, 40.0)))
        self.ledger.flying[request.tag] = request
        self._later(delay, partial(self._arrive, request))
        return self._no_answer()

    def _arrive(self, request: OrderRequest) -> None:
        is_open = self.ledger.flying.pop(request.tag, None) is not None  # the day has not ended meanwhile
        if is_open and not self.state.is_sound:
            self._taken_somehow(request)

    def _hidden(self, request: OrderRequest) -> WriteResult:
        result = self._taken_somehow(request)
        self._hide(self.ledger.orders[result.order_id])
        return result

    def _hidden_lost(self, request: OrderRequest) -> WriteResult:
        self._hidden(request)
        return self._no_answer()

    def _stripped_tag(self, request: OrderRequest) -> WriteResult:
        result = self._fill(request, tag="") if self._rng.random() < 0.5 else self._rest_as(request, "")
        return result if self._rng.random() < 0.5 else self._no_answer()

    def _cut_tag(self, request: OrderRequest) -> WriteResult:
        self._rest_as(request, request.tag[:12])
        return self._no_answer()

    def _rest_as(self, request: OrderRequest, tag: str) -> WriteResult:
        return WriteResult(Outcome.ACKED, self._book(request, tag).order_id)

    def _not_sent(self, _: OrderRequest) -> WriteResult:
        return WriteResult(Outcome.NOT_SENT, message="held up")

    def _prepare_fails(self, _: OrderRequest) -> WriteResult:
        return WriteResult(Outcome.NOT_SENT, message="connection closed before anything was sent")

    def _taken_somehow(self, request: OrderRequest) -> WriteResult:
        return self._rng.choice((self._fill, self._fill, self._slow_fill, self._rest, self._partial))(request)

    def _no_answer(self) -> WriteResult:
        self.network.extra = self._rng.choice((0.0, 1.0, 10.0))
        return WriteResult(Outcome.UNKNOWN, message="no answer")

    def _hide(self, order: TrueOrder) -> None:
        seconds = self._rng.choice((1.0, 3.0, 8.0, self._rng.uniform(8.0, 40.0)))
        order.hidden_until = self._loop.time() + seconds
        if self._rng.random() < 0.5:
            order.hidden_fills_until = order.hidden_until

    def _part(self, order: TrueOrder) -> int:
        return self._rng.randint(1, max(order.quantity - 1, 1))

    # --- ways of taking a cancel ----------------------------------------------------------

    def _cancel_ok(self, order: TrueOrder) -> WriteResult:
        self._cancelled(order)
        return WriteResult(Outcome.ACKED, order.order_id)

    def _cancel_lost(self, _: TrueOrder) -> WriteResult:
        return self._no_answer()

    def _cancel_lost_done(self, order: TrueOrder) -> WriteResult:
        self._cancelled(order)
        return self._no_answer()

    def _cancel_filled_first(self, order: TrueOrder) -> WriteResult:
        left = order.quantity - order.filled
        self.trade(order, left if self._rng.random() < 0.7 else self._rng.randint(1, left))
        self._cancelled(order)
        return WriteResult(Outcome.REJECTED, order.order_id, "Order is complete")

    def _cancel_slow(self, order: TrueOrder) -> WriteResult:
        self._later(self._rng.uniform(0.5, 6.0), partial(self._cancelled, order))
        return WriteResult(Outcome.ACKED, order.order_id)

    def _cancel_refused(self, order: TrueOrder) -> WriteResult:
        return WriteResult(Outcome.REJECTED, order.order_id, "Try again")

    def _cancel_revived(self, order: TrueOrder) -> WriteResult:
        """Called cancelled, and filled all the same."""
        self._cancelled(order)
        left = order.quantity - order.filled
        self._later(self._rng.uniform(0.5, 15.0), partial(self._revive, order, left))
        return WriteResult(Outcome.ACKED, order.order_id)

    def _revive(self, order: TrueOrder, quantity: int) -> None:
        if order.order_id in self.ledger.orders and not self.state.is_sound:
            self._log.write(f"{self.name} revived {order.order_id}")
            self.ledger.fill(order, quantity, self._price(order))
            self.push(order)

    # --- the exchange ---------------------------------------------------------------------

    def trade(self, order: TrueOrder, quantity: int) -> None:
        """Fill up to ``quantity`` of an order if it is alive and somebody takes it."""
        instrument = self._market.instruments[order.symbol]
        price = instrument.fills_at(order.side, order.price) if self._market.is_open else None
        quantity = min(quantity, order.unfilled)
        if (
            order.status.is_final
            or price is None
            or quantity <= 0
            or order.order_id not in self.ledger.orders
        ):
            return
        self._log.write(f"{self.name} fill {order.order_id} {order.true_tag} {quantity}/{order.quantity}")
        self.ledger.fill(order, quantity, price)
        self.push(order)

    def fill_what_rests(self) -> None:
        """Fill everything that somebody takes."""
        for order in self.ledger.live():
            self.trade(order, order.quantity)

    def _price(self, order: TrueOrder) -> Decimal:
        return order.price or Decimal("1490.00")

    def _cancelled(self, order: TrueOrder, why: str = "") -> None:
        if not order.status.is_final and order.order_id in self.ledger.orders:
            self._log.write(f"{self.name} cancelled {order.order_id} {why}".rstrip())
            self.ledger.cancel(order, why)
            self.push(order)

    def by_hand(self, order: TrueOrder) -> None:
        """Cancel an order as its owner may in the broker's own app."""
        self._cancelled(order, "by hand")

    def _rejected(self, order: TrueOrder, reason: RejectReason) -> None:
        if not order.status.is_final and not order.filled:
            self.ledger.reject(order, reason, REASONS[reason])
            self.push(order)

    def push(self, order: TrueOrder) -> None:
        """Send an order update, sometimes: at once, late, or never."""
        chance, snapshot = self._rng.random(), order.snapshot()
        if order.hidden_until > self._loop.time() or chance < 0.3:
            return
        self._later(0.01 if chance < 0.8 else self._rng.uniform(0.5, 5.0), partial(self.on_update, snapshot))

    def _later(self, seconds: float, call: Callable[[], object]) -> None:
        self._loop.at(self._loop.time() + seconds, call)

    # --- reads ----------------------------------------------------------------------------

    def read(self, view: str, token: str) -> Sequence[Any]:
        """Answer a read of one view, or fail."""
        self.check(token)
        since, rows = self.ledger.show(view)
        self.on_read(view, since, rows)
        return rows

    def check(self, token: str) -> None:
        """Raise what keeps a read from being answered, if anything."""
        if token != self.state.token:
            raise LoginExpired("the access token is dead")
        if self.state.failing_reads == "html":
            raise BadReply("<html>maintenance</html>")
        if self.state.failing_reads:
            self.network.extra = 10.0 if self.state.failing_reads == "timeout" else 0.0
            raise BrokerUnavailable(self.state.failing_reads)

    def quotes(self, symbols: Collection[str]) -> Mapping[str, Quote]:
        known = self._market.instruments
        return {s: known[s].quote(self._loop.time()) for s in sorted(symbols) if s in known}


class Gateway:
    """Implements ``OrderGateway`` with one token of the account."""

    def __init__(self, broker: Broker, client_id: str, token: str, monotonic: Callable[[], float]) -> None:
        self._broker = broker
        self._client_id = client_id
        self._token = token
        self._monotonic = monotonic

    def open_wire(self) -> Wire:
        if self._broker.state.is_refusing:
            raise BrokerUnavailable("connection refused")
        return Wire(self._broker, self._token, self._monotonic)

    def orders(self) -> Sequence[OrderSnapshot]:
        return self._broker.read("orders", self._token)

    def trades(self) -> Sequence[TradeSnapshot]:
        return self._broker.read("trades", self._token)

    def positions(self) -> Sequence[PositionSnapshot]:
        return self._broker.read("positions", self._token)

    def quotes(self, symbols: Collection[str]) -> Mapping[str, Quote]:
        self._broker.check(self._token)
        return self._broker.quotes(symbols)

    def account_id(self) -> str:
        self._broker.check(self._token)
        return self._client_id


class Wire:
    """Implements ``OrderWire``: one connection for one write."""

    def __init__(self, broker: Broker, token: str, monotonic: Callable[[], float]) -> None:
        self._broker = broker
        self._token = token
        self._monotonic = monotonic
        self._request: OrderRequest | None = None

    def is_open(self) -> bool:
        return True

    def prepare(self, request: OrderRequest) -> None:
        self._request = request

    def send(self, not_after: float) -> WriteResult:
        request, self._request = self._request, None
        if request is None:
            raise RuntimeError("nothing is prepared")
        if self._monotonic() > not_after:
            return WriteResult(Outcome.NOT_SENT, message="held up")
        if self._token != self._broker.state.token:
            return refusal("The token is invalid", RejectReason.LOGIN)
        return self._broker.place(request)

    def cancel(self, order_id: str) -> WriteResult:
        if self._token != self._broker.state.token:
            return refusal("The token is invalid", RejectReason.LOGIN)
        return self._broker.cancel(order_id)

    def close(self) -> None:
        """Nothing is open."""


def refusal(text: str, reason: RejectReason) -> WriteResult:
    return WriteResult(Outcome.REJECTED, "", text, reason.reject_class, reason)
