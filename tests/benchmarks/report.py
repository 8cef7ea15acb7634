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
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.figures import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    if _has_matplotlib():
        plot(folder / "latest.svg", [row for row in rows if row.bound is not None])
        plot_growth(folder / "growth.svg", [row for row in rows if "curve" in row.more])
    return target


def _has_matplotlib() -> bool:
    try:
        import matplotlib as mpl
    except ImportError:
        say("matplotlib is not installed (make install): no plots")
        return False
    mpl.use("Agg")
    return True


def plot(target: Path, judged: Sequence[Row]) -> None:
    """Draw how far each judged figure is from its gate and its aim, on a scale of powers of ten."""
    from matplotlib import pyplot

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
    _save(figure, target)


def plot_growth(target: Path, rows: Sequence[Row]) -> None:
    """Draw each curve against what it should not grow with; both scales are powers of ten, so a flat line costs nothing."""
    from matplotlib import pyplot

    curves: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        curves.setdefault((row.more["against"], row.more["curve"]), []).append(row)
    across = list(dict.fromkeys(against for against, _ in curves))
    figure, panels = pyplot.subplots(1, len(across), figsize=(4 * len(across), 3.5), squeeze=False)
    for (against, curve), points in curves.items():
        axes = panels[0][across.index(against)]
        middles = [row.ours.middle for row in points]
        axes.plot([row.more["x"] for row in points], middles, "o-", label=f"{curve} ({points[0].unit})")
        axes.set(xscale="log", yscale="log", xlabel=against)
        axes.set_ylim(min(axes.get_ylim()[0], min(middles) / 3), max(axes.get_ylim()[1], max(middles) * 3))
        axes.legend(fontsize="small")
    _save(figure, target)


def _save(figure: Figure, target: Path) -> None:
    from matplotlib import pyplot

    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})
    pyplot.close(figure)
