"""``python -m tests.benchmarks.generator PORT``: a feed's server that sends as fast as it is read, or on the beat.

Reads commands from standard input, one a line, and answers each with one line of JSON:

    kite SIZE ARMED INSTRUMENTS SEED     make frames of so many packets; INSTRUMENTS: see frames.Universe.named
    dhan INSTRUMENTS SEED                make packets, one a message
    check HITS SEED                      send one frame in which so many instruments fall through all their stops
    send SECONDS                         send what was made, over and over
    repeat TIMES                         send all that was made so many times
    pace FRAMES_A_SECOND COUNT           send one by one, each a hit, at its intended moment
    beat FRAMES_A_SECOND COUNT           the same without hits
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import cycle, repeat

from tests.benchmarks import frames

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PING, _PONG = 9, 10
_WAITING = 1 << 20
_BLOCK = 1 << 16
_SPUN_S, _LATE_S = 0.002, 0.001
KITE_FRAMES, DHAN_PACKETS = 24, 40_000


def framed(payload: bytes) -> bytes:
    """Return a binary WebSocket message from a server."""
    size = len(payload)
    if size < 126:
        return bytes((0x82, size)) + payload
    if size < 1 << 16:
        return bytes((0x82, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x82, 127)) + size.to_bytes(8, "big") + payload


def blocks(messages: Sequence[bytes]) -> Iterator[bytes]:
    """Yield messages put together to what one write takes."""
    block = bytearray()
    for message in messages:
        block += message
        if len(block) >= _BLOCK:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


class Generator:
    """Has one client at a time: the last that connected."""

    def __init__(self) -> None:
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self._make = lambda: [b""]
        self._per_block = 1.0
        self._universe = frames.Universe.of(1)
        self._armed = 0
        self._size = 1
        self._has_heartbeats = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in request.decode().split("\r\n")[1:] if ": " in line)
        key = {name.lower(): value for name, value in headers.items()}["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()  # noqa: S324 - the protocol's
        writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        writer.transport.set_write_buffer_limits(_WAITING)
        self._writer = writer
        self._connected.set()
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._answer_pings(reader, writer)
        writer.close()
        if self._writer is writer:
            self._writer = None
            self._connected.clear()

    async def _answer_pings(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read what the client sends; subscriptions are taken for granted."""
        beat = 0.0
        while True:
            kind, size = await reader.readexactly(2)
            size &= 0x7F
            if size >= 126:
                size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
            mask, payload = await reader.readexactly(4), await reader.readexactly(size)
            if kind & 0xF == _PING:
                plain = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
                writer.write(bytes((0x80 | _PONG, len(plain))) + plain)
                if self._has_heartbeats and time.monotonic() - beat > 1:
                    writer.write(framed(b"\0"))
                    beat = time.monotonic()

    async def command(self, name: str, *given: str) -> dict[str, float]:
        result: dict[str, float] = await getattr(self, f"_on_{name}")(*given)
        return result

    async def _on_kite(self, size: str, armed: str, instruments: str, seed: str) -> dict[str, float]:
        self._universe, self._armed, self._size = frames.Universe.named(instruments), int(armed), int(size)
        self._rng = random.Random(int(seed))
        self._has_heartbeats = True

        def make() -> list[bytes]:
            now = int(time.time()) + frames.AHEAD_S
            count = max(KITE_FRAMES, KITE_FRAMES * 1000 // int(size))
            made = frames.kite_frames(self._rng, self._universe, self._armed, int(size), count, now)
            return list(blocks([framed(frame) for frame in made]))

        self._make = make
        return {"made": 1}

    async def _on_dhan(self, instruments: str, seed: str) -> dict[str, float]:
        self._universe = frames.Universe.named(instruments)
        self._rng = random.Random(int(seed))

        def make() -> list[bytes]:
            now = int(time.time())
            made = frames.dhan_packets(self._rng, self._universe, DHAN_PACKETS, now)
            return list(blocks([framed(packet) for packet in made]))

        self._make = make
        return {"made": 1}

    async def _on_check(self, hits: str, seed: str) -> dict[str, float]:
        rng, universe, tokens = random.Random(int(seed)), self._universe, self._universe.tokens
        full = tokens[: self._armed]
        chosen = rng.sample(full or tokens, int(hits))
        await self._connected.wait()
        now = int(time.time())
        if self._armed:
            fallen = {token: universe.stop_of[token] - 100 for token in chosen}
            brief = tokens[self._armed : 3_000]
            self._write(framed(frames.kite_frame(rng, universe, full, brief, now, fallen)))
        else:
            for token in chosen:
                self._write(framed(frames.dhan_packet(token >> 8, frames.STOP - 1, now)))
        return {"packets": min(3_000, len(tokens)) if self._armed else len(chosen)}

    async def _on_send(self, seconds: str) -> dict[str, float]:
        made = self._make()
        await self._connected.wait()
        ends, sent = time.perf_counter() + float(seconds), 0
        cpu = time.process_time()
        for block in cycle(made):
            writer = self._writer
            if writer is None or time.perf_counter() >= ends:
                break
            writer.write(block)
            with suppress(OSError):  # it has let go: the next look finds nobody
                await writer.drain()
            sent += len(block)
        return {"bytes": sent, "cpu_s": time.process_time() - cpu}

    async def _on_repeat(self, times: str) -> dict[str, float]:
        made, self._has_heartbeats = self._make(), False
        await self._connected.wait()
        writer = self._writer
        assert writer is not None
        for _ in range(int(times)):
            for block in made:
                writer.write(block)
                await writer.drain()
        return {"repeated": int(times)}

    async def _on_pace(self, rate: str, count: str) -> dict[str, float]:
        """Send frames with one hit each; tell of each when it was due, and what it hits."""
        tokens, symbols, armed = self._universe.tokens, self._universe.symbols, self._armed
        hits = (
            {tokens[number % armed]: self._universe.stops[number % armed] - number // armed}
            for number in range(int(count))
        )
        late = 0
        async for number, due, is_late in self._on_time(float(rate), hits):
            late += is_late
            print(json.dumps({"at": due, "symbol": symbols[number % armed]}))
        return {"paced": int(count), "late": late}

    async def _on_beat(self, rate: str, count: str) -> dict[str, float]:
        late = [is_late async for _, _, is_late in self._on_time(float(rate), repeat({}, int(count)))]
        return {"paced": len(late), "late": sum(late)}

    async def _on_time(
        self, rate: float, hits: Iterable[Mapping[int, int]]
    ) -> AsyncIterator[tuple[int, float, bool]]:
        """Send a frame for each of ``hits`` (paise by token); yield its number, when it was due, and whether it was late."""
        await self._connected.wait()
        universe, rng, began = self._universe, self._rng, time.time() + 0.2
        for number, fallen in enumerate(hits):
            due = began + number / rate
            others = rng.sample(universe.tokens[: self._armed], self._size - len(fallen))
            chosen = [*fallen, *(token for token in others if token not in fallen)]
            frame = framed(frames.kite_frame(rng, universe, chosen, (), int(due) + frames.AHEAD_S, fallen))
            await _until(due)
            is_late = time.time() - due > _LATE_S
            self._write(frame)
            yield number, due, is_late

    def _write(self, message: bytes) -> None:
        if self._writer is None:
            raise RuntimeError("nobody is connected")
        self._writer.write(message)


async def _until(due: float) -> None:
    """Wait for a UNIX time; the last moments without sleep, for a timer is a millisecond late."""
    await asyncio.sleep(max(due - time.time() - _SPUN_S, 0))  # also when late: pings are answered meanwhile
    while time.time() < due:
        pass


async def main(port: int) -> None:
    generator = Generator()
    await asyncio.start_server(generator.serve, "127.0.0.1", port, limit=1 << 20)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)
    while line := (await lines.readline()).decode().split():
        print(json.dumps({"done": line[0], **await generator.command(*line)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
