"""Runs the simulated exchange behind the brokers' own protocols, on loopback."""

from __future__ import annotations

import asyncio
import json
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from marketdata.brokers import registry
from marketdata.clock import SystemClock
from marketdata.simulator.server import NotLoopback, Options, address, run


class Command(BaseCommand):
    help = "Run a local exchange and brokers with seeded prices, for demonstration and tests."
    requires_system_checks = ()  # touches neither database nor templates: start at once

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="one seed gives one run (default 1)")
        parser.add_argument(
            "--rate", type=float, default=20.0, metavar="TICKS_PER_S",
            help="random ticks per second over all watched instruments (default 20; 0: only scripts)",
        )  # fmt: skip
        parser.add_argument(
            "--instruments", type=int, default=3_000, help="how many are listed (default 3000)"
        )

    def handle(self, *, seed: int, rate: float, instruments: int, **_: Any) -> None:
        if rate < 0:
            raise CommandError(f"--rate {rate} is below zero: use 0 for scripted prices only")
        options = Options(seed, rate, instruments)
        surfaces = {broker: registry.surface(broker) for broker in registry.BROKERS}
        roots, control = settings.BROKER_ENDPOINTS, settings.SIMULATOR_CONTROL
        try:
            _check_addresses(roots, control)
            asyncio.run(
                run(
                    options,
                    SystemClock(),
                    surfaces=surfaces,
                    roots=roots,
                    control_root=control,
                    say=self._say,
                )
            )
        except (NotLoopback, ValueError, OSError) as exc:
            raise CommandError(str(exc)) from exc

    def _say(self, line: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(line))
        self.stdout.flush()


def _check_addresses(roots: Mapping[str, Mapping[str, str]], control: str) -> None:
    """Refuse what is not on this machine by the name of its variable; raises ``NotLoopback``."""
    address("SIMULATOR_CONTROL", control)
    for broker, addresses in roots.items():
        for role, endpoint in registry.endpoints(broker).items():
            address(endpoint.variable, addresses[role])
