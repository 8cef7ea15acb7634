"""Many processes after one user."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from marketdata import leases
from marketdata.models import Lease
from tests.support.processes import Process, python
from tests.support.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("account")]


@pytest.mark.parametrize(("processes", "rounds"), [(2, 40), (16, 15)])
def test_of_many_that_saw_the_same_lease_one_takes_it(user: User, processes: int, rounds: int) -> None:
    leases.read([user.pk])
    with python("-m", "tests.support.racers", str(user.pk), str(processes), str(rounds)) as race:
        assert race.wait(50) == 0, race.output
        won = json.loads(race.lines[-1])
    assert won == [[token] for token in range(1, rounds + 1)]


def owners(processes: list[Process]) -> list[Process]:
    return [process for process in processes if process.lines and process.lines[-1] == "owns 1"]


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_of_many_workers_one_owns_and_one_follows(user: User, lock_dir: Path, how: str) -> None:
    number = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[how]
    with ExitStack() as stack:
        workers = [stack.enter_context(python("-m", "tests.support.owner", str(lock_dir))) for _ in range(3)]
        for token in (1, 2):
            [owner] = eventually(lambda: owners(workers), 15)
            assert Lease.objects.get().token == token
            workers.remove(owner)
            os.kill(owner.pid, number)
            owner.wait()  # a stopped one is killed by whoever takes over
        eventually(lambda: owners(workers), 15)
        assert len(workers) == 1
