"""Real workers share users: they come, go and die, and every stop goes on being watched."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from marketdata import roster
from marketdata.models import BrokerAccount, Lease, ListenerEvent
from strategies.models import Exit
from tests.support.crowd import Crowd
from tests.support.house import House
from tests.support.processes import Process
from tests.support.trader import endpoints
from tests.support.waiting import eventually

pytestmark = [pytest.mark.only_postgres, pytest.mark.timeout(300)]

TAKEN_OVER_S, RESTARTED_S = 20.0, 5.0
HANDED_ON_S = 15.0
"""A second is usual; a machine that does much else beside takes longer over a connection."""
Gather = Callable[[int, int], Crowd]


@pytest.fixture
def gather(house: House, settings: Settings) -> Gather:
    """Return a function that has so many users arm so many stops."""
    settings.BROKER_ENDPOINTS = endpoints(house.simulator)
    return lambda users, stops: Crowd.gather(house.simulator.control, users, stops)


def start(house: House, name: str) -> Process:
    process = house.listeners("--worker", name)
    process.wait_for("are running", 60)
    return process


def lives(name: str) -> bool:
    return any(seen.name == name and seen.is_alive for seen in roster.read())


def measured(what: Callable[[], object], timeout: float) -> float:
    """Return how long it took until ``what`` was so."""
    began = time.monotonic()
    eventually(what, timeout)
    return time.monotonic() - began


def queued_s(pid: int) -> float:
    """Return how many seconds a process was ready to run and others had the processors."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def used_s(pid: int) -> float:
    """Return how many seconds of a processor a process has used."""
    spent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")


def longest_gap() -> float:
    """Return the longest time in seconds that an account's feed was between two workers."""
    gaps = []
    for account in BrokerAccount.objects.all():
        events = ListenerEvent.objects.filter(account=account, kind__in=("connected", "disconnected"))
        times = list(events.order_by("at").values_list("kind", "at"))
        gaps += [
            (after - before).total_seconds()
            for (kind, before), (_, after) in pairwise(times)
            if kind == "disconnected"
        ]
    return max(gaps, default=0.0)


def test_workers_that_come_and_go_share_the_users(house: House, gather: Gather) -> None:
    crowd = gather(6, 24)
    start(house, "first")
    eventually(lambda: crowd.shares() == {"first": 6}, 20)
    start(house, "second")
    eventually(lambda: crowd.shares() == {"first": 3, "second": 3}, 40)
    third = start(house, "third")
    eventually(lambda: crowd.shares() == {"first": 2, "second": 2, "third": 2}, 40)
    eventually(crowd.is_protected, 20)
    gap = longest_gap()
    print(f"\na user's feeds were between two workers for {gap:.2f} s at most")  # noqa: T201
    assert 0 < gap < HANDED_ON_S
    assert third.stop() == 0
    eventually(lambda: crowd.shares() == {"first": 3, "second": 3}, 10)
    eventually(crowd.is_protected, 20)
    crowd.fall()
    eventually(crowd.is_out, 60)


@pytest.mark.timeout(900)
def test_killed_with_many_stops_it_is_followed_and_restarted(
    house: House, gather: Gather, pytestconfig: pytest.Config
) -> None:
    count = int(pytestconfig.getoption("--stops"))
    crowd = gather(max(4, count // 50), count)
    began = timezone.now()
    first = start(house, "first")
    eventually(lambda: crowd.feeds_since(began) == {"first"} and crowd.is_protected(), 60)

    killed = timezone.now()
    os.kill(first.pid, signal.SIGKILL)
    reborn = house.listeners("--worker", "first")
    restarted = measured(lambda: crowd.feeds_since(killed) == {"first"} and crowd.is_protected(), 60)
    waited, used = queued_s(reborn.pid), used_s(reborn.pid)

    second = start(house, "second")
    eventually(lambda: lives("second"), 10)
    killed = timezone.now()
    os.kill(reborn.pid, signal.SIGKILL)
    followed = measured(lambda: crowd.feeds_since(killed) == {"second"} and crowd.is_protected(), 60)
    print(  # noqa: T201
        f"\n{count} stops of {len(crowd.traders)} accounts, their worker killed: protected again after "
        f"{restarted:.1f} s by its own restart ({waited:.1f} s of it without a processor, {used:.1f} s with one), "
        f"after {followed:.1f} s by another"
    )
    assert restarted - waited < RESTARTED_S  # others may have the processors in between
    assert followed < TAKEN_OVER_S
    crowd.fall()
    eventually(crowd.is_out, 120)
    assert second.returncode is None


def test_whose_exit_is_worked_stays_where_they_are(house: House, gather: Gather) -> None:
    crowd = gather(2, 4)
    start(house, "first")
    eventually(crowd.is_protected, 30)
    busy, other = sorted({trader.account.user_id for trader in crowd.traders})
    for trader in crowd.traders:
        if trader.account.user_id == busy:
            trader.fault("rest", times=9)
    crowd.fall()
    eventually(lambda: Exit.objects.filter(strategy__user=other, state="done").count() == 2, 20)
    eventually(lambda: Exit.objects.filter(strategy__user=busy, state="working").count() == 2, 20)
    start(house, "second")
    eventually(lambda: crowd.shares() == {"first": 1, "second": 1}, 40)
    assert Lease.objects.get(user=busy).worker == "first"
