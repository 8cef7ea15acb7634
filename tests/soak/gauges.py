"""How much a process holds while it runs, and whether that grows."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

WARM_UP = 0.25
"""The part of the run after which nothing may grow any more."""
GROWTH_MAX = 0.05
FILES_MAX = 4
"""So many descriptors more at the end are chance: requests under way."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Gauges:
    """Samples of one process, evenly spaced."""

    pid: int
    memory: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    answers_s: list[float] = field(
        default_factory=list
    )  # of the simulator: a machine too busy proves nothing

    def sample(self) -> None:
        """Take one; raises ``OSError`` when the process is gone."""
        folder = Path("/proc") / str(self.pid)
        self.memory.append(int((folder / "statm").read_text().split()[1]) * _PAGE)
        self.files.append(len(list((folder / "fd").iterdir())))

    @property
    def growth(self) -> float:
        """How much more memory there is at the end than after the warm-up, as a share of the latter."""
        before, after = _ends(self.memory)
        return after / before - 1

    @property
    def more_files(self) -> float:
        """How many more descriptors there are at the end than after the warm-up."""
        before, after = _ends(self.files)
        return after - before

    def troubles(self) -> list[str]:
        """Say what grew."""
        grown = f"memory grew by {self.growth:.1%}, more than {GROWTH_MAX:.0%}"
        opened = f"{self.more_files:.0f} more descriptors are open at the end"
        return [
            text
            for text, is_so in (
                (grown, self.growth > GROWTH_MAX),
                (opened, self.more_files > FILES_MAX),
            )
            if is_so
        ]


def _ends(samples: list[int]) -> tuple[float, float]:
    """Return the middle of the first and of the last tenth after the warm-up."""
    warm = samples[int(len(samples) * WARM_UP) :]
    tenth = max(1, len(warm) // 10)
    return median(warm[:tenth]), median(warm[-tenth:])
