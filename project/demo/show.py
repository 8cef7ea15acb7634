"""The demo's script: fill in what is shown, then let one stop be touched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from urllib.error import URLError
from urllib.parse import urljoin

from django.contrib.auth.models import User
from django.core.management import call_command
from django.urls import reverse

from marketdata.brokers import registry
from marketdata.domain.clock import Clock
from marketdata.domain.prices import round_down, to_rupees, to_units
from marketdata.models import BrokerAccount
from marketdata.simulator.client import SimulatorControl
from project.demo import seed
from strategies.domain.exits import ExitState
from strategies.models import Exit, Strategy

LOOK_S = 0.2
OVER = (ExitState.DONE, ExitState.ABORTED, ExitState.NEEDS_HUMAN)
FALL_TICKS = 24
FALL_GAP_S = 0.5


class TooLate(Exception):
    """Something did not happen in time; the text says what."""


@dataclass(frozen=True, slots=True)
class SimulatedMarket:
    """One simulated account and the exchange it trades on; implements ``seed.Market``."""

    control: SimulatorControl
    client_id: str

    def price(self, symbol: str) -> Decimal:
        return Decimal(self.control.instrument(symbol)["last"])

    def set_position(self, symbol: str, product: str, quantity: int, average: Decimal) -> None:
        if product == Strategy.Product.CNC:  # delivered shares are no position of the day
            self.control.set_holding(self.client_id, symbol, quantity, average)
        else:
            self.control.set_position(self.client_id, symbol, product, quantity, average)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waits on a clock, and ends early when told to stop."""

    clock: Clock
    stopped: threading.Event

    def until(self, condition: Callable[[], object], what: str, timeout_s: float = 60) -> bool:
        """Return True once the condition holds, False when told to stop.

        Raises:
            TooLate: Not within ``timeout_s`` seconds.

        """
        deadline = self.clock.monotonic() + timeout_s
        while not condition():
            if self.clock.monotonic() > deadline:
                raise TooLate(f"{what} within {timeout_s:.0f} s: see its lines above")
            if self.stopped.wait(LOOK_S):
                return False
        return True


def is_up(control: SimulatorControl) -> bool:
    try:
        control.state()
    except (URLError, OSError):
        return False
    return True


def prepare(control: SimulatorControl, password: str, url: str) -> list[Strategy]:
    """Import each broker's instruments and set up user, accounts and strategies.

    Args:
        control: The running simulator's.
        password: The demo user's.
        url: Where the page is served; a login at a simulated broker leads back there.

    """
    owner = seed.user(password)
    return [row for broker in registry.BROKERS for row in _prepare_broker(control, owner, broker, url)]


def _prepare_broker(control: SimulatorControl, owner: User, broker: str, url: str) -> list[Strategy]:
    row = seed.account(owner, broker)
    callback = urljoin(url, reverse("broker-callback", args=[broker]))
    control.create_account(**seed.credentials(broker), redirect_url=callback)
    call_command("import_instruments", broker, account=row.pk)
    armed = seed.strategies(row, SimulatedMarket(control, row.client_id))
    seed.watch(row)
    BrokerAccount.objects.filter(pk=row.pk).update(desired_state=BrokerAccount.DesiredState.RUNNING)
    return armed


def fall(control: SimulatorControl, strategy: Strategy) -> None:
    """Let a long strategy's price slide through its stop, tick by tick."""
    stop, tick = Decimal(strategy.stop_loss or 0), Decimal(strategy.instrument.tick_size)
    start = Decimal(control.instrument(strategy.symbol)["last"])
    end = stop - 4 * tick
    slide = [round_down(start + (end - start) * step / FALL_TICKS, tick) for step in range(1, FALL_TICKS + 1)]
    control.play(strategy.symbol, slide, gap_s=FALL_GAP_S, wait=False)


def outcome(strategy: Strategy) -> Exit | None:
    """Return the exit of the strategy's present arming once it is over, or a person has to act."""
    row = Exit.objects.filter(strategy=strategy, epoch=strategy.epoch).first()
    return row if row and ExitState(row.state) in OVER else None


def stop_text(strategy: Strategy) -> str:
    """Return the stop as people write it."""
    return str(to_rupees(to_units(Decimal(strategy.stop_loss or 0))))
