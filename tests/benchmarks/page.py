"""``python -m tests.benchmarks.page``: how the live page bears prices, in a real browser.

The page as it is shipped (template, scripts, style, policy) with many strategies, and a socket that tells a new price of
every one of them ten times a second: more than the server ever sends. No database and no listeners: only the page's
own work is measured. Prints frames a second, the slowest frame, what a frame costs the page's thread in processor time,
first paint and weight, then one line of JSON. Exit code 1 when a gate is missed.

On a busy machine the browser gets its share only, and frames are late for that: the processor time of a frame tells
what the page can do (60 frames a second leave it 16 ms), and the machine's load is printed too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from tests import environment  # noqa: F401 - before Django reads its settings
from tests.support.browser import CHROMIUM, browser, visitor
from tests.support.browser import weight as weight_of
from tests.support.ports import free_port

import django  # isort: skip

django.setup()

from aiohttp import web  # noqa: E402
from csp.utils import build_policy  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.staticfiles import finders  # noqa: E402
from django.template.loader import render_to_string  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from playwright.async_api import CDPSession, expect  # noqa: E402

from strategies.live.parts import in_parts  # noqa: E402
from strategies.live.state import State  # noqa: E402
from strategies.live.views import page_context  # noqa: E402
from strategies.templatetags import firstrun  # noqa: E402

mock.patch.object(firstrun, "is_over", return_value=True).start()  # there is no database to ask
LEAST_FPS = {500: 58.0, 3000: 50.0}
PAINT_MS, WEIGHT = 1_000.0, 150_000
FRAMES_A_SECOND = 10
WARM_UP_S = 3.0
FRAMES = """(ms) => new Promise((done) => {
  const gaps = [];
  const start = performance.now();
  let last = start;
  const frame = () => {
    const now = performance.now();
    gaps.push(now - last);
    last = now;
    if (now - start < ms) requestAnimationFrame(frame);
    else done({ fps: (gaps.length * 1000) / (now - start), slowest: Math.max(...gaps) });
  };
  requestAnimationFrame(frame);
})"""
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
SHOWN = "[...document.querySelectorAll('[data-list=strategies] [data-cell=ltp]')].slice(0, 3).map((cell) => cell.textContent)"


@dataclass(frozen=True, slots=True)
class Measured:
    """One page with so many rows: frames a second, ms of the slowest, of processor a frame, of first paint; bytes in gzip."""

    rows: int
    fps: float
    slowest_ms: float
    cpu_ms: float
    paint_ms: float
    weight: int

    def misses(self) -> list[str]:
        """Return what is worse than promised."""
        least = LEAST_FPS.get(self.rows, 0.0)
        found = {
            f"{self.fps:.1f} frames a second, not {least:.0f}": self.fps < least,
            f"first paint after {self.paint_ms:.0f} ms": self.paint_ms > PAINT_MS,
            f"{self.weight} bytes": self.weight > WEIGHT,
        }
        return [f"{self.rows} rows: {text}" for text, is_missed in found.items() if is_missed]


# --- what is served ---------------------------------------------------------------------


def strategy(number: int) -> dict[str, Any]:
    """Return a strategy's row as ``strategies.live.state`` makes it."""
    return {
        "id": number, "title": f"Strategy {number}", "symbol": f"NSE:S{number}", "decimals": 2, "open": True,
        "account": "Desk", "simulated": True, "status": "active", "armed": True, "unwatched": "", "state": "Armed",
        "tone": "good", "detail": "", "position": "BOUGHT", "product": "MIS", "quantity": 10, "units": 10,
        "entry": "1500.00", "stop": "1400.00", "sl_triggered": False, "can_start": False, "can_stop": True,
        "can_exit": True,
    }  # fmt: skip


def listener() -> dict[str, Any]:
    """Return a listener's row that is well."""
    return {
        "id": 1, "name": "Desk", "broker": "Zerodha", "simulated": True, "paper": False, "running": True,
        "state": "Connected", "tone": "good", "connected": True, "subscribed": 1, "wanted": 1,
        "login": "Logged in until 06:00 IST", "logged_in": True, "account_url": "/", "login_url": "/",
        "last_tick_at": None, "reconnects": 0, "error": "",
    }  # fmt: skip


@dataclass(slots=True)
class Site:
    """Serves the page, its files, and its socket."""

    rows: int
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.state = State(
            strategies=[strategy(number) for number in range(1, self.rows + 1)], listeners=[listener()]
        )

    def application(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self.page),
                web.get("/static/{path:.*}", self.file),
                web.get("/ws/live/", self.socket),
            ]
        )
        return app

    async def page(self, _: web.Request) -> web.Response:
        request = RequestFactory().get("/")
        request.user = User(username="bench")
        text = render_to_string("live/page.html", page_context(self.state), request)
        headers = {"Content-Security-Policy": build_policy()}
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def file(self, request: web.Request) -> web.StreamResponse:
        found = finders.find(request.match_info["path"])
        if found is None:
            raise web.HTTPNotFound
        return web.FileResponse(str(found))

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        reading = asyncio.create_task(_read(ws))
        with suppress(ConnectionError):
            await self._tell(ws)
        reading.cancel()
        return ws

    async def _tell(self, ws: web.WebSocketResponse) -> None:
        rows = [{**row, "ltp": "1450.00", "ltp_at": _now()} for row in self.state.strategies]
        empty: dict[str, list[Any]] = {"watch": [], "exits": [], "events": [], "alerts": []}
        lists = {"strategies": rows, **empty, "listeners": self.state.listeners}
        for seq, part in enumerate(in_parts(_now(), lists, score=self.state.score), start=1):
            await ws.send_str(part.numbered(seq))
        due = time.monotonic()
        while not ws.closed:
            seq += 1
            if seq % FRAMES_A_SECOND == 0:
                await _send(ws, "heartbeat", seq, listeners_at=_now())
                seq += 1
            await _send(ws, "prices", seq, prices=list(self._prices(seq)))
            due += 1 / FRAMES_A_SECOND
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _prices(self, seq: int) -> Iterable[list[Any]]:
        now = _now()
        for row in self.state.strategies:
            paise = 145_000 + (seq * 37 + row["id"] * 11) % 900 * 5
            yield [row["symbol"], f"{paise // 100}.{paise % 100:02}", now]


async def _read(ws: web.WebSocketResponse) -> None:
    async for _ in ws:  # acknowledgements: this server sends all the same
        pass


async def _send(ws: web.WebSocketResponse, kind: str, seq: int, **fields: Any) -> None:
    await ws.send_str(json.dumps({"type": kind, "seq": seq, "at": _now(), **fields}, separators=(",", ":")))


def _now() -> int:
    return int(time.time() * 1000)


@asynccontextmanager
async def serving(rows: int) -> AsyncIterator[str]:
    """Serve a page of so many rows; yields its address."""
    runner = web.AppRunner(Site(rows).application(), access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=1).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


# --- what is measured -------------------------------------------------------------------


async def measure(rows: int, seconds: float) -> Measured:
    async with serving(rows) as root, browser() as chromium, visitor(chromium, root) as guest:
        page = guest.page
        paints = []
        for _ in range(2):  # the first one has a browser that is still starting
            await page.goto(root, wait_until="load")
            await expect(page.locator("#connection")).to_have_text("Live", timeout=30_000)
            paints.append(await page.evaluate(PAINTED))
        weight = await weight_of(page)
        await asyncio.sleep(WARM_UP_S)
        session = await page.context.new_cdp_session(page)
        await session.send("Performance.enable", {"timeDomain": "threadTicks"})
        before, busy = await page.evaluate(SHOWN), await _busy(session)
        frames = await page.evaluate(FRAMES, seconds * 1000)
        cpu_ms = (await _busy(session) - busy) * 1000 / (frames["fps"] * seconds)
        assert await page.evaluate(SHOWN) != before, "the prices on the page did not move"
        assert guest.complaints == [], guest.complaints
        return Measured(rows, frames["fps"], frames["slowest"], cpu_ms, min(paints), weight)


async def _busy(session: CDPSession) -> float:
    """Return the seconds of processor time that the page's thread has had so far."""
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


async def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the live page in a real browser.")
    parser.add_argument("--rows", type=int, nargs="*", default=[500, 3000])
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    if CHROMIUM is None:
        sys.stderr.write("Chromium is not here: apt-get install chromium\n")
        return 2
    found = [await measure(rows, args.seconds) for rows in args.rows]
    load = os.getloadavg()[0]
    for one in found:
        sys.stdout.write(
            f"{one.rows:>5} rows x {FRAMES_A_SECOND} a second: {one.fps:.1f} frames/s, slowest {one.slowest_ms:.0f} ms, "
            f"{one.cpu_ms:.1f} ms of processor a frame, first paint {one.paint_ms:.0f} ms, {one.weight / 1000:.0f} kB gzip\n"
        )
    sys.stdout.write(f"load of the machine {load:.1f} on {os.cpu_count()} cores\n")
    told = [{name: getattr(one, name) for name in Measured.__slots__} for one in found]
    sys.stdout.write(json.dumps({"page": told, "load": load}) + "\n")
    misses = [text for one in found for text in one.misses()]
    sys.stdout.write("".join(f"missed: {text}\n" for text in misses))
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
