"""Many processes after one lease: ``python -m tests.support.racers USER PROCESSES ROUNDS``.

Prints, by round, the tokens that were won. All see the same lease before any of them takes it.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from datetime import timedelta
from multiprocessing.context import ForkContext, ForkProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

import django
from django.db import DatabaseError

django.setup()

from marketdata import leases  # noqa: E402 - models need Django set up
from marketdata.domain.leasing import LeaseRecord  # noqa: E402

LEASE = timedelta(seconds=10)


def race(name: str, user_id: int, rounds: int, line: Barrier, won: SimpleQueue[list[int | None]]) -> None:
    tokens = []
    for _ in range(rounds):
        seen = leases.read([user_id])[user_id]
        line.wait(30)
        tokens.append(_take(user_id, seen, name))
        line.wait(30)
    won.put(tokens)


def _take(user_id: int, seen: LeaseRecord, name: str) -> int | None:
    while True:
        try:
            return leases.take(user_id, seen, name, name, LEASE)
        except DatabaseError:  # "locked" is no answer
            continue


def main(user_id: int, processes: int, rounds: int) -> None:
    context: ForkContext = multiprocessing.get_context("fork")
    line, won = context.Barrier(processes), context.SimpleQueue()
    racers: list[ForkProcess] = [
        context.Process(target=race, args=(f"racer {n}", user_id, rounds, line, won))
        for n in range(processes)
    ]
    for racer in racers:
        racer.start()
    results = [won.get() for _ in racers]
    for racer in racers:
        racer.join()
    by_round = [[token for token in tokens if token is not None] for tokens in zip(*results, strict=True)]
    print(json.dumps(by_round))  # noqa: T201


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
