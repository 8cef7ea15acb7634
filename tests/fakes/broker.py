"""A broker with state behind the order ports, for what no wire is needed to show.

It keeps the true ledger, fills at once unless told otherwise, and fails by script.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from marketdata.clock import SystemClock
from marketdata.domain.errors import BrokerUnavailable
from marketdata.domain.orders import (
    OrderRequest,
    OrderSnapshot,
    OrderStatus,
    Outcome,
    PositionSnapshot,
    Quote,
    RejectReason,
    Side,
    TradeSnapshot,
    WriteResult,
)

SIGN = {Side.BUY: 1, Side.SELL: -1}
PRICE = Decimal("1499.95")
"""What everything is filled at, in rupees."""


@dataclass
class FakeBroker:
    """One account. ``script`` gives the behaviour of the next place requests, in order."""

    client_id: str = "DEMO01"
    held: dict[tuple[str, str], int] = field(default_factory=dict)
    book: dict[str, OrderSnapshot] = field(default_factory=dict)
    traded: list[TradeSnapshot] = field(default_factory=list)
    quoted: dict[str, Quote] = field(default_factory=dict)
    script: deque[str] = field(default_factory=deque)
    failing_reads: int = 0
    reads: int = 0
    before_open: Callable[[], object] = lambda: None
    before_place: Callable[[], object] = lambda: None
    before_read: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        self._ids = itertools.count(1)
        self._lock = threading.RLock()

    # --- the port -----------------------------------------------------------------------

    def open_wire(self) -> FakeWire:
        self.before_open()
        if self.script and self.script[0] == "refuse":
            self.script.popleft()
            raise BrokerUnavailable("connection refused")
        return FakeWire(self)

    def place(self, request: OrderRequest) -> WriteResult:
        """Take one order that has arrived, and answer as the script says."""
        with self._lock:
            self.before_place()
            behaviour = self.script.popleft() if self.script else "fill"
            return getattr(self, f"_{behaviour}")(request)

    def cancel(self, order_id: str) -> WriteResult:
        with self._lock:
            self.book[order_id] = replace(self.book[order_id], status=OrderStatus.CANCELLED)
            return WriteResult(Outcome.ACKED, order_id)

    def orders(self) -> Sequence[OrderSnapshot]:
        self._read()
        return list(self.book.values())

    def trades(self) -> Sequence[TradeSnapshot]:
        self._read()
        return list(self.traded)

    def positions(self) -> Sequence[PositionSnapshot]:
        self._read()
        return [PositionSnapshot(symbol, product, q) for (symbol, product), q in self.held.items()]

    def quotes(self, symbols: Collection[str]) -> Mapping[str, Quote]:
        return {symbol: quote for symbol, quote in self.quoted.items() if symbol in symbols}

    def account_id(self) -> str:
        return self.client_id

    # --- behaviours ---------------------------------------------------------------------

    def _fill(self, request: OrderRequest) -> WriteResult:
        order_id = self._accept(request)
        self.fill(order_id)
        return WriteResult(Outcome.ACKED, order_id)

    def _rest(self, request: OrderRequest) -> WriteResult:
        return WriteResult(Outcome.ACKED, self._accept(request))

    def _book_twice(self, request: OrderRequest) -> WriteResult:
        """One request, two orders: the first fills, the second rests."""
        result = self._fill(request)
        self._accept(request)
        return result

    def _lose_reply(self, request: OrderRequest) -> WriteResult:
        self.fill(self._accept(request))
        return WriteResult(Outcome.UNKNOWN, message="connection reset")

    def _rest_unheard(self, request: OrderRequest) -> WriteResult:
        """The order rests, its reply is lost, and for some seconds nothing can be read."""
        self._accept(request)
        self.failing_reads = 4
        return WriteResult(Outcome.UNKNOWN, message="connection reset")

    def _drop(self, _: OrderRequest) -> WriteResult:
        return WriteResult(Outcome.UNKNOWN, message="connection reset")

    def _not_sent(self, _: OrderRequest) -> WriteResult:
        return WriteResult(Outcome.NOT_SENT, message="held up")

    def _fill_late(self, request: OrderRequest) -> WriteResult:
        """The book says filled before it says how much, and the position has not moved."""
        order_id = self._accept(request)
        self.book[order_id] = replace(self.book[order_id], status=OrderStatus.FILLED)
        return WriteResult(Outcome.ACKED, order_id)

    def _refuse_booked(self, request: OrderRequest) -> WriteResult:
        self._accept(request)
        return _refusal("try again", RejectReason.RATE)

    def _throttle(self, _: OrderRequest) -> WriteResult:
        return _refusal("Too many requests", RejectReason.RATE)

    def _reject(self, _: OrderRequest) -> WriteResult:
        return _refusal("Insufficient funds", RejectReason.MARGIN)

    # --- the exchange's side ------------------------------------------------------------

    def fill(self, order_id: str, quantity: int | None = None) -> None:
        with self._lock:
            row = self.book[order_id]
            filled = row.quantity if quantity is None else row.filled_quantity + quantity
            status = OrderStatus.FILLED if filled == row.quantity else OrderStatus.LIVE
            key, fresh = (row.symbol, row.product), filled - row.filled_quantity
            self.held[key] = self.held.get(key, 0) + SIGN[row.side] * fresh
            self.traded.append(TradeSnapshot(order_id, row.symbol, row.side, row.product, fresh, PRICE))
            self.book[order_id] = replace(row, filled_quantity=filled, status=status, average_price=PRICE)

    def _accept(self, request: OrderRequest) -> str:
        order_id = f"F{next(self._ids)}"
        self.book[order_id] = OrderSnapshot(
            order_id, request.tag, request.symbol, request.side, request.product,
            request.quantity, 0, OrderStatus.LIVE, "OPEN",
        )  # fmt: skip
        return order_id

    def _read(self) -> None:
        self.reads += 1
        self.before_read()
        if self.failing_reads:
            self.failing_reads -= 1
            raise BrokerUnavailable("502 Bad Gateway")


class FakeWire:
    """One connection to a ``FakeBroker``; what is late is not sent, as on a real one."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._request: OrderRequest | None = None

    def is_open(self) -> bool:
        return True

    def prepare(self, request: OrderRequest) -> None:
        self._request = request

    def send(self, not_after: float) -> WriteResult:
        request, self._request = self._request, None
        if request is None:
            raise RuntimeError("this connection has no write to send: open another and prepare one")
        if SystemClock().monotonic() > not_after:
            return WriteResult(Outcome.NOT_SENT, message="held up")
        return self._broker.place(request)

    def cancel(self, order_id: str) -> WriteResult:
        return self._broker.cancel(order_id)

    def close(self) -> None:
        """Nothing is open."""


def _refusal(text: str, reason: RejectReason) -> WriteResult:
    return WriteResult(Outcome.REJECTED, "", text, reason.reject_class, reason)
