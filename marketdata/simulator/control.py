"""The control API over HTTP: one command for each name, JSON in and out.

``GET /`` lists the commands. Import ``SimulatorControl`` from here to use it from Python.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web

from marketdata.domain.errors import UnknownInstrument
from marketdata.simulator.accounts import UnknownAccount
from marketdata.simulator.client import SimulatorControl
from marketdata.simulator.commands import Commands
from marketdata.simulator.exchange import OrderClosed
from marketdata.simulator.market import Market

__all__ = ["SimulatorControl", "application"]

logger = logging.getLogger(__name__)
_Command = Callable[..., Coroutine[Any, Any, Any]]
_MISTAKES = (ValueError, TypeError, UnknownInstrument, UnknownAccount, OrderClosed)


def application(market: Market) -> web.Application:
    """Return the control API of a market."""
    commands = _commands(Commands(market))

    async def index(_: web.Request) -> web.Response:
        return web.json_response({name: f"{name}{inspect.signature(c)}" for name, c in commands.items()})

    async def obey(request: web.Request) -> web.Response:
        return await _obey(commands, request)

    app = web.Application(client_max_size=64 * 1024**2)
    app.router.add_get("/", index)
    app.router.add_post("/{command}", obey)
    return app


def _commands(commands: Commands) -> dict[str, _Command]:
    found = inspect.getmembers(commands, inspect.iscoroutinefunction)
    return {name: method for name, method in found if not name.startswith("_")}


async def _obey(commands: dict[str, _Command], request: web.Request) -> web.Response:
    name = request.match_info["command"]
    if name not in commands:
        return _refuse(f"unknown command {name!r}: there are {', '.join(commands)}", 404)
    try:
        arguments = json.loads(await request.text() or "{}")
        if not isinstance(arguments, dict):
            return _refuse(f"{name}: send its arguments as a JSON object")
        inspect.signature(commands[name]).bind(**arguments)
        return web.json_response(await commands[name](**arguments))
    except _MISTAKES as exc:
        return _refuse(f"{name}: {exc}")


def _refuse(message: str, status: int = 400) -> web.Response:
    return web.json_response({"error": message}, status=status)
