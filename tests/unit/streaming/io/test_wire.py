"""A connection and its protocol: clients that are held back, hang up, or leave answers unread."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from typing_extensions import override

from vmsandbox.streaming.io import wire as wires
from vmsandbox.streaming.io.byte_queue import Backlog
from vmsandbox.streaming.io.sockets import close, hangup_of
from vmsandbox.streaming.io.wire import ClientGone, Wire, WireProtocol


class EchoProtocol(WireProtocol[int]):
    """Every byte is an event; `answer` is what each is answered with, and room is what the test says."""

    def __init__(self) -> None:
        self.over = False
        self.answer = b""
        self.room = 1 << 20
        self.beats = 0
        self._output = b""

    @override
    def receive(self, data: bytes) -> list[int]:
        self._output += self.answer * len(data)
        self.room += len(data)
        return list(data)

    @override
    def take_output(self) -> bytes:
        taken, self._output = self._output, b""
        return taken

    def send(self, data: bytes) -> None:
        self.room -= len(data)
        self._output += data

    @override
    def heartbeat(self) -> None:
        self.beats += 1
        self._output += b"."


Ends = tuple[Wire[EchoProtocol], socket.socket]


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    """A wire, and the client's end of its connection, with small buffers."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    listener.close()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    reader, writer = await asyncio.open_connection(sock=server)
    yield Wire(reader, writer, EchoProtocol()), client
    client.close()
    writer.transport.abort()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_what_was_read_before_comes_first_and_the_end_last() -> None:
    client, server = socket.socketpair(socket.AF_UNIX)
    reader, writer = await asyncio.open_connection(sock=server)
    wire = Wire(reader, writer, EchoProtocol(), early=b"ab")
    client.sendall(b"c")
    client.close()
    assert bytes([event async for event in wire.events()]) == b"abc"
    writer.close()


async def test_data_waits_for_room_that_what_is_received_makes(ends: Ends) -> None:
    wire, client = ends
    wire.protocol.room = 3

    async def read() -> None:
        async for _ in wire.events():
            pass

    reading = asyncio.create_task(read())
    sending = asyncio.create_task(wire.deliver(b"123456", lambda: wire.protocol.room, wire.protocol.send))
    await asyncio.wait([sending], timeout=0.05)
    assert not sending.done()
    client.sendall(b"xyz")
    async with asyncio.timeout(5):
        await sending
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert client.recv(100) == b"123456"


async def test_data_that_waits_for_room_gives_up_with_its_client(ends: Ends) -> None:
    wire, client = ends
    wire.protocol.room = 0

    async def read() -> None:
        async for _ in wire.events():
            pass

    reading = asyncio.create_task(read())
    sending = asyncio.create_task(wire.deliver(b"1", lambda: wire.protocol.room, wire.protocol.send))
    await asyncio.sleep(0)
    client.close()
    async with asyncio.timeout(5):
        with pytest.raises(ClientGone):
            await sending
        await reading


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_client_that_hangs_up_is_noticed_without_reading(ends: Ends, reset: bool) -> None:
    wire, client = ends
    client.sendall(b"never read")
    if reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    holding = asyncio.create_task(wire.hold(asyncio.Event().wait()))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    client.close()
    async with asyncio.timeout(5):
        with pytest.raises(ClientGone, match="hung up"):
            await holding


async def test_holding_ends_with_what_is_waited_for(ends: Ends) -> None:
    wire, _ = ends
    backlog = Backlog(5)
    backlog.grow(6)
    holding = asyncio.create_task(wire.hold(backlog.fits()))
    await asyncio.sleep(0.05)
    assert not holding.done()
    backlog.shrink(1)
    async with asyncio.timeout(5):
        await holding


async def test_a_client_is_not_held_for_longer_than_it_may_be_idle(ends: Ends) -> None:
    wire, _ = ends
    wire._idle_timeout = 0.1
    async with asyncio.timeout(5):
        with pytest.raises(ClientGone, match="idle"):
            await wire.hold(asyncio.Event().wait())  # type: ignore[arg-type]


async def test_a_client_that_is_held_gets_heartbeats(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "HEARTBEAT", 0.01)
    wire, _ = ends
    await wire.hold(asyncio.sleep(0.2))
    assert wire.protocol.beats > 3


async def test_a_client_that_leaves_its_answers_unread_is_not_read_from(ends: Ends) -> None:
    wire, client = ends
    wire.protocol.answer = bytes(10_000)
    client.setblocking(False)
    seen = 0

    async def read() -> None:
        nonlocal seen
        async for _ in wire.events():
            seen += 1

    reading = asyncio.create_task(read())
    blocked = 0
    while blocked < 5:
        try:
            client.send(bytes(1000))
            blocked = 0
        except BlockingIOError:
            blocked += 1
        await asyncio.sleep(0.01 if blocked else 0)
    assert seen < 200_000, "1 MiB of answers, and what is read at once"
    client.close()
    async with asyncio.timeout(5):
        await asyncio.wait([reading])


async def test_the_hangup_of_a_socket_that_is_closed_already_is_known() -> None:
    client, server = socket.socketpair()
    client.close()
    server.close()
    with hangup_of(server) as gone:
        assert gone.done()


async def test_a_client_that_is_slow_to_take_the_end_in_gets_all_of_it(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wires, "LINGER", 0.05)
    wire, client = ends
    client.setblocking(False)
    wire.protocol.send(bytes(1_000_000))

    async def end() -> None:
        await wire.end()
        close(wire._writer)

    ending = asyncio.create_task(end())
    got = b""
    async with asyncio.timeout(20):
        for _ in range(3):
            await asyncio.sleep(0.2)
            got += await asyncio.get_running_loop().sock_recv(client, 20_000)
        while data := await asyncio.get_running_loop().sock_recv(client, 20_000):
            got += data
    assert len(got) == 1_000_000
    client.close()
    await ending


async def test_a_client_that_has_taken_the_end_in_and_stays_is_closed_on(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wires, "LINGER", 0.05)
    wire, _ = ends
    wire.protocol.send(b"the end")
    async with asyncio.timeout(5):
        await wire.end()


async def test_a_client_that_never_takes_the_end_in_is_idle_at_last() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    listener.close()
    reader, writer = await asyncio.open_connection(sock=server)
    wire = Wire(reader, writer, EchoProtocol(), idle_timeout=0.3)
    wire.protocol.send(bytes(20_000_000))
    async with asyncio.timeout(5):
        await wire.end()
    writer.transport.abort()
    client.close()
