"""A small raw client of the agent's protocol, for tests: it can also be rude."""

import asyncio
import contextlib
import itertools
import socket
import struct
from pathlib import Path
from typing import Any

from vmsandbox.protocol.codec import decode, encode
from vmsandbox.protocol.framing import pack, pack_json, parse_json
from vmsandbox.protocol.messages import (
    CONTROL_PORT,
    EVENTS,
    STREAM_PORT,
    CreateContainer,
    Envelope,
    Event,
    Exec,
    Exit,
    Hello,
    HelloReply,
    Kind,
    OpenStream,
    Stream,
    StreamToken,
)

CONTAINER = "c1"


class AgentRefused(Exception):
    """An ERROR envelope."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Wire:
    """Frames on one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def dial(cls, directory: Path, port: int) -> "Wire":
        # Not asyncio's connect: it takes one that a full backlog refuses (EAGAIN) for connected.
        connected = socket.socket(socket.AF_UNIX)
        connected.connect(str(directory / f"{port}.sock"))
        return cls(*await asyncio.open_unix_connection(sock=connected))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def frame(self) -> bytes | None:
        """The next frame's payload; None at the end."""
        try:
            (length,) = struct.unpack(">I", await self.reader.readexactly(4))
            return await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class StreamClient:
    """One stream: chunks and acknowledgements."""

    def __init__(self, wire: Wire, offset: int = 0) -> None:
        self.wire = wire
        self.position = offset

    async def chunk(self) -> bytes | None:
        payload = await self.wire.frame()
        self.position += len(payload or b"")
        return payload

    async def acknowledge(self, offset: int | None = None) -> None:
        await self.wire.send(pack(struct.pack(">Q", self.position if offset is None else offset)))

    async def read_all(self, pause: float = 0) -> bytes:
        """Everything up to the end of file, each chunk acknowledged."""
        data = b""
        while chunk := await self.chunk():
            data += chunk
            await self.acknowledge()
            if pause:
                await asyncio.sleep(pause)
        assert chunk == b"", "the stream broke off"
        return data

    async def read_until(self, text: bytes) -> bytes:
        data = b""
        while text not in data:
            chunk = await self.chunk()
            assert chunk, f"the stream ended before {text!r}: {data!r}"
            data += chunk
            await self.acknowledge()
        return data

    async def write(self, data: bytes) -> None:
        await self.wire.send(pack(data))

    async def acknowledged(self) -> int | None:
        payload = await self.wire.frame()
        return None if payload is None else struct.unpack(">Q", payload)[0]

    async def close(self) -> None:
        await self.wire.close()


class Client:
    """A controller: requests by number, events as they come."""

    def __init__(self, directory: Path, wire: Wire, reply: HelloReply) -> None:
        self.directory = directory
        self.wire = wire
        self.hello = reply
        self.events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self.goodbye: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._answers: dict[int, asyncio.Future[Envelope]] = {}
        self._numbers = itertools.count(1)
        self._streams: list[StreamClient] = []
        self._task = asyncio.create_task(self._receive())

    @classmethod
    async def connect(cls, directory: Path, acknowledged: int = 0, versions: tuple[int, ...] = (1,)) -> "Client":
        wire = await Wire.dial(directory, CONTROL_PORT)
        await wire.send(pack_json(encode(Hello(versions, "test-build", acknowledged))))
        payload = await wire.frame()
        assert payload is not None
        return cls(directory, wire, decode(HelloReply, parse_json(payload)))

    async def begin(self, request: Any, deadline: float = 30) -> tuple[int, asyncio.Future[Envelope]]:
        number = next(self._numbers)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        envelope = Envelope(Kind.REQUEST, number, request.METHOD, encode(request), deadline)
        await self.wire.send(pack_json(encode(envelope)))
        return number, future

    async def call(self, request: Any, deadline: float = 30) -> Any:
        _, future = await self.begin(request, deadline)
        return result_of(request, await future)

    async def cancel(self, number: int) -> None:
        await self.wire.send(pack_json(encode(Envelope(Kind.CANCEL, number))))

    async def acknowledge(self, number: int) -> None:
        await self.wire.send(pack_json(encode(Envelope(Kind.ACKNOWLEDGE, number))))

    async def exit(self, exec_id: str = "") -> Exit:
        """The next event, acknowledged, which must be the end of that process."""
        number, event = await self.events.get()
        await self.acknowledge(number)
        assert event.exec_id == exec_id
        return event

    async def stream(
        self, stream: Stream, container_id: str = CONTAINER, exec_id: str = "", offset: int = 0
    ) -> StreamClient:
        token = await self.call(OpenStream(container_id, stream, exec_id, offset))
        return await self.present(token, offset)

    async def present(self, token: StreamToken, offset: int = 0) -> StreamClient:
        wire = await Wire.dial(self.directory, STREAM_PORT)
        await wire.send(pack_json(encode(token)))
        client = StreamClient(wire, offset)
        self._streams.append(client)
        return client

    async def create(self, script: str, container_id: str = CONTAINER, **more: Any) -> None:
        spec = more.pop("spec", None) or runtime_spec(script)
        await self.call(CreateContainer(container_id, "image", spec, **more))

    async def exec(self, script: str, exec_id: str = "e1", container_id: str = CONTAINER, **more: Any) -> None:
        await self.call(Exec(container_id, exec_id, process_spec(script), **more))

    async def close(self) -> None:
        for stream in self._streams:
            await stream.close()
        await self.wire.close()
        await self._task

    async def _receive(self) -> None:
        while (payload := await self.wire.frame()) is not None:
            envelope = decode(Envelope, parse_json(payload))
            if envelope.kind is Kind.EVENT:
                self.events.put_nowait((envelope.id, decode(EVENTS[envelope.method], envelope.body)))
            elif envelope.kind is Kind.GOODBYE:
                self.goodbye.set_result(envelope.body)
            else:
                self._answers.pop(envelope.id).set_result(envelope)
        if not self.goodbye.done():
            self.goodbye.set_result(None)


def result_of(request: Any, envelope: Envelope) -> Any:
    if envelope.kind is Kind.ERROR:
        raise AgentRefused(envelope.method, envelope.body)
    assert envelope.kind is Kind.RESPONSE
    return decode(request.RESULT, envelope.body)


_CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_DAC_OVERRIDE"]


def process_spec(script: str) -> dict[str, Any]:
    return {
        "args": ["/bin/sh", "-c", script],
        "cwd": "/",
        "env": ["PATH=/bin", "TERM=xterm"],
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
        "noNewPrivileges": True,
    }


def runtime_spec(script: str) -> dict[str, Any]:
    return {
        "ociVersion": "1.0.2",
        "process": process_spec(script),
        "root": {"readonly": False},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            },
        ],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]},
    }
