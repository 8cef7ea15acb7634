"""Everything a broker's surface stands on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from marketdata.domain.clock import Clock
from marketdata.simulator.exchange import Exchange, Print
from marketdata.simulator.faults import Faults
from marketdata.simulator.orders import Order
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
    counters: Counter[str] = field(default_factory=Counter)
    variants: dict[str, str | int | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.exchange.observe(self)

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
