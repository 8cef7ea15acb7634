"""``python -m tests.benchmarks.receiver ours|plain URL``: reads messages and looks at each; says how many, on standard input's ``look``."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress

import django


class Receiver:
    """Connects on ``start``, lets go on ``stop``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._messages = self._bytes = 0
        self._task: asyncio.Task[None] | None = None

    async def look(self) -> dict[str, object]:
        return {"messages": self._messages, "bytes": self._bytes, "cpu": time.process_time()}

    async def start(self) -> dict[str, object]:
        self._messages = self._bytes = 0
        connected = asyncio.Event()
        self._task = asyncio.create_task(self._listen(connected))
        await connected.wait()
        return await self.look()

    async def stop(self) -> dict[str, object]:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        return {}

    async def _listen(self, connected: asyncio.Event) -> None:
        raise NotImplementedError


class Ours(Receiver):
    """The connection that every broker's feed has."""

    async def _listen(self, connected: asyncio.Event) -> None:
        from marketdata.clock import SystemClock
        from marketdata.secret import Secret
        from marketdata.transport import Handshake, Transport, TransportOptions

        options = TransportOptions(silence_s=None)
        transport = await Transport.open(Handshake(Secret(self._url)), options=options, clock=SystemClock())
        connected.set()
        try:
            while True:
                for message in await transport.receive_all():
                    self._messages += 1
                    self._bytes += len(message)
        finally:
            transport.abort("measured")
            await transport.close()


class Plain(Receiver):
    """``websockets`` as its documentation shows it."""

    async def _listen(self, connected: asyncio.Event) -> None:
        from websockets.asyncio.client import connect

        connection = await connect(self._url, compression=None, max_size=1 << 20, max_queue=64)
        connected.set()
        try:
            async for message in connection:
                self._messages += 1
                self._bytes += len(message)
        finally:
            connection.transport.abort()


async def main(side: str, url: str) -> None:
    from tests.benchmarks.ours import answer

    await answer({"ours": Ours, "plain": Plain}[side](url))


if __name__ == "__main__":
    django.setup()
    asyncio.run(main(*sys.argv[1:]))
