"""What was measured: a table on a terminal, plain lines in a pipe, JSON and a plot."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.figures import Row

NOISY_LOAD = 1.0
"""Of other work, per core: above that the run is marked."""

console = Console(soft_wrap=not sys.stdout.isatty())
_COLOURS = {"MISSED": "red", "gate": "yellow", "aim": "green"}


def say(text: str) -> None:
    console.print(text, highlight=False)


def show(rows: Sequence[Row], failed: Mapping[str, str]) -> None:
    """Print everything that was found."""
    if console.is_terminal:
        console.print(_table(rows))
    else:
        for row in rows:
            print(line(row))
    for name, error in failed.items():
        say(f"{name}: could not be measured: {error}")


def line(row: Row) -> str:
    """Return a row in one line."""
    parts = [row.what, f"{row.ours.text} {row.unit}"]
    if row.compared is not None:
        parts += [f"against {row.compared.text}", f"ratio {row.value.text}"]
    if row.bound is not None:
        parts.append(f"wanted {row.bound.text}: {row.verdict}")
    return " | ".join([*parts, row.note])


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title="Medians [smallest - largest] of all rounds")
    for name in ("figure", "ours", "compared with", "ratio", "gate / aim", ""):
        table.add_column(name)
    for row in rows:
        colour = _COLOURS.get(row.verdict, "white")
        table.add_row(
            row.what,
            f"{row.ours.text} {row.unit}",
            "" if row.compared is None else row.compared.text,
            "" if row.compared is None else row.value.text,
            "" if row.bound is None else row.bound.text,
            f"[{colour}]{row.verdict}[/]",
        )
    return table


def machine() -> dict[str, Any]:
    """Return what the figures hang on."""
    model = next(
        (text.split(":")[1].strip() for text in _cpuinfo() if text.startswith("model name")),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "is_noisy": os.getloadavg()[0] > NOISY_LOAD * (os.cpu_count() or 1),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def write(folder: Path, rows: Sequence[Row], failed: Mapping[str, str], about: Mapping[str, Any]) -> Path:
    """Write ``latest.json`` and ``latest.svg``; return the first."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "latest.json"
    found = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        **about,
        "rows": [{**asdict(row), "verdict": row.verdict, "median": row.value.middle} for row in rows],
        "failed": dict(failed),
    }
    target.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    plot(folder / "latest.svg", rows)
    return target


def plot(target: Path, rows: Sequence[Row]) -> None:
    """Draw how far each judged figure is from its gate and its aim, on a scale of powers of ten."""
    try:
        import matplotlib as mpl
    except ImportError:
        say("matplotlib is not installed (make install): no plot")
        return
    mpl.use("Agg")
    from matplotlib import pyplot

    judged = [row for row in rows if row.bound is not None]
    if not judged:
        return
    figure, axes = pyplot.subplots(figsize=(10, 0.5 * len(judged) + 1.2))
    for place, row in enumerate(judged):
        bound = row.bound
        assert bound is not None
        margins = [bound.gate / max(v, 1e-12) if bound.is_most else v / bound.gate for v in row.value.values]
        axes.plot(margins, [place] * len(margins), "o", color="tab:red" if row.is_missed else "tab:blue")
        if bound.aim:
            aim = bound.gate / bound.aim if bound.is_most else bound.aim / bound.gate
            axes.plot([aim], [place], "|", color="black", markersize=14)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(judged)), [row.what for row in judged])
    axes.invert_yaxis()
    axes.set_xlabel("times better than the gate (line: the gate; bar: the aim; one point a round)")
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})
    pyplot.close(figure)
