"""The demo's part that knows Django: what `make run` shows."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from marketdata.clock import SystemClock
from marketdata.simulator.client import SimulatorControl
from project.demo import dotenv, ports, seed, show
from strategies.models import Strategy

FALL_AFTER_S = 25


class Command(BaseCommand):
    help = (
        "Fill a running simulator and this database with a demo user, account and strategies, let one stop be "
        "touched, and stay until SIGTERM. `make run` starts this beside all the other processes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default="http://127.0.0.1:8000/", help="where the page is served")
        parser.add_argument(
            "--fall-after", type=float, default=FALL_AFTER_S, metavar="S", help="seconds of quiet"
        )

    def handle(self, *, url: str, fall_after: float, **_: Any) -> None:
        if not settings.SIMULATED_BROKERS.issuperset(settings.BROKER_ENDPOINTS):
            raise CommandError("the demo needs every broker on loopback: `make run` writes such an .env")
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        try:
            waiting = show.Waiting(SystemClock(), stopped)
            self._show(SimulatorControl(settings.SIMULATOR_CONTROL), url, fall_after, waiting)
        except show.TooLate as exc:
            raise CommandError(str(exc)) from exc
        stopped.wait()

    def _show(self, control: SimulatorControl, url: str, fall_after: float, waiting: show.Waiting) -> None:
        password = dotenv.demo_password()
        if not waiting.until(lambda: show.is_up(control), "the simulator did not start"):
            return
        strategies = show.prepare(control, password, url)
        port = urlsplit(url).port or 80
        if not waiting.until(lambda: ports.answers(port), "the page did not start"):
            return
        falling = next(row for row in strategies if row.name == seed.FALLING.name)
        self._welcome(url, password, falling, fall_after)
        if not waiting.stopped.wait(fall_after):
            self._fall(control, falling, waiting)

    def _welcome(self, url: str, password: str, falling: Strategy, fall_after: float) -> None:
        stop, seconds = show.stop_text(falling), round(fall_after + 10)
        lines = (
            "",
            "Tickguard is running: simulated exchange, no real orders.",
            f"  open      {url}",
            f"  log in    {seed.USERNAME}",
            f"  password  {password}",
            f"  watch     {falling.symbol} reaches its stop at {stop} in about {seconds} s",
            "  stop      Ctrl-C",
            "",
        )
        self.stdout.write("\n".join(lines))
        self.stdout.flush()

    def _fall(self, control: SimulatorControl, falling: Strategy, waiting: show.Waiting) -> None:
        show.fall(control, falling)
        if waiting.until(lambda: show.outcome(falling), f"the exit of {falling} was not over"):
            row = show.outcome(falling)
            self.stdout.write(
                f"{falling.symbol} touched {show.stop_text(falling)}: exit {row.state if row else '?'}."
            )
            self.stdout.flush()
