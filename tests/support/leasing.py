"""Owners in a test: workers with short terms, some of them real processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from marketdata.clock import SystemClock
from marketdata.domain.leasing import Terms
from marketdata.holdings import Holdings
from marketdata.sessionlocks import session_locks

QUICK = Terms(
    lease_s=2.0, renew_s=0.25, look_s=0.05, gap_s=1.2, pause_s=1.5, kill_wait_s=5, retry_kill_s=1, grace_s=1.0,
    settle_s=1.5,
)  # fmt: skip
"""As the real terms, many times faster."""
PATIENT = replace(QUICK, grace_s=30.0, settle_s=3.0)
"""As those, for what is to happen before another's time is over, however slow the machine."""


def holdings(folder: Path, worker: str = "w", terms: Terms = QUICK) -> Holdings:
    return Holdings(worker, folder, session_locks(), SystemClock(), terms)
