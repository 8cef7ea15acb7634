"""What the control API can be told of orders, and tells of them: the oracle of crash tests."""

from __future__ import annotations

from typing import Any

from marketdata.domain.orders import Side
from marketdata.simulator import reports
from marketdata.simulator.arguments import BadCommand, units
from marketdata.simulator.limits import PER_DAY, PER_MINUTE, PER_SECOND, Traffic
from marketdata.simulator.market import Market
from marketdata.simulator.orders import Kind, Order, Ticket, Whims

Json = dict[str, Any]


class OrderCommands:
    """Orders, limits, and what happened to positions."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._exchange = market.exchange

    async def place_order(
        self,
        client_id: str,
        symbol: str,
        *,
        side: str,
        quantity: int,
        product: str,
        price: str = "",
        tag: str = "",
    ) -> Json:
        """Place an order as from another platform; without a price at the market."""
        self._exchange.accounts.get(client_id), self._exchange.instrument(symbol)
        kind = Kind.LIMIT if price else Kind.MARKET
        ticket = Ticket(symbol, Side(side), quantity, product, kind, units(price) if price else 0, tag=tag)
        order = self._exchange.place(client_id, ticket)
        self._exchange.work(order)
        return reports.order(order)

    async def cancel_order(self, order_id: str) -> Json:
        """Cancel an order as from another platform."""
        order = self._known(order_id)
        self._exchange.cancel(order, "platform")
        return reports.order(order)

    async def release(self, order_id: str) -> Json:
        """Let an order that a fault holds meet prices again, and one that a fault hides be seen."""
        order = self._known(order_id)
        order.whims.fills_at_most, order.whims.hidden_until = None, 0.0
        self._exchange.rematch(order.ticket.symbol)
        return reports.order(order)

    async def execute(self, order_id: str, quantity: int | None = None, price: str = "") -> Json:
        """Fill an order whatever state it is in, a cancelled one too: all of it and at the best price, unless told."""
        order = self._known(order_id)
        self._exchange.execute(order, quantity, units(price) if price else None)
        return reports.order(order)

    async def forge(self, order_id: str, held: bool = False) -> Json:
        """Book a second order like one that is there, tag and all; ``held`` keeps it from filling."""
        order = self._known(order_id)
        twin = self._exchange.place(order.account, order.ticket, Whims(0 if held else None))
        self._exchange.work(twin)
        return reports.order(twin)

    async def show_status(self, order_id: str, word: str = "") -> Json:
        """Let books show a word of no meaning for an order's status; without one its own again."""
        self._known(order_id).whims.word = word
        return {"word": word}

    def _known(self, order_id: str) -> Order:
        order = self._exchange.orders.get(order_id)
        if order is None:
            raise BadCommand(f"no order {order_id!r}: see the ledger")
        return order

    async def ledger(self, client_id: str | None = None) -> list[Json]:
        """Return every order that was booked, in the order of receipt."""
        return [reports.order(o) for o in self._exchange.orders.values() if client_id in (None, o.account)]

    async def set_matching_delay(self, seconds: float) -> Json:
        """Set the time from accepting an order to judging it; 0: before the answer leaves."""
        self._market.matching_delay_s = seconds
        return {"seconds": seconds}

    async def position_extremes(self, client_id: str) -> list[Json]:
        """Return lowest, highest and present net quantity by symbol and product, since they were seeded.

        Shares of the demat account are counted in, so a delivery never goes below flat either.
        """
        account = self._exchange.accounts.get(client_id)
        return [
            {"symbol": symbol, "product": product, "lowest": lowest, "highest": highest,
             "quantity": account.sellable(symbol, product)}
            for (symbol, product), (lowest, highest) in account.extremes.items()
        ]  # fmt: skip

    # --- Limits -------------------------------------------------------------------------
    async def enforce_limits(
        self,
        on: bool = True,
        per_second: int | None = None,
        per_minute: int | None = None,
        per_day: int | None = None,
    ) -> Json:
        """Refuse requests above the broker's rates, or stop doing so; other limits for orders on request."""
        wanted = {PER_SECOND: per_second, PER_MINUTE: per_minute, PER_DAY: per_day}
        caps = {name: limit for name, limit in wanted.items() if limit is not None}
        if bad := [f"{name} {limit}" for name, limit in caps.items() if limit < 0]:
            raise BadCommand(f"{', '.join(bad)} is below zero: use 0 to refuse all")
        self._market.enforces_limits, self._market.caps = on, caps
        return {"on": on, **caps}

    async def order_requests(self, client_id: str) -> Json:
        """Return the order requests of an account as received, refused ones too, oldest first.

        Those whose token was nobody's are under "".
        """
        traffic = self._market.traffic.get(client_id, Traffic())
        return {
            "total": traffic.total,
            "most_in_a_second": traffic.most_in_a_second,
            "requests": [{"operation": operation, "at": at} for operation, at in traffic.requests],
        }

    async def visits(self, client_id: str) -> list[Json]:
        """Return every request of an account: when it came, and when its answer was ready; oldest answer first."""
        return [visit._asdict() for visit in self._market.visits.get(client_id, ())]
