"""``python -m tests.benchmarks.audience URL COUNT COOKIE``: viewers of the live page, each with a socket of their own.

One of them looks into what it is told; the others read and acknowledge, for one core has to do for all of them.
``look`` on standard input is answered with what they were told since the last time.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from tests.benchmarks.ours import answer
from tests.benchmarks.viewers import Viewer, viewers


class Audience:
    """Counts what everybody was told."""

    def __init__(self, watching: Sequence[Viewer]) -> None:
        self._watching = watching

    async def look(self) -> dict[str, object]:
        looking = self._watching[0]
        found = {
            "messages": [viewer.deliveries for viewer in self._watching],
            "symbols": len(looking.prices),
            "ages_ms": sorted(looking.ages_ms.items()),
        }
        for viewer in self._watching:
            viewer.forget()
        return found


async def main(url: str, count: str, cookie: str) -> None:
    headers = {"Cookie": cookie, "Origin": url.replace("ws:", "https:")}
    address = f"{url}/ws/live/"
    async with (
        viewers(address, 1, headers, is_deep=True) as looking,
        viewers(address, int(count) - 1, headers, is_deep=False) as others,
    ):
        await answer(Audience([*looking, *others]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
