"""Connections to ports of one client, of which some are stuck at the one end or the other: the rest goes on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager

import pytest

from tests.fakes.streaming import STUCK, LocalTargets, StuckPort
from tests.support import spdy_client
from tests.support.spdy_client import WindowlessSession
from tests.support.streaming import echo_server
from tests.support.waiting import until
from vmsandbox import aio
from vmsandbox.errors import Unavailable
from vmsandbox.model import PortForwardRequest
from vmsandbox.streaming import client
from vmsandbox.streaming.client import PortConnection, PortForwardClient
from vmsandbox.streaming.client.dialling import dial
from vmsandbox.streaming.io.byte_queue import Backlog
from vmsandbox.streaming.io.sockets import close
from vmsandbox.streaming.io.wire import Wire
from vmsandbox.streaming.protocol import stream_pairs
from vmsandbox.streaming.protocol.channels import WebSocketChannels
from vmsandbox.streaming.protocol.spdy import windows
from vmsandbox.streaming.protocol.spdy.streams import MAX_STREAMS
from vmsandbox.streaming.protocol.stream_protocol import ClientProtocol
from vmsandbox.streaming.protocol.versions import WEBSOCKET_PORTS
from vmsandbox.streaming.server import StreamingServer, forwarded_connection, port_forward
from vmsandbox.streaming.server.forwarded_connection import CONNECTION_LIMIT
from vmsandbox.streaming.server.port_forward import CLIENT_LIMIT

PIECE = 50_000
LIMIT = 1024 * 1024
"""Bytes that may wait for all ports of a client in these tests, which take less time so."""
MANY = 5
ABOVE = 3 * CONNECTION_LIMIT
"""Bytes that are more than may wait for one port, and less than may for a client."""

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


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_forward, "CLIENT_LIMIT", LIMIT)


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A port that sends back what it gets, in capitals."""
    async with await echo_server() as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the bytes that waited for all ports of a client, each time that they grew."""
    sizes = []
    grow = Backlog.grow

    def watched(self: Backlog, count: int) -> None:
        grow(self, count)
        sizes.append(self._size)

    monkeypatch.setattr(Backlog, "grow", watched)
    return sizes


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port has stalled after half a second."""
    monkeypatch.setattr(forwarded_connection, "STALL_TIMEOUT", 0.5)


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


async def assert_reset(connection: PortConnection) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable):
            while await connection.read():
                pass


async def assert_open(connection: PortConnection) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connection.read()


@ANY
async def test_another_connection_goes_on_while_one_is_stuck(
    running: StreamingServer, echo: int, over: Forwarding
) -> None:
    async with over(running, echo) as forward, forward.connect(STUCK) as stuck, forward.connect(echo) as other:
        assert await stuff(stuck, LIMIT - PIECE) > 0
        await assert_answers(other)


@WINDOWS
async def test_a_client_that_knows_windows_stops_by_itself_and_is_never_beyond_a_bound(
    running: StreamingServer, echo: int, over: Forwarding, short: None
) -> None:
    async with over(running, echo) as forward, contextlib.AsyncExitStack() as stack:
        for _ in range(MANY):
            stuck = await stack.enter_async_context(forward.connect(STUCK))
            assert CONNECTION_LIMIT - PIECE < await stuff(stuck, ABOVE) <= CONNECTION_LIMIT
        await asyncio.sleep(1)
        await assert_open(stuck)
        await assert_answers(await stack.enter_async_context(forward.connect(echo)))


@NO_WINDOWS
async def test_what_is_sent_to_a_stuck_port_takes_no_more_memory_than_the_limit(
    running: StreamingServer, echo: int, over: Forwarding, sizes: list[int]
) -> None:
    async with over(running, echo) as forward, forward.connect(STUCK) as stuck:
        assert await stuff(stuck, 50_000_000) < 50_000_000
    assert LIMIT < max(sizes) <= LIMIT + 64 * 1024


@NO_WINDOWS
@pytest.mark.parametrize("size", [ABOVE, 2 * LIMIT], ids=["port", "client"])
async def test_a_connection_beyond_its_bound_that_stalls_is_reset_and_others_go_on(
    running: StreamingServer, echo: int, over: Forwarding, size: int, short: None
) -> None:
    async with over(running, echo) as forward, forward.connect(STUCK) as stuck, forward.connect(echo) as other:
        await assert_answers(other)
        writing = asyncio.create_task(stuck.write(bytes(size)))
        await assert_answers(other)
        if over is not over_channels:  # Which know no reset: what still comes is thrown away.
            await assert_reset(stuck)
        await writing
        await assert_answers(other)


async def test_a_connection_beyond_its_bound_is_reset_also_when_it_is_alone(
    running: StreamingServer, targets: LocalTargets, echo: int, short: None
) -> None:
    async with over_spdy_without_windows(running, 0) as forward, forward.connect(STUCK) as stuck:
        writing = asyncio.create_task(stuck.write(bytes(3 * LIMIT)))
        await assert_reset(stuck)
        await until(lambda: targets.ended == 1)
        await writing
        async with forward.connect(echo) as other:
            await assert_answers(other)


async def test_over_channels_the_client_is_told_why_its_connection_has_ended(
    running: StreamingServer, short: None
) -> None:
    async with over_channels(running, STUCK) as forward, forward.connect(STUCK) as stuck:
        await stuff(stuck, ABOVE)
        await until(lambda: b"took nothing in" in stuck._connection.error)


async def test_a_connection_within_its_bound_may_be_stuck_for_as_long_as_it_likes(
    running: StreamingServer, short: None
) -> None:
    async with (
        over_spdy_without_windows(running, 0) as forward,
        forward.connect(STUCK) as little,
        forward.connect(STUCK) as much,
    ):
        assert await stuff(little, CONNECTION_LIMIT) == CONNECTION_LIMIT
        await stuff(much, CONNECTION_LIMIT + 1)
        await assert_reset(much)
        await assert_open(little)


async def test_a_port_that_is_slow_is_not_taken_for_one_that_stalls(
    running: StreamingServer, targets: LocalTargets, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0

    async def write(_: StuckPort, data: bytes) -> None:
        nonlocal taken
        await asyncio.sleep(0.2)
        taken += len(data)

    monkeypatch.setattr(StuckPort, "write", write)
    async with over_spdy_without_windows(running, 0) as forward, forward.connect(STUCK) as slow:
        await slow.write(bytes(10 * CONNECTION_LIMIT))
        await until(lambda: taken == 10 * CONNECTION_LIMIT)
        assert not targets.ended


async def test_a_client_with_too_many_connections_is_refused_one_more_and_keeps_the_others(
    running: StreamingServer, echo: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_forward, "MAX_CONNECTIONS", 2)
    async with over_spdy(running, echo) as forward, forward.connect(STUCK), forward.connect(echo) as other:
        await assert_answers(other)
        async with forward.connect(echo) as another:
            await assert_reset(another)
        await assert_answers(other)


def test_a_client_whose_connections_are_within_their_bound_is_within_its_own() -> None:
    assert CONNECTION_LIMIT >= windows.INITIAL
    assert CLIENT_LIMIT >= MAX_STREAMS // 2 * CONNECTION_LIMIT
    assert all(
        version.channels.most // 2 <= port_forward.MAX_CONNECTIONS for version in WEBSOCKET_PORTS if version.channels
    )


async def test_a_connection_that_is_opened_beside_a_stuck_one_goes_on(
    running: StreamingServer, echo: int, short: None
) -> None:
    async with over_spdy_without_windows(running, echo) as forward, forward.connect(STUCK) as stuck:
        writing = asyncio.create_task(stuck.write(bytes(2 * LIMIT)))
        await asyncio.sleep(0.1)
        async with forward.connect(echo) as other:
            await assert_answers(other)
            await assert_reset(stuck)
        await writing


async def test_a_connection_that_is_opened_after_a_stuck_one_was_left_goes_on(
    running: StreamingServer, echo: int, short: None
) -> None:
    async with over_spdy_without_windows(running, echo) as forward:
        async with forward.connect(STUCK) as stuck:
            await stuff(stuck, 2 * LIMIT)
        async with forward.connect(echo) as other:
            await assert_answers(other)


async def test_a_stream_that_is_not_read_yet_is_not_late(
    running: StreamingServer, echo: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarded_connection, "STALL_TIMEOUT", 1.0)
    monkeypatch.setitem(port_forward.serve_ports.__kwdefaults__, "creation_timeout", 0.3)
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
