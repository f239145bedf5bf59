"""Connections to ports of one client, of which some are stuck at the one end or the other: the rest goes on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager

import pytest

from tests.fakes.streaming import STUCK, LocalTargets
from tests.support import spdy_client
from tests.support.spdy_client import WindowlessSession
from tests.support.streaming import echo_server, until
from vmsandbox import aio
from vmsandbox.errors import Unavailable
from vmsandbox.model import PortForwardRequest
from vmsandbox.streaming import client
from vmsandbox.streaming.client import PortConnection, PortForwardClient
from vmsandbox.streaming.client.dialling import dial
from vmsandbox.streaming.io.pipe import LIMIT, OWN, Pipe
from vmsandbox.streaming.io.sockets import close
from vmsandbox.streaming.io.wire import Wire
from vmsandbox.streaming.protocol import stream_pairs
from vmsandbox.streaming.protocol.channels import WebSocketChannels
from vmsandbox.streaming.protocol.stream_protocol import ClientProtocol
from vmsandbox.streaming.protocol.versions import WEBSOCKET_PORTS
from vmsandbox.streaming.server import port_forward as ports
from vmsandbox.streaming.server.server import StreamingServer

PIECE = 50_000
MANY = 20
"""Connections whose windows are together more than may wait for one that has none."""

Forwarding = Callable[[StreamingServer, int], AbstractAsyncContextManager[PortForwardClient]]


def url_of(streaming: StreamingServer, *named: int) -> str:
    return streaming.portforward_url(PortForwardRequest("s", named))


def over_tunnel(streaming: StreamingServer, port: int) -> AbstractAsyncContextManager[PortForwardClient]:
    return client.port_forward(url_of(streaming))


def over_spdy(streaming: StreamingServer, port: int) -> AbstractAsyncContextManager[PortForwardClient]:
    return spdy_client.port_forward(url_of(streaming))


def over_spdy_without_windows(streaming: StreamingServer, port: int) -> AbstractAsyncContextManager[PortForwardClient]:
    return spdy_client.port_forward(url_of(streaming), WindowlessSession())


@contextlib.asynccontextmanager
async def over_channels(streaming: StreamingServer, port: int) -> AsyncIterator[PortForwardClient]:
    """The first connection is to the stuck port, the second one to `port`."""
    version = WEBSOCKET_PORTS[1]
    assert version.channels is not None
    reader, writer, _ = await dial(url_of(streaming, STUCK, port), (version.name,))
    channels = WebSocketChannels(version.channels, stream_pairs.channel_headers((STUCK, port)), server=False)
    forward = PortForwardClient(Wire(reader, writer, ClientProtocol(channels)))
    try:
        async with aio.background(forward.run()):
            yield forward
    finally:
        close(writer)


WINDOWS = pytest.mark.parametrize("over", [over_tunnel, over_spdy])
NO_WINDOWS = pytest.mark.parametrize("over", [over_spdy_without_windows, over_channels])
ANY = pytest.mark.parametrize("over", [over_tunnel, over_spdy, over_spdy_without_windows, over_channels])


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A port that sends back what it gets, in capitals."""
    async with await echo_server() as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What every pipe held, each time that something was put in."""
    sizes = []
    put = Pipe.put

    def watched(self: Pipe, data: bytes) -> None:
        put(self, data)
        sizes.append(self.size)

    monkeypatch.setattr(Pipe, "put", watched)
    return sizes


async def stuff(connection: PortConnection, most: int) -> int:
    """Write until `most` bytes are written, or nothing is taken any more; how many were."""
    written = 0
    with contextlib.suppress(TimeoutError):
        while written < most:
            async with asyncio.timeout(0.3):
                await connection.write(bytes(min(PIECE, most - written)))
            written += min(PIECE, most - written)
    return written


async def assert_answers(connection: PortConnection) -> None:
    async with asyncio.timeout(5):
        await connection.write(b"still here")
        got = b""
        while not got.endswith(b"STILL HERE"):  # Over channels the port comes first.
            got += await connection.read()


@ANY
async def test_another_connection_goes_on_while_one_is_stuck(
    running: StreamingServer, echo: int, over: Forwarding
) -> None:
    async with over(running, echo) as forward, forward.connect(STUCK) as stuck, forward.connect(echo) as other:
        assert await stuff(stuck, LIMIT - PIECE) > 0
        await assert_answers(other)


@WINDOWS
async def test_a_client_that_knows_windows_stops_by_itself(
    running: StreamingServer, echo: int, over: Forwarding
) -> None:
    async with over(running, echo) as forward, contextlib.AsyncExitStack() as stack:
        for _ in range(MANY):
            stuck = await stack.enter_async_context(forward.connect(STUCK))
            assert await stuff(stuck, LIMIT) < 2 * PIECE
        await assert_answers(await stack.enter_async_context(forward.connect(echo)))


@NO_WINDOWS
async def test_what_is_sent_to_a_stuck_port_takes_no_more_memory_than_the_limit(
    running: StreamingServer, echo: int, over: Forwarding, sizes: list[int]
) -> None:
    async with over(running, echo) as forward, forward.connect(STUCK) as stuck:
        assert await stuff(stuck, 50_000_000) < 50_000_000
    assert LIMIT + OWN <= max(sizes) < LIMIT + OWN + 64 * 1024


@NO_WINDOWS
async def test_what_holds_the_others_up_is_given_up_and_they_go_on(
    running: StreamingServer, echo: int, over: Forwarding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "STALL_TIMEOUT", 0.5)
    async with over(running, echo) as forward, forward.connect(STUCK) as stuck, forward.connect(echo) as other:
        await assert_answers(other)
        writing = asyncio.create_task(stuck.write(bytes(20_000_000)))
        await assert_answers(other)
        if over is not over_channels:  # Which know no reset: what still comes is thrown away.
            with pytest.raises(Unavailable) as given_up:
                await stuck.read()
            assert "took too little" in str(given_up.value.evidence)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def test_the_one_that_is_given_up_is_the_one_for_which_most_waits(
    running: StreamingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "STALL_TIMEOUT", 0.5)
    async with (
        over_spdy_without_windows(running, 0) as forward,
        forward.connect(STUCK) as little,
        forward.connect(STUCK) as much,
    ):
        await stuff(little, PIECE)
        await stuff(much, LIMIT + OWN)
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable):
                await much.read()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await little.read()


async def test_a_connection_that_is_opened_beside_a_stuck_one_goes_on(
    running: StreamingServer, echo: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "STALL_TIMEOUT", 0.5)
    async with over_spdy_without_windows(running, echo) as forward, forward.connect(STUCK) as stuck:
        writing = asyncio.create_task(stuck.write(bytes(3 * LIMIT)))
        await asyncio.sleep(0.1)
        async with forward.connect(echo) as other:
            await assert_answers(other)
            with pytest.raises(Unavailable) as given_up:
                await stuck.read()
            assert "took too little" in str(given_up.value.evidence)
        await writing


async def test_a_connection_that_is_opened_after_a_stuck_one_was_left_goes_on(
    running: StreamingServer, echo: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "STALL_TIMEOUT", 0.5)
    async with over_spdy_without_windows(running, echo) as forward:
        async with forward.connect(STUCK) as stuck:
            await stuff(stuck, 3 * LIMIT)
        async with forward.connect(echo) as other:
            await assert_answers(other)


async def test_a_connection_that_is_alone_may_be_stuck_for_as_long_as_it_likes(
    running: StreamingServer, targets: LocalTargets, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "STALL_TIMEOUT", 0.1)
    async with over_spdy_without_windows(running, 0) as forward, forward.connect(STUCK) as stuck:
        writing = asyncio.create_task(stuck.write(bytes(50_000_000)))
        await asyncio.sleep(1)
        assert not targets.ended
        assert not writing.done()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    assert max(sizes) < OWN + LIMIT + ports.LOOK_AHEAD + 64 * 1024


async def test_a_stream_that_is_not_read_yet_is_not_late(
    running: StreamingServer, echo: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "STALL_TIMEOUT", 1.0)
    monkeypatch.setitem(ports.serve_ports.__kwdefaults__, "creation_timeout", 0.3)
    async with (
        over_spdy_without_windows(running, echo) as forward,
        forward.connect(STUCK) as stuck,
        forward.connect(echo) as other,
    ):
        await assert_answers(other)
        multiplexer = forward._wire.protocol.multiplexer
        opening = multiplexer.open

        def with_much_behind_the_first(headers: Mapping[str, str]) -> int:
            number = opening(headers)
            if headers[stream_pairs.STREAM_TYPE] == stream_pairs.ERROR:
                multiplexer.send(stuck._data, bytes(2 * LIMIT))
            return number

        monkeypatch.setattr(multiplexer, "open", with_much_behind_the_first)
        async with forward.connect(echo) as another:
            await assert_answers(another)


async def test_what_waited_for_connections_that_were_left_is_forgotten(
    running: StreamingServer, targets: LocalTargets, echo: int
) -> None:
    async with over_spdy_without_windows(running, echo) as forward:
        for number in range(5):
            async with forward.connect(STUCK) as stuck:
                assert await stuff(stuck, LIMIT // 2) == LIMIT // 2
            await until(lambda left=number + 1: targets.ended == left)  # type: ignore[misc]
        async with forward.connect(echo) as other:
            await assert_answers(other)


async def test_connections_that_are_left_before_they_begin_are_forgotten(running: StreamingServer, echo: int) -> None:
    async with over_spdy_without_windows(running, echo) as forward, forward.connect(echo) as other:
        multiplexer = forward._wire.protocol.multiplexer
        for number in range(50):  # Opened, filled and reset in what is read at once.
            headers = {stream_pairs.PORT: str(STUCK), stream_pairs.REQUEST_ID: f"left {number}"}
            both = [
                multiplexer.open({stream_pairs.STREAM_TYPE: kind, **headers})
                for kind in (stream_pairs.ERROR, stream_pairs.DATA)
            ]
            multiplexer.send(both[1], bytes(30_000))
            for stream in both:
                multiplexer.reset(stream)
            forward._wire.flush_soon()
            await assert_answers(other)


@WINDOWS
async def test_a_client_that_does_not_read_one_connection_gets_the_others(
    running: StreamingServer, echo: int, over: Forwarding
) -> None:
    async def gush(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                writer.write(bytes(PIECE))
                await writer.drain()

    async with (
        await asyncio.start_server(gush, "127.0.0.1", 0) as gushing,
        over(running, echo) as forward,
        contextlib.AsyncExitStack() as stack,
    ):
        for _ in range(MANY):
            unread = await stack.enter_async_context(forward.connect(gushing.sockets[0].getsockname()[1]))
            await until(lambda one=unread: one._connection.data.size >= 64 * 1024)  # type: ignore[misc]
        await assert_answers(await stack.enter_async_context(forward.connect(echo)))
