"""What a client is shown of its account: the truth, unless a fault hides or freezes it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from marketdata.domain.clock import Clock
from marketdata.simulator.accounts import Account, Holding, Position
from marketdata.simulator.exchange import Exchange, UnknownOrder
from marketdata.simulator.faults import Fault, Faults
from marketdata.simulator.orders import Order

FREEZE = "freeze_book"
Key = tuple[str, str]
Who = tuple[str | None, str, str]
"""Account, operation and broker: what faults ask for."""


@dataclass(frozen=True, slots=True)
class Books:
    """One account's books at one moment. Positions and holdings are by symbol and product."""

    orders: list[Order]
    positions: dict[Key, Position]
    holdings: dict[Key, Holding]


class Shown:
    """The books as reads answer them."""

    def __init__(self, exchange: Exchange, faults: Faults, clock: Clock) -> None:
        self._exchange = exchange
        self._faults = faults
        self._clock = clock
        self._frozen: list[tuple[Fault, dict[str, Books]]] = []

    def freeze(self, fault: Fault) -> None:
        """Keep the books of the accounts a fault concerns as they are shown now, until it is over."""
        armed = self._faults.armed()
        self._frozen = [kept for kept in self._frozen if kept[0] in armed]
        concerned = [a for a in self._exchange.accounts if fault.account in (None, a.client_id)]
        self._frozen.append(
            (fault, {account.client_id: deepcopy(self._now(account)) for account in concerned})
        )

    def books(self, who: Who) -> Books:
        """Return what a caller's request is shown."""
        account = self._exchange.accounts.get(who[0] or "")
        frozen = self._faults.active(FREEZE, *who)
        for fault, books in self._frozen:
            if fault is frozen and account.client_id in books:
                return books[account.client_id]
        return self._now(account)

    def order(self, who: Who, order_id: str) -> Order:
        """Return one order; raises ``UnknownOrder``."""
        found = next((order for order in self.books(who).orders if order.order_id == order_id), None)
        if found is None:
            raise UnknownOrder(f"no order {order_id!r} is shown to account {who[0]!r}")
        return found

    def _now(self, account: Account) -> Books:
        now = self._clock.monotonic()
        orders = [o for o in self._exchange.orders_of(account.client_id) if now >= o.whims.hidden_until]
        return Books(orders, account.positions, account.holdings)
