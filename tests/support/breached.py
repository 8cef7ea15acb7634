"""A process whose stop is touched: ``python -m tests.support.breached SPOOL USER PRICE``. Ends by a signal."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import django

django.setup()

from strategies.spool import Spool  # noqa: E402 - models need Django set up
from tests.fakes.broker import FakeBroker  # noqa: E402
from tests.support.exits import Told, running, tick  # noqa: E402


async def main(spool: Path, user_id: int, price: str) -> None:
    async with running(FakeBroker(held={("NSE:INFY", "MIS"): 100}), Told(), spool=Spool(spool)) as engine:
        print("armed" if engine.monitor.armed_count else "nothing armed", flush=True)  # noqa: T201
        engine.monitor.on_ticks(user_id, [tick(price)])
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
