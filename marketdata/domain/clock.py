"""The clock as an argument."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall time, elapsed time and waiting.

    ``time`` stamps records and judges the age of an exchange's stamp; ``monotonic``
    measures silence and timeouts. The two are never mixed: wall time steps when corrected.
    """

    def time(self) -> float:
        """Return UNIX seconds."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary origin."""
        ...

    async def sleep(self, seconds: float) -> None: ...
