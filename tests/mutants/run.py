"""Whether the tests notice what would cost somebody money: evil edits of the order path, one by one.

    python -m tests.mutants.run [NAME ...]        # make mutants

Each ``*.toml`` beside this file is one edit: ``story``, ``file``, ``search`` (found exactly once),
``replace``, and ``tests``, the fastest that should notice first. It is made in a copy of the
project, never in the project itself, and is *caught* when a test fails on it that is green
without it; an error while collecting is not a catch. Exit 1 when one survives, or no longer applies.
"""

from __future__ import annotations

import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COPIES = 2
TIMEOUT_S = 300
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".run", ".hypothesis", "*_cache", "__pycache__", "*.sqlite3*"
)
_FAILED = re.compile(r"^FAILED (.+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One edit of one file, and the tests that should notice, the fastest first."""

    name: str
    story: str
    file: str
    search: str
    replace: str
    tests: tuple[str, ...]

    def trouble(self, root: Path = ROOT) -> str:
        """Say why the edit cannot be made; empty when it can."""
        text = (root / self.file).read_text()
        if (count := text.count(self.search)) != 1:
            return f"{self.file} has its text {count} times, not once: write it anew"
        missing = [test for test in self.tests if not (root / test.partition("::")[0]).exists()]
        return f"no such test: {', '.join(missing)}" if missing else ""

    def edited(self, text: str) -> str:
        return text.replace(self.search, self.replace)


@dataclass(frozen=True, slots=True)
class Verdict:
    mutant: Mutant
    caught_by: str
    trouble: str
    seconds: float


def mutants(names: Sequence[str] = ()) -> list[Mutant]:
    """Return the edits of these names, or all of them."""
    found = [_read(path) for path in sorted(HERE.glob("*.toml"))]
    if unknown := set(names) - {mutant.name for mutant in found}:
        raise SystemExit(f"no mutant is called {', '.join(sorted(unknown))}: see tests/mutants/*.toml")
    return [mutant for mutant in found if not names or mutant.name in names]


def _read(path: Path) -> Mutant:
    text = tomllib.loads(path.read_text())
    return Mutant(
        path.stem, text["story"], text["file"], text["search"], text["replace"], tuple(text["tests"])
    )


def run_tests(copy: Path, tests: Iterable[str]) -> tuple[int, str]:
    """Run tests in a copy; return pytest's exit code and what it printed."""
    command = [
        sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly",
        "--tb=line", *tests,
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=copy, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, f"not over within {TIMEOUT_S} s"
    return done.returncode, done.stdout + done.stderr


def judge(mutant: Mutant, copy: Path) -> Verdict:
    """Make one edit in a copy, run its tests until one notices, and undo it."""
    began = time.monotonic()
    target = copy / mutant.file
    before = target.read_text()
    target.write_text(mutant.edited(before))
    try:
        caught, trouble = _hunt(mutant, copy)
    finally:
        target.write_text(before)
    if caught and run_tests(copy, [caught])[0] != 0:
        caught, trouble = "", f"{caught} fails without the mutant as well"
    return Verdict(mutant, caught, trouble, time.monotonic() - began)


def _hunt(mutant: Mutant, copy: Path) -> tuple[str, str]:
    for tests in mutant.tests:
        code, output = run_tests(copy, [tests])
        if code == 1 and (failed := _FAILED.search(output)):
            return failed[1], ""
        if code != 0:
            return "", f"red for another reason (exit {code}): {output.strip()[-400:]}"
    return "", "SURVIVED: no test noticed"


def judge_all(wanted: Sequence[Mutant], scratch: Path) -> list[Verdict]:
    """Judge mutants on a few copies of the project at once, telling of each as it is done."""
    copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for number in range(min(COPIES, len(wanted))):
        copies.put(Path(shutil.copytree(ROOT, scratch / f"copy{number}", ignore=_LEFT_OUT)))

    def one(mutant: Mutant) -> Verdict:
        copy = copies.get()
        try:
            verdict = judge(mutant, copy)
        finally:
            copies.put(copy)
        print(_line(verdict), flush=True)
        return verdict

    with ThreadPoolExecutor(COPIES) as pool:
        return list(pool.map(one, wanted))


def _line(verdict: Verdict) -> str:
    caught = verdict.caught_by.removeprefix("tests/") or verdict.trouble
    return f"{verdict.mutant.name:32} {verdict.seconds:6.1f} s  {caught}"


def main(names: Sequence[str]) -> int:
    wanted = mutants(names)
    broken = [f"{mutant.name}: {trouble}" for mutant in wanted if (trouble := mutant.trouble())]
    if broken:
        print("\n".join(broken))
        return 1
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tickguard-mutants-") as scratch:
        verdicts = judge_all(wanted, Path(scratch))
    survivors = [verdict.mutant for verdict in verdicts if not verdict.caught_by]
    print(
        f"\n{len(verdicts) - len(survivors)} of {len(verdicts)} caught in {time.monotonic() - began:.0f} s."
    )
    for mutant in survivors:
        print(f"NOT CAUGHT {mutant.name}: {mutant.story}")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
