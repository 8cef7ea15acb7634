"""Some sessions of the simulation, the seeds that once showed a defect, and that a seed says it all."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REGRESSIONS = Path(__file__).with_name("regressions.txt")
FEW = 24
"""Sessions of each mode here; ``make simulate`` runs as many as asked for."""

PATH = [
    "strategies/domain/*.py", "marketdata/domain/*.py", "marketdata/database.py", "marketdata/accounts.py",
    "marketdata/subscriptions.py", "strategies/accounts.py", "strategies/alerts.py", "strategies/arming.py",
    "strategies/engine.py", "strategies/journal.py", "strategies/monitor.py", "strategies/opening.py",
    "strategies/records.py", "strategies/reporting.py", "strategies/services.py", "strategies/spool.py",
    "strategies/switches.py", "strategies/unarmed.py", "strategies/watchman.py", "strategies/worker.py",
    "strategies/workshop.py", "tests/simulation/*.py",
]  # fmt: skip
"""Whatever runs in a session."""

FORBIDDEN_MODULES = {"time", "uuid", "secrets", "socket", "threading", "subprocess"}
FORBIDDEN_NAMES = {
    "asyncio.sleep", "datetime.now", "datetime.utcnow", "date.today", "os.urandom",
    *(f"random.{name}" for name in ("random", "choice", "choices", "randint", "uniform", "shuffle", "sample")),
}  # fmt: skip
ALLOWED = {
    "tests/simulation/campaign.py": FORBIDDEN_MODULES,  # counts real seconds, outside of any session
    "tests/simulation/test_simulation.py": FORBIDDEN_MODULES,
    "tests/simulation/loop.py": {"asyncio.sleep"},  # on the loop that it makes
    "tests/simulation/session.py": {"asyncio.sleep"},
}


def simulate(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=590, check=False
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["safety", "liveness"])
def test_some_sessions_violate_nothing(mode):
    done = simulate("--seeds", str(FEW), "--mode", mode, "--workers", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{FEW} sessions, " in done.stdout
    assert "0 sessions with violations" in done.stdout


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["safety", "liveness"])
def test_seeds_that_once_showed_a_defect_do_not_again(mode):
    seeds = [seed for kind, seed in regressions() if kind == mode]
    assert seeds
    done = simulate("--list", ",".join(seeds), "--mode", mode, "--workers", "2")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_a_seed_replays_byte_for_byte_whatever_the_hash_seed():
    """Two processes, two orders of every set and one of them building each query anew: the same bytes."""
    arguments = ("--seeds", "2", "--from", "1", "--mode", "both", "--workers", "1", "--digests")
    first = simulate(*arguments, hash_seed="1")
    second = simulate(*arguments, "--plain-queries", hash_seed="4711")
    digests = [line for line in first.stdout.splitlines() if line.split()[0] in ("safety", "liveness")]
    assert len(digests) == 4
    assert len({line.split()[2] for line in digests}) == 4
    assert digests == [
        line for line in second.stdout.splitlines() if line.split()[0] in ("safety", "liveness")
    ]


def regressions() -> Iterator[tuple[str, str]]:
    for line in REGRESSIONS.read_text().splitlines():
        if line and not line.startswith("#"):
            mode, seed, _ = line.split(maxsplit=2)
            yield mode, seed


def files() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for pattern in PATH for path in ROOT.glob(pattern))


def used(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("file", files())
def test_nothing_in_a_session_looks_at_a_real_clock_or_throws_real_dice(file):
    found = set(used(ast.parse((ROOT / file).read_text()))) & (FORBIDDEN_MODULES | FORBIDDEN_NAMES)
    assert found <= ALLOWED.get(file, set()), (
        f"{file} uses {found}: take the clock or the dice as an argument"
    )


def test_every_file_of_the_path_is_there():
    assert len(files()) > len(PATH)
    assert all(list(ROOT.glob(pattern)) for pattern in PATH)
