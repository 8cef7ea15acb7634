"""Everything a broker's surface stands on."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

from marketdata.domain.clock import Clock
from marketdata.simulator.accounts import Account
from marketdata.simulator.arrivals import Arrivals
from marketdata.simulator.exchange import Exchange, Print
from marketdata.simulator.faults import Fault, Faults
from marketdata.simulator.limits import ORDER_OPERATIONS, REMEMBERED, Limiter, Rate, Traffic, Visit
from marketdata.simulator.orders import Order
from marketdata.simulator.shown import FREEZE, Shown
from marketdata.simulator.tape import Tape


class Hub(Protocol):
    """The open sockets of one broker in one role."""

    @property
    def broker(self) -> str: ...

    @property
    def role(self) -> str:
        """``feed``, or the role of another socket the broker has."""
        ...

    def drop(self, account: str | None) -> int:
        """Cut them without a close frame; return how many."""
        ...

    async def close(self, account: str | None, code: int, reason: str) -> int: ...

    def malformed(self, account: str | None, kind: str) -> int:
        """Send a frame that is not of the documented shape: ``truncated garbage unknown``."""
        ...

    def text(self, account: str | None, message: str) -> int:
        """Send an error text as the broker words it."""
        ...

    def subscriptions(self) -> Mapping[str, Mapping[str, str]]:
        """Return client id -> symbol -> mode."""
        ...

    def connections(self) -> Mapping[str, int]:
        """Return client id -> number of open sockets."""
        ...


@dataclass(slots=True)
class Market:
    """The exchange with its faults, for surfaces and the control API.

    Attributes:
        matching_delay_s: From accepting an order to judging it; 0: before the answer leaves.
        enforces_limits: Whether surfaces refuse requests above the broker's documented rates.
        caps: Other limits for orders than the brokers', by name: ``per_second per_minute per_day``.
        traffic: Order requests by client id; those of nobody's token stand under "".
        visits: Requests of any kind that were answered, by client id as above.
        shown: What reads answer.
        arrivals: When the requests came that have no answer yet.
        counters: What happened so far, by name.
        variants: How the surfaces behave where a broker is known to behave in several ways;
            each surface names its own, ``broker.what``, with the usual value.

    """

    exchange: Exchange
    faults: Faults
    tape: Tape
    clock: Clock
    seed: int
    hubs: list[Hub] = field(default_factory=list)
    matching_delay_s: float = 0.005
    enforces_limits: bool = False
    caps: dict[str, int] = field(default_factory=dict)
    traffic: dict[str, Traffic] = field(default_factory=dict)
    visits: dict[str, deque[Visit]] = field(default_factory=dict)
    shown: Shown = field(init=False)
    arrivals: Arrivals = field(init=False)
    counters: Counter[str] = field(default_factory=Counter)
    variants: dict[str, str | int | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.exchange.observe(self)
        self.arrivals = Arrivals(self.clock)
        self.shown = Shown(self.exchange, self.faults, self.clock)

    def arm(self, name: str, **options: Any) -> Fault:
        """Arm a fault; see ``Faults.arm``."""
        fault = self.faults.arm(name, **options)
        if name == FREEZE:
            self.shown.freeze(fault)
        return fault

    def receive(self, account: Account | None, operation: str) -> None:
        """Count a request that has arrived."""
        self.counters[f"requests.{operation}"] += 1
        if operation in ORDER_OPERATIONS:
            client_id = account.client_id if account else ""
            self.traffic.setdefault(client_id, Traffic()).receive(operation, self.clock)

    def answered(self, account: Account | None, operation: str, began: float) -> None:
        """Note that the answer to a request which came at UNIX time ``began`` has left."""
        visits = self.visits.setdefault(account.client_id if account else "", deque(maxlen=REMEMBERED))
        visits.append(Visit(operation, began, self.clock.time()))

    def broken_limit(self, limiter: Limiter, account: Account | None, operation: str) -> Rate | None:
        """Return the limit that one more request breaks, when limits are enforced."""
        if account is None or not self.enforces_limits:
            return None
        return limiter.broken(account.client_id, operation, self.caps)

    def on_print(self, _: Print) -> None:
        self.counters["ticks"] += 1

    def on_order(self, _: Order) -> None: ...


class Surface(Protocol):
    """What a broker's folder offers as ``simulated``.

    Attributes:
        DEMO: Credentials of the account that is there from the start; public on purpose.

    """

    DEMO: Mapping[str, str]

    def application(self, market: Market, roots: Mapping[str, str]) -> web.Application:
        """Return the broker's HTTP and feed surface, and add its hub to the market."""
        ...
