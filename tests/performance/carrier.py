"""The guest's end of what `throughput` moves: a program that takes or gives a file, by vsock or TCP.

It is the guest's own Python, in its file system and the pod's network. A connection begins with how many bytes it
brings, in 16 digits; 0 asks for the file.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

from tests.support.conformance_client import Container, Cri, eventually
from vmsandbox.guest.transport.connection import Transport
from vmsandbox.streaming.client import CommandClient, Wanted

PORT, PIECE = 9000, 16 * 1024
"""Pieces are those of the agent: vhost-device-vsock needs small ones."""
FILE = "/proc/1/root/run/carried"
"""In the guest's memory, as a privileged container among the guest's processes sees it."""

CARRIER = """
import socket, sys, threading
PORT, PIECE = int(sys.argv[1]), int(sys.argv[2])
def take(peer, count):
    with open("/run/carried", "wb") as file:
        while count and (piece := peer.recv(min(PIECE, count))):
            file.write(piece)
            count -= len(piece)
    peer.sendall(b"taken")
def give(peer):
    with open("/run/carried", "rb") as file:
        while piece := file.read(PIECE):
            peer.sendall(piece)
def serve(family, address):
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen()
    while True:
        with listener.accept()[0] as peer:
            count = int(peer.recv(16, socket.MSG_WAITALL))
            take(peer, count) if count else give(peer)
threading.Thread(target=serve, args=(socket.AF_VSOCK, (socket.VMADDR_CID_ANY, PORT)), daemon=True).start()
serve(socket.AF_INET, ("127.0.0.1", PORT))
"""


class Channel(Protocol):
    """Bytes to and from the carrier."""

    async def read(self) -> bytes: ...

    async def write(self, data: bytes) -> None: ...


class Way(Protocol):
    """How bytes come into the guest's file, and out of it."""

    async def put(self, data: bytes) -> None: ...

    async def get(self) -> bytes: ...


@dataclass(frozen=True)
class Carried:
    """Bytes that a connection to the carrier moved."""

    connect: Callable[[], contextlib.AbstractAsyncContextManager[Channel]]

    async def put(self, data: bytes) -> None:
        async with self.connect() as channel:
            await channel.write(b"%016d" % len(data))
            await channel.write(data)
            assert await channel.read() == b"taken"

    async def get(self) -> bytes:
        got = bytearray()
        async with self.connect() as channel:
            await channel.write(b"%016d" % 0)
            while data := await channel.read():
                got += data
        return bytes(got)


@dataclass(frozen=True)
class Executed:
    """Bytes that `cat` moved."""

    exec_url: Callable[..., Awaitable[str]]
    over: ModuleType

    async def put(self, data: bytes) -> None:
        url = await self.exec_url("sh", "-c", f"cat > {FILE}", stdin=True)
        async with self.over.command(url, Wanted(stdin=True, stdout=True)) as command, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._type(command, data))
            assert [output async for output in command.output()] == []
            assert command.exit_code == 0

    async def get(self) -> bytes:
        url = await self.exec_url("cat", FILE)
        async with self.over.command(url, Wanted(stdout=True)) as command:
            return b"".join([output.data async for output in command.output()])

    @staticmethod
    async def _type(command: CommandClient, data: bytes) -> None:
        await command.write(data)
        await command.close_stdin()


@contextlib.contextmanager
def running(cri: Cri) -> Iterator[Container]:
    """The carrier in a pod of its own; a container of it from which `FILE` is seen."""
    security = {"privileged": True, "namespace_options": {"pid": "NODE"}}
    with cri.pod(linux={"security_context": security}) as pod:
        python = ("nsenter", "-t", "1", "-m", "-p", "--", "/usr/bin/python3", "-I", "-S", "-c", CARRIER)
        pod.start(*python, str(PORT), str(PIECE), security=security)
        container = pod.start(security=security)
        eventually(lambda: f":{PORT:04X} " in container.output("cat", "/proc/net/tcp"))
        yield container


@contextlib.asynccontextmanager
async def plain(transport: Transport) -> AsyncIterator[Channel]:
    reader, writer = await transport.dial(PORT)

    class Plain:
        async def read(self) -> bytes:
            return await reader.read(64 * 1024)

        async def write(self, data: bytes) -> None:
            for start in range(0, len(data), PIECE):
                writer.write(data[start : start + PIECE])
                await writer.drain()

    try:
        yield Plain()
    finally:
        writer.close()
        await writer.wait_closed()
