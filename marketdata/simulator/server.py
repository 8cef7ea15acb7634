"""Runs a market on the ports that the settings name, until told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from marketdata.domain.clock import Clock
from marketdata.simulator import accounts as accounts_module
from marketdata.simulator import control
from marketdata.simulator.arrivals import Noting
from marketdata.simulator.exchange import IST, Exchange
from marketdata.simulator.faults import Faults
from marketdata.simulator.market import Market, Surface
from marketdata.simulator.tape import Tape
from marketdata.simulator.universe import universe

_LONGEST_LINE = 256 * 1024  # a quote request names up to 1,000 instruments in its URL
_MAX_BODY_FIELD = 64 * 1024


class NotLoopback(ValueError):
    """An address that is not on this machine, or that cannot be served in the clear."""


@dataclass(frozen=True, slots=True)
class Options:
    seed: int = 1
    rate: float = 20.0
    instruments: int = 3_000


@dataclass(slots=True)
class Site:
    """One port: what it serves, whose, and the roles it has."""

    host: str
    port: int
    app: web.Application
    roles: set[str] = field(default_factory=set)
    broker: str | None = None


def address(name: str, root: str) -> tuple[str, int]:
    """Return where to listen for a root.

    Raises:
        NotLoopback: Another machine's, or one that wants TLS.

    """
    parts = urlsplit(root)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    if not _is_loopback(host):
        raise NotLoopback(
            f"{name}={root} is not on loopback: the simulator only serves 127.0.0.1, ::1 or localhost"
        )
    if parts.scheme not in ("http", "ws"):
        raise NotLoopback(f"{name}={root} wants TLS: the simulator serves http:// and ws://")
    return host, parts.port or 80


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def make_market(options: Options, clock: Clock) -> Market:
    """Return a market of today with the demonstration account in it."""
    today = datetime.fromtimestamp(clock.time(), IST).date()
    accounts = accounts_module.Accounts(options.seed)
    accounts.create(
        accounts_module.DEMO_CLIENT_ID,
        accounts_module.DEMO_API_KEY,
        accounts_module.DEMO_API_SECRET,
        accounts_module.DEMO_ACCESS_TOKEN,
    )
    exchange = Exchange(universe(today, options.instruments), accounts, clock)
    tape = Tape(exchange, clock, seed=options.seed, rate=options.rate)
    return Market(exchange, Faults(clock), tape, clock, options.seed)


def sites(
    market: Market, surfaces: Mapping[str, Surface], roots: Mapping[str, Mapping[str, str]], control_root: str
) -> list[Site]:
    """Return what to listen on: each broker's ports and the control API's; raises ``NotLoopback``."""
    found = [Site(*address("SIMULATOR_CONTROL", control_root), control.application(market), {"control"})]
    for broker, surface in surfaces.items():
        app = surface.application(market, roots[broker])
        ports: dict[tuple[str, int], Site] = {}
        for role, root in roots[broker].items():
            place = address(f"{broker} {role}", root)
            ports.setdefault(place, Site(*place, app, broker=broker)).roles.add(role)
        found += ports.values()
    return found


@asynccontextmanager
async def listening(market: Market, found: list[Site]) -> AsyncIterator[None]:
    """Listen on every site; raises ``OSError`` naming a port that is taken."""
    async with AsyncExitStack() as stack:
        runners: dict[int, web.AppRunner] = {}
        for site in found:
            runner = runners.get(id(site.app)) or await _runner(site.app, stack)
            runners[id(site.app)] = runner
            await _listen(market, site, runner, stack)
        yield


async def _runner(app: web.Application, stack: AsyncExitStack) -> web.AppRunner:
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=0.5,
        max_line_size=_LONGEST_LINE,
        max_field_size=_MAX_BODY_FIELD,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    return runner


async def _listen(market: Market, site: Site, runner: web.AppRunner, stack: AsyncExitStack) -> None:
    def protocol() -> asyncio.Protocol:
        if any(market.faults.take("refuse", None, role, site.broker) for role in site.roles):
            return _Refusal()
        if runner.server is None:
            raise RuntimeError("the runner was not set up")
        return Noting(runner.server(), market.arrivals)

    server = await asyncio.get_running_loop().create_server(protocol, site.host, site.port)
    stack.callback(server.close)


class _Refusal(asyncio.Protocol):
    """Closes a connection as soon as it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


def ready_line(
    market: Market,
    surfaces: Mapping[str, Surface],
    roots: Mapping[str, Mapping[str, str]],
    control_root: str,
) -> dict[str, Any]:
    """Return what is said when everything listens."""
    demo = market.exchange.accounts.get(accounts_module.DEMO_CLIENT_ID)
    names = ("client_id", "api_key", "api_secret", "access_token")
    return {
        "ready": True,
        "control": control_root,
        "seed": market.seed,
        "rate": market.tape.rate,
        "instruments": len(market.exchange.instruments),
        "brokers": {broker: dict(addresses) for broker, addresses in roots.items()},
        "demo": {name: getattr(demo, name) for name in names},
        "demos": {broker: dict(surface.DEMO) for broker, surface in surfaces.items()},
    }


async def run(
    options: Options,
    clock: Clock,
    *,
    surfaces: Mapping[str, Surface],
    roots: Mapping[str, Mapping[str, str]],
    control_root: str,
    say: Callable[[dict[str, Any]], None],
) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        NotLoopback: A root is not on this machine.
        ValueError: An option the exchange does not have.
        OSError: A port is taken.

    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    market = make_market(options, clock)
    async with listening(market, sites(market, surfaces, roots, control_root)):
        say(ready_line(market, surfaces, roots, control_root))
        await _until(stopped, market.tape)


async def _until(stopped: asyncio.Event, tape: Tape) -> None:
    """Let prices move until told to stop; a failure of the tape ends the run with its reason."""
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(tape.run()), asyncio.create_task(stopped.wait())]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for task in done:
        task.result()
