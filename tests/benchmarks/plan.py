"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds, and how long one side of a round takes."""

    rounds: int = 5
    is_quick: bool = False

    @property
    def seconds(self) -> float:
        """Of measuring, for one side of one round in the process."""
        return 0.2 if self.is_quick else 0.5

    @property
    def on_the_wire_s(self) -> float:
        """The same over sockets."""
        return 1.0 if self.is_quick else 3.0

    @property
    def stops(self) -> int:
        return 10_000 if self.is_quick else 100_000
