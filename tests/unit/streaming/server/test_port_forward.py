"""Port-forward over real sockets: the ports are those of this host."""

import asyncio
import gc
from types import ModuleType

import pytest

from tests.fakes.streaming import LocalTargets
from tests.support.streaming import PATTERN, TRANSPORTS, echo_server
from tests.support.waiting import until
from vmsandbox.config import StreamingConfig
from vmsandbox.errors import Unavailable
from vmsandbox.model import PortForwardRequest
from vmsandbox.streaming import client
from vmsandbox.streaming.client.dialling import dial
from vmsandbox.streaming.io import wire
from vmsandbox.streaming.protocol import stream_pairs
from vmsandbox.streaming.server import StreamingServer


@TRANSPORTS
async def test_connections_to_ports_go_side_by_side_with_half_closes(
    running: StreamingServer, over: ModuleType
) -> None:
    text = PATTERN.hex().encode()[:2_000_000]
    async with await echo_server() as echo, over.port_forward(running.portforward_url(PortForwardRequest("s"))) as pf:
        port = echo.sockets[0].getsockname()[1]

        async def through() -> bytes:
            async with pf.connect(port) as connection:

                async def write() -> None:
                    await connection.write(text)
                    await connection.close_write()

                writing = asyncio.create_task(write())
                got = b""
                while data := await connection.read():
                    got += data
                await writing
                return got

        async with asyncio.timeout(30):
            assert await asyncio.gather(*(through() for _ in range(5))) == [text.upper()] * 5


async def test_a_port_where_nobody_listens_concerns_its_connection_alone(running: StreamingServer) -> None:
    async with await echo_server() as echo, client.port_forward(running.portforward_url(PortForwardRequest("s"))) as pf:
        async with pf.connect(1) as connection:
            with pytest.raises(Unavailable) as refused:
                await connection.read()
            assert "port 1" in str(refused.value.evidence)
        async with pf.connect(echo.sockets[0].getsockname()[1]) as connection:
            await connection.write(b"still here")
            assert await connection.read() == b"STILL HERE"


async def test_a_forwarded_connection_ends_with_its_client(running: StreamingServer, targets: LocalTargets) -> None:
    async with await echo_server() as echo, client.port_forward(running.portforward_url(PortForwardRequest("s"))) as pf:
        async with pf.connect(echo.sockets[0].getsockname()[1]) as connection:
            await connection.write(b"x")
            assert await connection.read() == b"X"
        await until(lambda: targets.ended == 1)


async def test_over_channels_the_end_of_all_ports_is_the_connections_whatever_the_client_does(
    running: StreamingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LINGER", 0.1)
    url = running.portforward_url(PortForwardRequest("s", (1,)))
    reader, writer, _ = await dial(url, ("v4.channel.k8s.io",))
    try:
        async with asyncio.timeout(5):
            while await reader.read(4096):  # That nobody listens there, and a close that is not answered.
                pass
    finally:
        writer.close()


def timers() -> int:
    """Return the number of timers (`until` itself has one)."""
    handles = [one for one in gc.get_objects() if isinstance(one, asyncio.TimerHandle) and not one.cancelled()]
    return len([one for one in handles if one._loop is asyncio.get_running_loop()])  # type: ignore[attr-defined]


async def test_neither_a_connection_that_came_about_nor_a_client_that_left_is_timed_any_more(
    running: StreamingServer, targets: LocalTargets
) -> None:
    async with await echo_server() as echo:
        port = echo.sockets[0].getsockname()[1]
        before = timers()
        async with client.port_forward(running.portforward_url(PortForwardRequest("s"))) as pf:
            for _ in range(5):
                async with pf.connect(port) as connection:
                    await connection.write(b"x")
                    assert await connection.read() == b"X"
            await until(lambda: targets.ended == 5)
            idle = before + 2  # One for either end.
            assert timers() == idle
            half = {
                stream_pairs.STREAM_TYPE: stream_pairs.ERROR,
                stream_pairs.PORT: "80",
                stream_pairs.REQUEST_ID: "half",
            }
            pf._wire.protocol.multiplexer.open(half)
            pf._wire.flush_soon()
            await until(lambda: timers() > idle + 1)
        await until(lambda: timers() == before + 1)


async def test_a_forward_knows_when_its_server_is_gone(targets: LocalTargets) -> None:
    async with StreamingServer(targets, StreamingConfig()).running() as streaming:
        context = client.port_forward(streaming.portforward_url(PortForwardRequest("s")))
        forward = await context.__aenter__()
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable):
            await forward.lost()
        with pytest.raises(Unavailable):
            async with forward.connect(80):
                pass
    await context.__aexit__(None, None, None)
