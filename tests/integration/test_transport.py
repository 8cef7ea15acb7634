"""One connection over real sockets: how it fails, how it ends, what it never says."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

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


async def test_what_came_before_the_end_is_delivered_even_in_one_packet_with_the_handshake() -> None:
    farewell = b"\x82\x02hi" + b"\x88\x05\x03\xf0why" + b"\x82\x02no"
    async with mute(lambda request: handshake_answer(request) + farewell) as url, asyncio.timeout(5):
        transport = await Transport.open(Handshake(Secret(url)), options=PATIENT, clock=SystemClock())
        assert await transport.receive_all() == [b"hi"]
        with pytest.raises(BrokerUnavailable, match="closed with code 1008 why"):
            await transport.receive_all()
        await transport.close()


IN_PIECES = b"\x01\x02\xe2\x82" + b"\x89\x01?" + b"\x80\x01\xb9"


@pytest.mark.parametrize(
    ("sent", "messages", "why"),
    [
        (IN_PIECES + b"\x82\x00", ["₹", b""], "connection lost"),
        (b"\x02\x40" + b"x" * 64 + b"\x80\x40" + b"x" * 64, [], "1009"),
        (b"\x82\x01x" + b"\xc2\x01x", [b"x"], "1002"),
        (b"\x82\x01x" + b"\x80\x01x", [b"x"], "1002 unexpected continuation"),
        (b"\x02\x01x" + b"\x82\x01x", [], "1002 expected a continuation"),
        (b"\x82\x01x" + b"\x81\x01\xff" + b"\x82\x01y", [b"x"], "1007 text is not UTF-8"),
    ],
)
async def test_what_is_wrong_ends_it_after_what_was_right(
    sent: bytes, messages: Sequence[bytes | str], why: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(handshake_answer(await reader.readuntil(b"\r\n\r\n")))
        for number in range(len(sent)):  # byte by byte
            writer.write(sent[number : number + 1])
            await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(5):
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        options = TransportOptions(max_message_bytes=100, close_timeout_s=0.2)
        transport = await Transport.open(Handshake(Secret(url)), options=options, clock=SystemClock())
        assert list(chain.from_iterable(await everything(transport))) == messages
        with pytest.raises(BrokerUnavailable, match=why):
            await transport.receive()
        await transport.close()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_who_does_not_read_is_waited_for_and_nothing_is_lost(scheme: str, tmp_path: Path) -> None:
    """More than sockets hold: the sender waits, we are neither silent nor deaf meanwhile, and all of it comes."""
    tls, file = self_signed(tmp_path)
    trusted = ssl.create_default_context(cafile=str(file))
    sent = [number.to_bytes(4, "big") * (1 + number % 3 * 60) for number in range(100_000)]
    impatient = TransportOptions(silence_s=2.0, ping_interval_s=0.1, ping_timeout_s=1.0, close_timeout_s=0.5)

    async def send(feed: KiteFeed) -> None:
        for message in sent:
            await feed.connections[0].send(message)

    async with kite_feed(tls if scheme == "wss" else None) as feed, asyncio.timeout(30):
        transport = await opened(feed, impatient, scheme=scheme, tls=trusted)
        sending = asyncio.create_task(send(feed))
        await SystemClock().sleep(2.5)  # longer than silence may last
        assert not sending.done()
        first = await transport.receive_all()
        assert len(first) < 30_000  # what one or two reads bring, not what the sockets hold
        taken = [*first]
        while len(taken) < len(sent):
            taken += await transport.receive_all()
        assert taken == sent
        await sending
        await transport.close()


async def test_a_receiver_that_is_cancelled_loses_nothing() -> None:
    async with kite_feed() as feed, asyncio.timeout(10):
        transport = await opened(feed)
        sent = [number.to_bytes(2, "big") for number in range(300)]
        taken: list[bytes | str] = []
        for number, message in enumerate(sent):
            receiving = asyncio.create_task(transport.receive_all())
            await feed.connections[0].send(message)
            for _ in range(number % 7):
                await asyncio.sleep(0)
            receiving.cancel()
            with suppress(asyncio.CancelledError):
                taken += await receiving
        while len(taken) < len(sent):
            taken.append(await transport.receive())
        assert taken == sent
        await transport.close()


@pytest.mark.parametrize("moment", ["open", "close"])
async def test_cancelled_while_it_opens_or_closes_it_leaves_no_socket(moment: str) -> None:
    answer = handshake_answer if moment == "close" else lambda _: b"HTTP/1.1 101 "
    asked = asyncio.Event()

    def heard(request: bytes) -> bytes:
        asked.set()
        return answer(request)

    async with mute(heard) as url, asyncio.timeout(5):  # which waits until its sockets are closed
        handshake, options = Handshake(Secret(url)), TransportOptions(close_timeout_s=60, open_timeout_s=60)
        task: asyncio.Task[Any] = asyncio.create_task(
            Transport.open(handshake, options=options, clock=SystemClock())
        )
        await asked.wait()
        if moment == "close":
            task = asyncio.create_task((await task).close())
        await asyncio.wait([task], timeout=0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


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
            with pytest.raises(BrokerUnavailable, match=r"silent for (0\.[4-9]|[1-9])"):
                await transport.receive()
        await transport.close()


async def test_one_byte_now_and_then_is_no_silence() -> None:
    async with kite_feed() as feed:
        transport = await opened(feed, TransportOptions(silence_s=1.2))
        connection = await feed.connected(1)
        loop = asyncio.get_running_loop()
        end = loop.time() + 2.4
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


QUICK_PONGS = TransportOptions(silence_s=1.0, ping_interval_s=0.05, pongs_count=True, close_timeout_s=0.1)


async def test_where_pongs_count_they_are_no_silence() -> None:
    async with kite_feed() as feed:
        transport = await opened(feed, QUICK_PONGS)
        before = transport.last_frame_at
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await transport.receive()
        assert transport.last_frame_at > before
        await transport.close()


async def test_where_pongs_count_their_absence_ends_it() -> None:
    async with mute(handshake_answer) as url, asyncio.timeout(5):
        transport = await Transport.open(Handshake(Secret(url)), options=QUICK_PONGS, clock=SystemClock())
        with pytest.raises(BrokerUnavailable, match=r"silent for [1-9]"):
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


async def test_an_answer_may_list_more_than_the_upgrade() -> None:
    both = (b"Connection: Upgrade", b"Connection: keep-alive, Upgrade")
    async with mute(lambda request: handshake_answer(request).replace(*both)) as url:
        transport = await Transport.open(Handshake(Secret(url)), options=PATIENT, clock=SystemClock())
        await transport.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 101 ", b"nonsense\r\n\r\n", b"X: y\r\n" * 20_000])
async def test_an_answer_that_is_none_is_told(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(BrokerUnavailable, match="was not reached"):
            await Transport.open(Handshake(Secret(url)), options=PATIENT, clock=SystemClock())


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
