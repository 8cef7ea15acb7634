"""One connection over real sockets: how it fails, how it ends, what it never says."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from marketdata.clock import SystemClock
from marketdata.domain.errors import BrokerUnavailable
from marketdata.secret import Secret
from marketdata.transport import Handshake, HandshakeRefused, Transport, TransportOptions
from tests.support.certificates import self_signed
from tests.support.kite_feed import KiteFeed, kite_feed

TOKEN = "Very-Secret-Token"
PATIENT = TransportOptions(close_timeout_s=0.2)


async def opened(
    feed: KiteFeed,
    options: TransportOptions = PATIENT,
    *,
    scheme: str = "ws",
    tls: ssl.SSLContext | None = None,
) -> Transport:
    url = f"{scheme}://127.0.0.1:{feed.port}/?access_token={TOKEN}"
    return await Transport.open(
        Handshake(Secret(url), {"X-Test": "1"}, "agent/1"), options=options, clock=SystemClock(), tls=tls
    )


@asynccontextmanager
async def mute(answer: Callable[[bytes], bytes]) -> AsyncIterator[str]:
    """Run a server that answers the handshake request, then reads for ever; gives its URL."""
    done: list[asyncio.Event] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done.append(asyncio.Event())
        writer.write(answer(await reader.readuntil(b"\r\n\r\n")))
        with suppress(ConnectionError):
            await reader.read(-1)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        done[-1].set()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for event in done:
            await asyncio.wait_for(event.wait(), 5)


async def everything(transport: Transport) -> list[list[bytes | str]]:
    """Return what came until the connection ended."""
    taken: list[list[bytes | str]] = []
    with suppress(BrokerUnavailable):
        while True:
            taken.append(await transport.receive_all())
    return taken


async def test_messages_go_both_ways() -> None:
    async with kite_feed() as feed:
        transport = await opened(feed)
        await transport.send('{"a": 1}')
        await feed.asked({"a": 1})
        await feed.connections[0].send(b"\x00")
        assert await transport.receive() == b"\x00"
        assert feed.requests[0].headers["X-Test"] == "1"
        assert feed.requests[0].headers["User-Agent"] == "agent/1"
        await transport.close()
        await transport.close()


async def test_what_has_come_is_taken_together_in_order_and_nothing_is_lost() -> None:
    async with kite_feed() as feed:
        transport = await opened(feed)
        sent: list[bytes | str] = [bytes([number]) * 3 for number in range(40)]
        sent[20] = "a text"
        for message in sent:
            await feed.connections[0].send(message)
        await feed.connections[0].close()
        taken = await everything(transport)
        assert [message for some in taken for message in some] == sent
        assert len(taken) < len(sent)  # it was taken together
        await transport.close()


async def test_a_dropped_connection_says_so() -> None:
    async with kite_feed() as feed:
        transport = await opened(feed)
        (await feed.connected(1)).transport.abort()
        with pytest.raises(BrokerUnavailable, match="connection lost"):
            await transport.receive()
        with pytest.raises(BrokerUnavailable):
            await transport.send("{}")
        await transport.close()


async def test_a_close_from_the_other_side_gives_its_reason() -> None:
    async with kite_feed() as feed:
        transport = await opened(feed)
        await (await feed.connected(1)).close(1001, "going away")
        with pytest.raises(BrokerUnavailable, match="closed with code 1001 going away"):
            await transport.receive()
        await transport.close()


async def test_silence_ends_it_though_pongs_flow() -> None:
    async with kite_feed() as feed:
        options = TransportOptions(silence_s=0.4, ping_interval_s=0.05, close_timeout_s=0.2)
        transport = await opened(feed, options)
        async with asyncio.timeout(5):
            with pytest.raises(BrokerUnavailable, match=r"silent for 0\.[4-9]"):
                await transport.receive()
        await transport.close()


async def test_one_byte_now_and_then_is_no_silence() -> None:
    async with kite_feed() as feed:
        transport = await opened(feed, TransportOptions(silence_s=0.6))
        connection = await feed.connected(1)
        loop = asyncio.get_running_loop()
        end = loop.time() + 1.5
        while loop.time() < end:
            await connection.send(b"\x00")
            assert await transport.receive() == b"\x00"
            await SystemClock().sleep(0.1)
        await transport.close()


async def test_without_a_silence_limit_unanswered_pings_end_it() -> None:
    async with mute(handshake_answer) as url, asyncio.timeout(5):
        options = TransportOptions(
            silence_s=None, ping_interval_s=0.1, ping_timeout_s=0.2, close_timeout_s=0.1
        )
        transport = await Transport.open(Handshake(Secret(url)), options=options, clock=SystemClock())
        with pytest.raises(BrokerUnavailable, match="1011"):
            await transport.receive()
        await transport.close()


QUICK_PONGS = TransportOptions(silence_s=0.4, ping_interval_s=0.05, pongs_count=True, close_timeout_s=0.1)


async def test_where_pongs_count_they_are_no_silence() -> None:
    async with kite_feed() as feed:
        transport = await opened(feed, QUICK_PONGS)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await transport.receive()
        assert SystemClock().monotonic() - transport.last_frame_at < 0.8
        await transport.close()


async def test_where_pongs_count_their_absence_ends_it() -> None:
    async with mute(handshake_answer) as url, asyncio.timeout(5):
        transport = await Transport.open(Handshake(Secret(url)), options=QUICK_PONGS, clock=SystemClock())
        with pytest.raises(BrokerUnavailable, match=r"silent for 0\.[4-9]"):
            await transport.receive()
        await transport.close()


async def test_pings_are_answered() -> None:
    async with kite_feed() as feed, asyncio.timeout(5):
        transport = await opened(feed, QUICK_PONGS)
        await (await (await feed.connected(1)).ping())
        await transport.close()


def handshake_answer(request: bytes) -> bytes:
    from websockets.utils import accept_key

    key = next(
        line for line in request.decode().split("\r\n") if line.lower().startswith("sec-websocket-key")
    )
    accept = accept_key(key.split(": ")[1])
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()


async def test_a_message_beyond_the_limit_ends_it() -> None:
    async with kite_feed() as feed:
        transport = await opened(feed, TransportOptions(max_message_bytes=100, close_timeout_s=0.2))
        await (await feed.connected(1)).send(b"x" * 101)
        with pytest.raises(BrokerUnavailable, match="1009"):
            await transport.receive()
        await transport.close()


async def test_text_that_is_not_utf8_ends_it() -> None:
    async with kite_feed() as feed:
        transport = await opened(feed)
        (await feed.connected(1)).transport.write(b"\x81\x02\xff\xff")
        with pytest.raises(BrokerUnavailable):
            await transport.receive()
        await transport.close()


@pytest.mark.parametrize("status", [401, 403, 429, 500, 502])
async def test_a_refusal_carries_its_status(status: int) -> None:
    async with kite_feed() as feed:
        feed.status = status
        with pytest.raises(HandshakeRefused, match=f"HTTP {status}") as caught:
            await opened(feed)
        assert caught.value.status == status


async def test_a_redirect_is_not_followed() -> None:
    async with kite_feed() as feed, kite_feed() as elsewhere:
        feed.status, feed.location = 302, f"ws://127.0.0.1:{elsewhere.port}/"
        with pytest.raises(HandshakeRefused, match="HTTP 302"):
            await opened(feed)
        assert elsewhere.requests == []


async def test_nobody_there() -> None:
    async with kite_feed() as feed:
        port = feed.port
    with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{port} was not reached"):
        await Transport.open(
            Handshake(Secret(f"ws://127.0.0.1:{port}")), options=PATIENT, clock=SystemClock()
        )


async def test_a_server_that_never_answers_times_out() -> None:
    async with mute(lambda _: b"") as url:
        with pytest.raises(BrokerUnavailable, match="no answer in time"):
            await Transport.open(
                Handshake(Secret(url)), options=TransportOptions(open_timeout_s=0.2), clock=SystemClock()
            )


async def test_a_certificate_nobody_vouches_for_is_refused_before_the_token_leaves(tmp_path: Path) -> None:
    tls, _ = self_signed(tmp_path)
    async with kite_feed(tls) as feed:
        with pytest.raises(BrokerUnavailable, match=r"not trusted: .*self-signed"):
            await opened(feed, scheme="wss")
        assert feed.requests == []


async def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    tls, file = self_signed(tmp_path, "127.0.0.2")
    async with kite_feed(tls) as feed:
        with pytest.raises(BrokerUnavailable, match="not trusted: IP address mismatch"):
            await opened(feed, scheme="wss", tls=ssl.create_default_context(cafile=str(file)))


async def test_a_trusted_certificate_is_accepted(tmp_path: Path) -> None:
    tls, file = self_signed(tmp_path)
    async with kite_feed(tls) as feed:
        transport = await opened(feed, scheme="wss", tls=ssl.create_default_context(cafile=str(file)))
        await transport.send("{}")
        await feed.asked({})
        await transport.close()


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:0/?t={}", "http://127.0.0.1/?t={}", "ws://[/?t={}", "wss://u:{}@127.0.0.1:9/"]
)
async def test_no_failure_spells_out_the_url(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(BrokerUnavailable) as caught:
        await Transport.open(Handshake(Secret(url.format(TOKEN))), options=PATIENT, clock=SystemClock())
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert TOKEN not in caplog.text


async def test_a_peer_that_stops_reading_does_not_hold_the_sender() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(handshake_answer(await reader.readuntil(b"\r\n\r\n")))
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1024)
    async with server, asyncio.timeout(10):
        options = TransportOptions(silence_s=None, send_timeout_s=0.3, close_timeout_s=0.1)
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        transport = await Transport.open(Handshake(Secret(url)), options=options, clock=SystemClock())
        with pytest.raises(BrokerUnavailable, match="stopped reading"):
            await transport.send("x" * 50_000_000)
        await transport.close()
        for writer in writers:
            writer.transport.abort()
