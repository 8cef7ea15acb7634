"""Where this machine thinks it is changes no decision: TK-21."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

ZONES = {"UTC": "UTC", "Asia/Kolkata": "IST", "America/New_York": "EST"}


def decide(zone: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.decisions"],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(" ", 2)


@pytest.mark.timeout(180)
def test_three_time_zones_decide_alike():
    with ThreadPoolExecutor() as pool:
        told = list(pool.map(decide, ZONES))
    assert [name for name, *_ in told] == list(ZONES.values())  # the zone really was another
    assert len({digest for _, digest, _ in told}) == 1
    assert told[0][2].count("1795411800") == 2  # both brokers' times are the same moment
