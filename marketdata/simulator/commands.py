"""What the control API can be told, by name. Prices are texts in rupees, times in seconds.

Every public method of ``Commands`` is one command: ``POST /<name>`` with its arguments as a
JSON object.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Any

from marketdata.simulator import reports
from marketdata.simulator.arguments import BadCommand, units
from marketdata.simulator.faults import FAULTS
from marketdata.simulator.market import Hub, Market
from marketdata.simulator.order_commands import OrderCommands

Json = dict[str, Any]


class Commands(OrderCommands):
    """The commands of one market."""

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._running: set[asyncio.Task[None]] = set()

    # --- Prices -------------------------------------------------------------------------
    async def set_price(self, symbol: str, price: str, age_s: float = 0.0) -> Json:
        """Print one tick, stamped ``age_s`` ago. Zero and below only shows on feeds."""
        self._exchange.trade(symbol, units(price), age_s=age_s)
        return reports.instrument(self._exchange.instrument(symbol))

    async def play(
        self, symbol: str, prices: list[str], gap_s: float = 0.0, age_s: float = 0.0, wait: bool = True
    ) -> Json:
        """Print each price in order, ``gap_s`` apart; without ``wait`` answer at once."""
        self._exchange.instrument(symbol)
        script = self._market.tape.play(symbol, [units(price) for price in prices], gap_s, age_s)
        if wait:
            await script
        else:
            self._later(script)
        return {"ticks": len(prices)}

    async def set_rate(self, ticks_per_s: float) -> Json:
        """Set the rate of the random walks over all watched instruments; 0 leaves only scripts."""
        if ticks_per_s < 0:
            raise BadCommand(f"rate {ticks_per_s} is below zero: use 0 to pause")
        self._market.tape.rate = ticks_per_s
        return {"rate": ticks_per_s}

    async def set_book(self, symbol: str, bid: str | None = None, ask: str | None = None) -> Json:
        """Fix the best bid and ask; "0": nobody there; none: following the price again."""
        item = self._exchange.instrument(symbol)
        item.bid = None if bid is None else units(bid)
        item.ask = None if ask is None else units(ask)
        self._exchange.rematch(symbol)
        return reports.instrument(item)

    async def set_band(self, symbol: str, lower: str, upper: str) -> Json:
        """Fix the day's price band."""
        item = self._exchange.instrument(symbol)
        item.lower, item.upper, item.band_is_fixed = units(lower), units(upper), True
        self._exchange.rematch(symbol)
        return reports.instrument(item)

    async def instrument(self, symbol: str) -> Json:
        """Return what the exchange holds for one instrument."""
        return reports.instrument(self._exchange.instrument(symbol))

    # --- Accounts -----------------------------------------------------------------------
    async def create_account(
        self,
        client_id: str,
        api_key: str = "",
        api_secret: str = "",
        access_token: str = "",
        redirect_url: str = "",
    ) -> Json:
        """Create an account, or give one new credentials; what is not given is made up."""
        return reports.account(
            self._exchange.accounts.create(client_id, api_key, api_secret, access_token, redirect_url)
        )

    async def accounts(self) -> list[Json]:
        return [reports.account(account) for account in self._exchange.accounts]

    async def mint_token(self, client_id: str) -> Json:
        """Return a new access token; the one before is dead."""
        return {"access_token": self._exchange.accounts.mint(client_id)}

    async def kill_token(self, client_id: str, drop: bool = False, after_s: float = 0.0) -> Json:
        """Let the access token die, and with ``drop`` cut the account's sockets too; at once, or later."""
        self._exchange.accounts.get(client_id)
        if after_s:
            self._later(self._kill_token_after(client_id, drop, after_s))
            return {"sockets": 0}
        self._exchange.accounts.kill(client_id)
        return await self.drop(client_id) if drop else {"sockets": 0}

    async def _kill_token_after(self, client_id: str, drop: bool, after_s: float) -> None:
        await self._market.clock.sleep(after_s)
        await self.kill_token(client_id, drop)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def set_position(
        self, client_id: str, symbol: str, product: str, quantity: int, price: str = ""
    ) -> Json:
        """Replace a position; ``quantity`` below zero is short. Without a price: at the last one."""
        item = self._exchange.instrument(symbol)
        account = self._exchange.accounts.get(client_id)
        account.seed_position(symbol, product, quantity, units(price) if price else item.last)
        return {"quantity": quantity}

    async def set_holding(
        self, client_id: str, symbol: str, quantity: int, price: str = "", product: str = "CNC"
    ) -> Json:
        """Replace a holding of delivered shares: ``CNC``, or ``MTF`` for financed ones."""
        item = self._exchange.instrument(symbol)
        average = units(price) if price else item.last
        self._exchange.accounts.get(client_id).seed_holding(symbol, product, quantity, average)
        return {"quantity": quantity}

    async def positions(self, client_id: str) -> list[Json]:
        held = self._exchange.accounts.get(client_id).positions.values()
        return [{"symbol": p.symbol, "product": p.product, "quantity": p.quantity} for p in held]

    # --- Faults -------------------------------------------------------------------------
    async def fault(self, name: str, **options: Any) -> Json:
        """Arm a named fault: ``account operation times seconds`` and its own parameters."""
        return asdict(self._market.arm(name, **options))

    async def clear_faults(self, name: str | None = None, account: str | None = None) -> Json:
        """Disarm faults: of one name, of one account, or all."""
        self._market.faults.clear(name, account)
        return {"armed": len(self._market.faults.armed())}

    async def faults(self) -> Json:
        """Return the faults that exist and those that are armed."""
        known = {name: {"what": kind.what, **kind.parameters} for name, kind in FAULTS.items()}
        return {"known": known, "armed": [asdict(fault) for fault in self._market.faults.armed()]}

    async def drop(self, account: str | None = None, broker: str | None = None, role: str = "feed") -> Json:
        """Cut feed sockets without a close frame; ``role`` names another kind of socket a broker has."""
        return {"sockets": sum(hub.drop(account) for hub in self._hubs(broker, role))}

    async def close(
        self,
        account: str | None = None,
        code: int = 1001,
        reason: str = "going away",
        broker: str | None = None,
        role: str = "feed",
    ) -> Json:
        """Close feed sockets with a close frame, or for a code of the broker's own in its way."""
        closed = [await hub.close(account, code, reason) for hub in self._hubs(broker, role)]
        return {"sockets": sum(closed)}

    async def malformed(
        self, account: str | None = None, kind: str = "truncated", broker: str | None = None
    ) -> Json:
        """Send one malformed frame: ``truncated``, ``unknown`` (length) or ``garbage``."""
        return {"sockets": sum(hub.malformed(account, kind) for hub in self._hubs(broker))}

    async def error_text(self, message: str, account: str | None = None, broker: str | None = None) -> Json:
        """Send an error text on feed sockets."""
        return {"sockets": sum(hub.text(account, message) for hub in self._hubs(broker))}

    def _hubs(self, broker: str | None = None, role: str = "feed") -> list[Hub]:
        hubs = self._market.hubs
        if role not in {hub.role for hub in hubs}:
            raise BadCommand(f"no sockets of role {role!r}: there are {', '.join({h.role for h in hubs})}")
        return [hub for hub in hubs if hub.role == role and broker in (None, hub.broker)]

    async def set_variant(self, name: str, value: str | int | bool) -> Json:
        """Choose how a surface behaves where its broker is known to behave in several ways."""
        variants = self._market.variants
        if name not in variants:
            raise BadCommand(f"no variant {name!r}: there are {', '.join(sorted(variants))}")
        if type(value) is not type(variants[name]):
            raise BadCommand(f"variant {name!r} is like {variants[name]!r}, not {value!r}")
        variants[name] = value
        return dict(variants)

    async def variants(self) -> Json:
        return dict(self._market.variants)

    # --- What is going on ---------------------------------------------------------------
    async def subscriptions(self) -> Json:
        """Return client id -> symbol -> mode."""
        found: dict[str, dict[str, str]] = {}
        for hub in self._hubs():
            for account, modes in hub.subscriptions().items():
                found.setdefault(account, {}).update(modes)
        return found

    async def connections(self, role: str = "feed") -> Json:
        """Return client id -> open feed sockets."""
        found: Counter[str] = Counter()
        for hub in self._hubs(role=role):
            found.update(hub.connections())
        return dict(found)

    async def counters(self) -> Json:
        return dict(self._market.counters)

    async def state(self) -> Json:
        return {
            "seed": self._market.seed,
            "rate": self._market.tape.rate,
            "time": self._market.clock.time(),
            "instruments": len(self._exchange.instruments),
            "orders": len(self._exchange.orders),
        }
