"""One cell: an account, a database and processes of its own, a crash, a come-back, a judgement."""

from __future__ import annotations

import logging
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import DatabaseError, connections

from marketdata.models import BrokerAccount, Instrument, Lease
from marketdata.simulator.control import SimulatorControl
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.tags import is_ours
from strategies.models import Alert, AlertDelivery, Exit, Strategy
from strategies.services import StrategyError, retry_exit, start_strategy
from tests.crash.child import Child, Premises, Trap
from tests.crash.matrix import CONTINUE, FAULTS, POSTGRES, SQLITE, TAKE_OVER, Cell
from tests.crash.oracle import Facts, judge, unpermitted
from tests.crash.waits import LEASES, window_s

logger = logging.getLogger(__name__)

QUANTITY, PRODUCT = 10, "MIS"
PRICE, STOP = "1440.00", Decimal("1450")
LOOK_S = 0.03
REST_S = 0.6
"""For so long nothing may change before an exit that needs a person counts as come to rest."""
LONG_REST_S = 6.0
"""The same while the fate of an order is open: the broker hides nothing any more, so it is being found out."""
LINGER_S = 0.8
"""For so long an ended exit is watched where the broker may still do something with its orders."""
PAUSE_S = 0.8
"""How long a process is stopped: longer than a permit is good for."""
PATIENCE_S = 40.0


@dataclass(frozen=True, slots=True)
class Lane:
    """What the cells of one lane share, one after the other."""

    control: SimulatorControl
    symbol: str
    token: str
    alerts_to: str
    folder: Path
    factor: float
    alert_s: float


@dataclass(slots=True)
class Result:
    """How a cell went. ``crashes`` of those it was to have."""

    cell: str
    seconds: float = 0.0
    crashes: int = 0
    wanted: int = 1
    ending: str = ""
    violations: list[str] = field(default_factory=list)
    excess: list[str] = field(default_factory=list)
    folder: str = ""

    @property
    def is_reached(self) -> bool:
        return self.crashes >= self.wanted


class Play:
    """Plays one cell in the database that Django's default connection is set to."""

    def __init__(self, cell: Cell, lane: Lane, client_id: str) -> None:
        self._cell = cell
        self._fault = FAULTS[cell.fault]
        self._lane = lane
        self._client_id = client_id
        self._control = lane.control
        self._folder = lane.folder / client_id
        runs_out = cell.come_back == CONTINUE and cell.database == POSTGRES
        self._premises = Premises(
            self._folder, f"{lane.alerts_to}/{client_id}", lane.factor, LEASES if runs_out else 1.0
        )
        self._children: list[Child] = []
        self._result = Result(cell.name, wanted=1 + bool(cell.second))
        self._booked_at: float | None = None
        self._shown_at: datetime | None = None
        self._up_since = datetime.now(UTC)
        self._is_up: Callable[[], bool] | None = None
        self._seen: tuple[Any, ...] = ()
        self._seen_at = 0.0
        self._asked = 0

    def run(self) -> Result:
        """Play it and return how it went; what it leaves behind is kept only where it went wrong."""
        began = time.monotonic()
        (self._folder / "locks").mkdir(parents=True)
        self._premises.log.write_text(f"{self._cell.name}\n")
        try:
            self._arm()
            self._crash_and_come_back()
            self._settle()
            self._judge()
        except Exception as exc:
            self._result.violations.append(f"the run itself: {type(exc).__name__}: {exc}")
            logger.exception("%s could not be played", self._cell.name)
        finally:
            for child in self._children:
                child.kill()
        self._result.seconds = time.monotonic() - began
        if self._result.violations:
            self._result.folder = str(self._folder)
        else:
            shutil.rmtree(self._folder)
        return self._result

    # --- before -------------------------------------------------------------------------

    def _arm(self) -> None:
        login = self._control.create_account(self._client_id)
        symbol = self._lane.symbol
        self._control.set_price(symbol, PRICE)
        self._control.set_position(self._client_id, symbol, PRODUCT, QUANTITY, "1500")
        for name, options in (*self._fault.arms, *([("rest", {})] if self._cell.needs_rest else [])):
            shown = {"hide_s": self._hides_for_s} if name == "hide" else {}
            self._control.fault(name, account=self._client_id, **options, **shown)
        user = User.objects.create(username=self._client_id)
        account = BrokerAccount.objects.create(
            user=user, broker="zerodha", name="Crash", client_id=self._client_id, api_key=login["api_key"],
            api_secret=login["api_secret"], access_token=login["access_token"],
        )  # fmt: skip
        exchange, _, name = symbol.partition(":")
        instrument = Instrument.objects.create(
            broker="zerodha", exchange=exchange, tradingsymbol=name, token=self._lane.token,
            tick_size=Decimal("0.05"), instrument_type="EQ",
        )  # fmt: skip
        strategy = Strategy.objects.create(
            user=user, account=account, instrument=instrument, position="BOUGHT", quantity=QUANTITY,
            stop_loss=STOP, product=PRODUCT,
        )  # fmt: skip
        start_strategy(strategy)

    def _start(self, worker: str, trap: Trap | None = None) -> Child:
        connections.close_all()  # nothing of the parent's database may be shared with a child
        child = Child(self._premises, worker, trap)
        self._children.append(child)
        return child

    # --- the crash ----------------------------------------------------------------------

    def _crash_and_come_back(self) -> None:
        cell = self._cell
        is_stop = cell.come_back == CONTINUE or (cell.come_back == TAKE_OVER and cell.database == SQLITE)
        first = self._start("first", Trap(cell.point, signal.SIGSTOP if is_stop else signal.SIGKILL))
        again = Trap(cell.second, signal.SIGKILL) if cell.second else None
        standby: Child | None = None
        if cell.database == POSTGRES and cell.come_back != "restart":
            owns = () if cell.point == "CP16" else ("first",)  # whoever is there tells: it must be alone
            self._until(
                lambda: first.is_ended or first.is_stopped or _owner() in owns or self._is_settled(),
                "an owner",
            )
            standby = self._start("second", again)
        self._until(lambda: first.is_ended or first.is_stopped or self._is_settled(), "the crash")
        if not (first.is_ended or first.is_stopped):
            return  # it never got there: judged all the same
        self._result.crashes += 1
        self._check_permits()
        if standby is not None:
            self._is_up = lambda: _owner() == "second"
            self._taken_over(first)
        elif cell.come_back == CONTINUE:
            time.sleep(PAUSE_S)
            first.go_on()
            self._up_since = datetime.now(UTC)
        else:
            if is_stop:
                self._refused_then_killed(first)
            self._come_up("second", again)
        if again is not None:
            self._crash_again(standby or self._children[-1])

    def _taken_over(self, first: Child) -> None:
        if first.is_ended:
            return
        self._until(lambda: first.is_ended or _owner() == "second", "a take-over")
        first.go_on()

    def _refused_then_killed(self, first: Child) -> None:
        """As a supervisor may do: a second one is started while the first one still holds the lock."""
        second = self._start("refused")
        self._until(lambda: second.is_ended, "the second one's refusal")
        assert second.exit_code == 1, f"a second process ended with {second.exit_code}, not 1"
        first.kill()

    def _crash_again(self, child: Child) -> None:
        self._until(lambda: child.is_ended or self._is_settled(), "the second crash")
        if child.is_ended:
            self._result.crashes += 1
            self._check_permits()
            self._come_up("third")

    def _come_up(self, worker: str, trap: Trap | None = None) -> None:
        self._start(worker, trap)
        self._is_up = lambda: _owner() == worker

    def _check_permits(self) -> None:
        """At the very moment of the crash every order has its committed permit."""
        self._result.violations += [f"{text} at the crash" for text in unpermitted(self._ours())]

    # --- afterwards ---------------------------------------------------------------------

    def _settle(self) -> None:
        with suppress(AssertionError):  # judged: it says what is missing
            self._until(self._is_settled, "an end")
        if self._fault.is_brokers or self._fault.is_residual:
            until = time.monotonic() + LINGER_S
            self._until(lambda: time.monotonic() >= until, "a while")
            with suppress(AssertionError):
                self._until(self._is_settled, "an end after all")

    def _judge(self) -> None:
        [extremes] = self._control.position_extremes(self._client_id)
        facts = Facts(
            QUANTITY, self._control.ledger(self._client_id), extremes["lowest"], extremes["quantity"],
            self._up_since, self._lane.alert_s, self._shown_at,
        )  # fmt: skip
        verdict = judge(facts, self._fault)
        self._result.violations += verdict.violations
        self._result.excess += verdict.excess
        self._result.ending = ", ".join(Exit.objects.values_list("state", flat=True))

    # --- looking ------------------------------------------------------------------------

    def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for child in self._children:
                child.look()
            if self._is_up is not None and self._is_up():
                self._up_since, self._is_up = datetime.now(UTC), None
            self._reveal()
            if condition():
                return
            assert time.monotonic() < deadline, f"{what} did not come within {PATIENCE_S:.0f} s"
            time.sleep(LOOK_S)

    def _ours(self) -> list[dict[str, Any]]:
        return [order for order in self._control.ledger(self._client_id) if is_ours(order["tag"])]

    def _reveal(self) -> None:
        """Let the broker show what it hides, once its time has come."""
        if self._fault.shown_after is None or self._shown_at is not None:
            return
        if self._booked_at is None:
            self._booked_at = time.monotonic() if self._ours() else None
            return
        if time.monotonic() - self._booked_at < self._hides_for_s:
            return
        self._shown_at = datetime.now(UTC)
        self._control.clear_faults("freeze_book", account=self._client_id)

    @property
    def _hides_for_s(self) -> float:
        return (self._fault.shown_after or 0.0) * window_s(self._lane.factor)

    def _is_settled(self) -> bool:
        """Whether the exit has ended and all is told, or a person is needed and nothing moves any more."""
        try:
            row, untold = Exit.objects.first(), _untold()
        except DatabaseError:  # locked by who is just writing
            return False
        ledger = [(order["tag"], order["status"], order["filled"]) for order in self._ours()]
        seen = (row and row.state, row and row.version, untold, ledger)
        now = time.monotonic()
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        if row is None or untold or (self._fault.shown_after is not None and self._shown_at is None):
            return False
        if ExitState(row.state).is_final:
            return True
        open_orders = row.orders.filter(state__in=[state for state in OrderState if not state.is_final])
        rest = LONG_REST_S if open_orders.exists() else REST_S
        is_same = Exit.objects.filter(pk=row.pk, version=row.version).exists()  # nothing came in between
        says_so = Alert.objects.filter(exit=row, closed_at=None).exists()  # a person's answer closes it
        is_still = is_same and says_so and row.state == ExitState.NEEDS_HUMAN and now - self._seen_at >= rest
        return is_still and not self._asks_again(row)

    def _asks_again(self, row: Exit) -> bool:
        """Be the person who lets it try again, twice at most, while a crash is still to come."""
        is_open = any(order["status"] in ("open", "received") for order in self._ours())
        if self._result.is_reached or self._asked >= 2 or is_open:
            return False
        self._asked += 1
        with suppress(StrategyError):  # it went on by itself meanwhile
            retry_exit(row)
        return True


def _untold() -> int:
    """Return how many alerts and deliveries wait."""
    alerts = Alert.objects.filter(closed_at=None, last_told_at=None).count()  # first: they become deliveries
    return alerts + AlertDelivery.objects.filter(delivered_at=None, alert__closed_at=None).count()


def _owner() -> str:
    row = Lease.objects.first()
    return row.worker if row is not None else ""
