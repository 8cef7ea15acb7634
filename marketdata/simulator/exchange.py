"""The exchange: instruments, accounts, and orders that meet prices.

Plain and synchronous. Time comes from a clock, prices from the tape; whoever wants to know
of a print or of an order's news registers an observer. A broker's surface decides what it
accepts; what reaches this place is judged as the broker's risk system and the exchange would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Protocol

from marketdata.domain.clock import Clock
from marketdata.domain.errors import UnknownInstrument
from marketdata.simulator.accounts import DELIVERY, Accounts
from marketdata.simulator.instrument import Instrument
from marketdata.simulator.orders import Fill, Kind, Order, Status, Ticket, Whims
from marketdata.simulator.protection import worst_price
from marketdata.simulator.universe import Listing

IST = timezone(timedelta(hours=5, minutes=30))


class OrderClosed(Exception):
    """The order is in a final state and cannot be changed."""


class UnknownOrder(LookupError):
    """No such order."""


@dataclass(frozen=True, slots=True)
class Print:
    """One price on the tape.

    Attributes:
        price: Units. Not the instrument's last one only when it is a false print, which the
            exchange never dealt at.
        at: The exchange's time, UNIX seconds.

    """

    instrument: Instrument
    price: int
    at: int


class Observer(Protocol):
    def on_print(self, trade: Print) -> None: ...

    def on_order(self, order: Order) -> None: ...


def previous_close_time(now: float) -> int:
    """Return when the last regular session before today ended, in UNIX seconds."""
    day = datetime.fromtimestamp(now, IST) - timedelta(days=1)
    while day.weekday() > 4:
        day -= timedelta(days=1)
    return int(day.replace(hour=15, minute=30, second=0, microsecond=0).timestamp())


class Exchange:
    """One day's trading of a universe of listings."""

    def __init__(self, listings: Iterable[Listing], accounts: Accounts, clock: Clock) -> None:
        closed_at = previous_close_time(clock.time())
        self.instruments = {item.symbol: Instrument.at_close(item, closed_at) for item in listings}
        self.accounts = accounts
        self.orders: dict[str, Order] = {}
        self._clock = clock
        self._observers: list[Observer] = []
        self._trades = 0
        self._working: dict[str, dict[str, Order]] = {}
        self._watched: Counter[str] = Counter()
        self._active: list[str] | None = None

    # --- Who looks on -------------------------------------------------------------------
    def observe(self, observer: Observer) -> None:
        self._observers.append(observer)

    def watch(self, symbols: Iterable[str]) -> None:
        """Count one more viewer of each; prices move only where somebody looks or has an order."""
        self._watched.update(symbols)
        self._active = None

    def unwatch(self, symbols: Iterable[str]) -> None:
        self._watched.subtract(symbols)
        self._watched = +self._watched
        self._active = None

    def active(self) -> list[str]:
        """Return the symbols whose prices move, sorted."""
        if self._active is None:
            self._active = sorted(self._watched.keys() | self._working.keys())
        return self._active

    # --- Prices -------------------------------------------------------------------------
    def instrument(self, symbol: str) -> Instrument:
        """Return one instrument; raises ``UnknownInstrument``."""
        try:
            return self.instruments[symbol]
        except KeyError:
            raise UnknownInstrument(f"{symbol!r} is not listed here: write EXCHANGE:TRADINGSYMBOL") from None

    def trade(self, symbol: str, price: int, quantity: int = 1, age_s: float = 0.0) -> None:
        """Print one price. Zero and below is a false print: shown, but never dealt at."""
        instrument, at = self.instrument(symbol), int(self._clock.time() - age_s)
        if price > 0:
            instrument.trade(price, quantity, at)
        for observer in self._observers:
            observer.on_print(Print(instrument, price, at))
        if price > 0:
            self.rematch(symbol)

    # --- Orders -------------------------------------------------------------------------
    def place(self, client_id: str, ticket: Ticket, whims: Whims | None = None) -> Order:
        """Take an order into the book. It meets prices when ``work`` is called."""
        now = self._clock.time()
        order_id = f"{datetime.fromtimestamp(now, IST):%y%m%d}{len(self.orders) + 1:09d}"
        order = Order(order_id, client_id, ticket, now, now, whims=whims or Whims())
        self.orders[order_id] = order
        order.move(Status.RECEIVED, now)
        return order

    def work(self, order: Order) -> None:
        """Let the risk system and the exchange judge a received order."""
        if order.status is not Status.RECEIVED:
            return
        if message := order.whims.fate or self._objection(order):
            self._move(order, Status.REJECTED, message)
            return
        order.accepted_at = self._clock.time()
        self._work_on(order)
        self._move(order, Status.WAITING if order.ticket.kind.has_trigger else Status.OPEN)
        self._match(order)

    def modify(self, order: Order, **changes: object) -> None:
        """Change a living order; raises ``OrderClosed``."""
        _refuse_final(order)
        order.amend(self._clock.time(), **changes)
        if order.status is not Status.RECEIVED:
            self._move(order, Status.WAITING if order.ticket.kind.has_trigger else Status.OPEN)
            self._match(order)

    def cancel(self, order: Order, by: str, message: str = "") -> None:
        """Cancel a living order; raises ``OrderClosed``. See ``Order.cancelled_by``."""
        _refuse_final(order)
        order.cancelled_by = by
        self._move(order, Status.CANCELLED, message)

    def execute(self, order: Order, quantity: int | None = None, price: int | None = None) -> None:
        """Fill an order whatever state it is in, all of it unless told: exchanges are known to.

        Without a price it is dealt at the best one, and where nobody is there at its own.
        """
        left = order.ticket.quantity - order.filled
        instrument = self.instruments[order.ticket.symbol]
        best = instrument.best_bid() if order.is_sell else instrument.best_ask()
        if left:
            quantity = left if quantity is None else min(quantity, left)
            self.fill(order, quantity, price or best or order.limit or instrument.last)

    def order(self, client_id: str, order_id: str) -> Order:
        """Return one order of an account; raises ``UnknownOrder``."""
        order = self.orders.get(order_id)
        if order is None or order.account != client_id:
            raise UnknownOrder(f"no order {order_id!r} in account {client_id!r}")
        return order

    def orders_of(self, client_id: str) -> list[Order]:
        return [order for order in self.orders.values() if order.account == client_id]

    def expire(self) -> None:
        """Cancel what has lived its time."""
        now = self._clock.time()
        for order in [o for orders in self._working.values() for o in orders.values()]:
            lives_s = order.ticket.lives_s
            if lives_s is not None and now >= order.received_at + lives_s:
                self.cancel(order, "exchange")

    def rematch(self, symbol: str) -> None:
        """Let an instrument's orders meet the present price and book again."""
        for order in list(self._working.get(symbol, {}).values()):
            self._match(order)

    # --- How an order meets a price -----------------------------------------------------
    def _match(self, order: Order) -> None:
        instrument = self.instruments[order.ticket.symbol]
        if order.status is Status.WAITING and _is_triggered(order, instrument):
            self._trigger(order)
        if order.status is not Status.OPEN:
            return
        order.limit = order.limit or worst_price(order.ticket, instrument)
        best = instrument.best_bid() if order.is_sell else instrument.best_ask()
        if order.fillable and best and (best >= order.limit if order.is_sell else best <= order.limit):
            self.fill(order, order.fillable, best)
        if order.pending and (order.whims.ending or order.ticket.lives_s == 0):
            self.cancel(order, "exchange", order.whims.ending)

    def _trigger(self, order: Order) -> None:
        kind = Kind.LIMIT if order.ticket.kind is Kind.STOP_LIMIT else Kind.MARKET
        order.ticket = replace(order.ticket, kind=kind)
        self._move(order, Status.OPEN)

    def fill(self, order: Order, quantity: int, price: int) -> None:
        """Fill part or all of an order at ``price`` units."""
        self._trades += 1
        ticket = order.ticket
        order.fills.append(Fill(self._trades, quantity, price, self._clock.time()))
        account = self.accounts.get(order.account)
        account.book(ticket.symbol, ticket.product, ticket.side, quantity, price)
        self._move(order, Status.COMPLETE if order.filled == ticket.quantity else Status.OPEN)

    def _move(self, order: Order, status: Status, message: str = "") -> None:
        order.move(status, self._clock.time(), message)
        if status.is_final:
            self._work_off(order)
        for observer in self._observers:
            observer.on_order(order)

    def _work_on(self, order: Order) -> None:
        self._working.setdefault(order.ticket.symbol, {})[order.order_id] = order
        self._active = None

    def _work_off(self, order: Order) -> None:
        working = self._working.get(order.ticket.symbol, {})
        working.pop(order.order_id, None)
        if not working:
            self._working.pop(order.ticket.symbol, None)
            self._active = None

    def _objection(self, order: Order) -> str:
        """Return why the risk system or the exchange refuses, or nothing."""
        ticket, contract = order.ticket, self.instruments[order.ticket.symbol].listing.contract
        if contract.freeze_quantity and ticket.quantity > contract.freeze_quantity:
            return (
                f"16283 : The order quantity is greater than the freeze quantity {contract.freeze_quantity}."
            )
        if off_grid([ticket.price, ticket.trigger], self.instruments[ticket.symbol].listing.tick):
            return f"Tick size for this script is {contract.tick_size}. Kindly enter price in the multiple of it."
        if ticket.product in DELIVERY and order.is_sell:
            return self._lacks_shares(order)
        return ""

    def _lacks_shares(self, order: Order) -> str:
        ticket = order.ticket
        open_sales = sum(
            other.pending
            for other in self._working.get(ticket.symbol, {}).values()
            if other.is_sell and (other.account, other.ticket.product) == (order.account, ticket.product)
        )
        if ticket.quantity + open_sales <= self.accounts.get(order.account).sellable(
            ticket.symbol, ticket.product
        ):
            return ""
        return "RMS:Rule: Check holdings including btst quantity for entity account across exchange across segment"


def off_grid(prices: Collection[int], tick: int) -> bool:
    """Tell whether any price is not a multiple of the tick."""
    return any(price % tick for price in prices)


def _refuse_final(order: Order) -> None:
    if order.status.is_final:
        raise OrderClosed(f"order {order.order_id} is {order.status}")


def _is_triggered(order: Order, instrument: Instrument) -> bool:
    trigger = order.ticket.trigger
    return instrument.last <= trigger if order.is_sell else instrument.last >= trigger
