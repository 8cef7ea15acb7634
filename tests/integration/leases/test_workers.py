"""Two real ``run_listeners`` on one database: one acts, the other takes over, and no order is doubled."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from marketdata.models import BrokerAccount, Instrument, Lease, Listener
from strategies.models import Alert, Exit, Strategy
from strategies.services import start_strategy
from tests.support.house import House
from tests.support.processes import Process, python
from tests.support.stopwatch import within
from tests.support.waiting import eventually

pytestmark = [pytest.mark.only_postgres, pytest.mark.timeout(120)]

INFY, SBIN = "NSE:INFY", "NSE:SBIN"
Arm = Callable[..., Strategy]


@pytest.fixture
def arm(house: House, account: BrokerAccount, instruments: Mapping[str, Instrument]) -> Arm:
    """Return a function that gives an account a position of 10 at 1500 and arms a stop at 1490."""

    def arm(symbol: str, of: BrokerAccount = account) -> Strategy:
        house.simulator.control.set_price(symbol, "1500")
        house.simulator.control.set_position(of.client_id, symbol, "MIS", 10)
        strategy = Strategy.objects.create(
            user=of.user, account=of, instrument=instruments[symbol], position="BOUGHT", quantity=10,
            stop_loss=Decimal(1490),
        )  # fmt: skip
        return start_strategy(strategy)

    return arm


def breach(house: House, symbol: str) -> None:
    house.simulator.control.set_price(symbol, "1489")


def orders(house: House) -> list[dict[str, Any]]:
    return house.simulator.control.ledger()


def sold(house: House, symbol: str) -> list[int]:
    return [order["filled"] for order in orders(house) if order["symbol"] == symbol]


def owner() -> str:
    return Lease.objects.get().worker


def feeds(house: House) -> int:
    return sum(house.simulator.control.connections().values())


def runs_it(name: str) -> bool:
    row = Listener.objects.filter(worker=name, state="connected").first()
    return row is not None and owner() == name


def closed(strategy: Strategy) -> bool:
    strategy.refresh_from_db()
    return strategy.status == Strategy.Status.CLOSED


def start(house: House, name: str) -> Process:
    process = house.listeners("--worker", name)
    process.wait_for("are running")
    return process


def start_pausing(house: House, name: str, lock_dir: Path | None = None) -> Process:
    """Start a worker that stops itself with its first order about to leave."""
    env = {**house.env, "LOCK_DIR": str(lock_dir or house.env["LOCK_DIR"])}
    process = house.stack.enter_context(python("-m", "tests.support.pausing", "--worker", name, env=env))
    process.wait_for("are running")
    return process


def test_one_acts_and_after_its_death_the_other(house: House, arm: Arm) -> None:
    first_stop, second_stop = arm(INFY), arm(SBIN)
    first = start(house, "first")
    eventually(lambda: runs_it("first"), 20)
    second = start(house, "second")
    breach(house, INFY)
    eventually(lambda: closed(first_stop), 15)
    assert owner() == "first"
    assert feeds(house) == 1
    os.kill(first.pid, signal.SIGKILL)
    with within(8, second.pid):  # its lease would have run out later
        eventually(lambda: owner() == "second", 20)
    eventually(lambda: runs_it("second"), 10)
    breach(house, SBIN)
    eventually(lambda: closed(second_stop), 15)
    assert sold(house, INFY) == sold(house, SBIN) == [10]
    assert second.stop() == 0
    assert Lease.objects.get().expires_at is None


def test_each_user_has_one_worker(house: House, arm: Arm, account: BrokerAccount) -> None:
    stops = [arm(INFY)]
    start(house, "first")
    start(house, "second")
    for number in range(3):
        user = User.objects.create_user(f"trader-{number}")
        login = house.simulator.control.create_account(f"AB{number}")
        other = BrokerAccount.objects.create(
            user=user, broker="zerodha", client_id=f"AB{number}", api_key=login["api_key"],
            api_secret=login["api_secret"], access_token=login["access_token"],
        )  # fmt: skip
        stops.append(arm(INFY, other))
    eventually(lambda: Listener.objects.filter(state="connected").count() == 4, 20)
    workers = dict(Lease.objects.values_list("user", "worker"))
    assert {row.account.user_id: row.worker for row in Listener.objects.select_related("account")} == workers
    assert feeds(house) == 4
    breach(house, INFY)
    eventually(lambda: all(map(closed, stops)), 20)
    assert sold(house, INFY) == [10] * 4


def test_stopped_with_an_order_about_to_leave_it_is_killed_and_followed(house: House, arm: Arm) -> None:
    caught, untouched = arm(INFY), arm(SBIN)
    first = start_pausing(house, "first")
    eventually(lambda: runs_it("first"), 20)
    second = start(house, "second")
    breach(house, INFY)
    first.wait_for("pausing")
    with within(20, second.pid):
        assert first.wait(60) == -signal.SIGKILL  # before anything was taken over
        eventually(lambda: runs_it("second"), 20)
    breach(house, SBIN)
    eventually(lambda: closed(untouched), 15)
    # The first one's order may have left for all the second one knows: it asks, and sends at most one.
    eventually(lambda: closed(caught) or Exit.objects.filter(strategy=caught, state="needs_human"), 40)
    assert sold(house, INFY) in ([], [10])
    assert sold(house, SBIN) == [10]


def test_stopped_where_it_cannot_be_killed_a_person_is_told_and_nobody_takes_over(
    house: House, arm: Arm, tmp_path: Path
) -> None:
    strategy = arm(INFY)
    elsewhere = tmp_path / "elsewhere"  # as on another host: its process is not to be seen from here
    first = start_pausing(house, "first", elsewhere)
    eventually(lambda: runs_it("first"), 20)
    start(house, "second")
    breach(house, INFY)
    first.wait_for("pausing")
    text = eventually(
        lambda: Alert.objects.filter(kind="no_owner").values_list("text", flat=True).first(), 30
    )
    assert "Your stops are not watched: worker first has gone silent" in str(text)
    assert owner() == "first"
    assert orders(house) == []
    first.send(signal.SIGCONT)
    # Begun anew, it may have cut its own request off: it then asks, and sends at most one.
    eventually(lambda: closed(strategy) or Exit.objects.filter(strategy=strategy, state="needs_human"), 40)
    eventually(lambda: not Alert.objects.filter(kind="no_owner", closed_at=None).exists(), 10)
    eventually(lambda: runs_it("first"), 20)
    assert sold(house, INFY) in ([], [10])
    first.wait_for("this process stood still")


def test_a_deployment_starts_the_new_one_before_it_stops_the_old_one(house: House, arm: Arm) -> None:
    resting, later = arm(INFY), arm(SBIN)
    old = start(house, "web1")
    eventually(lambda: runs_it("web1"), 20)
    house.simulator.control.fault("rest")  # accepted, not filled: whoever is there then replaces it
    breach(house, INFY)
    eventually(lambda: orders(house), 5)
    start(house, "web1").wait_for("listeners of web1-2 are running")
    assert owner() == "web1"
    assert old.stop() == 0
    eventually(lambda: owner() == "web1-2", 3)
    eventually(lambda: runs_it("web1-2"), 10)
    breach(house, SBIN)
    eventually(lambda: closed(resting) and closed(later), 30)
    assert sold(house, INFY) == [0, 10]
    assert sold(house, SBIN) == [10]
