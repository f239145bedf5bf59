"""A runtime for the streaming server: commands are processes of this host, attach joins one, ports are this host's.

One port is stuck.
"""

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncGenerator, AsyncIterator

from typing_extensions import override

from vmsandbox.errors import FailedPrecondition, NotFound, Unavailable
from vmsandbox.model import AttachRequest, DebugRequest, ExecRequest, PortForwardRequest
from vmsandbox.protocol.messages import Stream
from vmsandbox.streaming.server import ClientProcess, Port, Targets

CHUNK = 16 * 1024
STUCK = 9
"""A port that takes nothing and says nothing."""


class LocalProcess(ClientProcess):
    """A process with pipes or a terminal."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int | None) -> None:
        self.process = process
        self.taken = 0
        """Bytes of output that the server has taken."""
        self._terminal = terminal

    @property
    @override
    def outputs(self) -> tuple[Stream, ...]:
        return (Stream.STDOUT,) if self._terminal is not None else (Stream.STDOUT, Stream.STDERR)

    @override
    async def output(self, stream: Stream) -> AsyncGenerator[bytes, None]:
        if self._terminal is not None:
            while data := await self._read_terminal(self._terminal):
                yield data
            return
        pipe = self.process.stdout if stream is Stream.STDOUT else self.process.stderr
        assert pipe is not None
        while data := await pipe.read(CHUNK):
            self.taken += len(data)
            yield data

    @override
    async def write(self, data: bytes) -> None:
        if self._terminal is not None:
            os.write(self._terminal, data)
            return
        if self.process.stdin is None:
            raise FailedPrecondition("there is no standard input")
        try:
            self.process.stdin.write(data)
            await self.process.stdin.drain()
        except OSError:
            raise FailedPrecondition("it does not read any more") from None

    @override
    async def close_stdin(self) -> None:
        if self._terminal is None and self.process.stdin is not None:
            self.process.stdin.close()

    @override
    async def resize(self, columns: int, rows: int) -> None:
        if self._terminal is None:
            raise FailedPrecondition("there is no terminal")
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @override
    async def wait(self) -> int:
        code = await self.process.wait()
        return code if code >= 0 else 128 - code

    @staticmethod
    async def _read_terminal(terminal: int) -> bytes:
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(terminal, lambda: readable.done() or readable.set_result(None))
        try:
            await readable
        finally:
            loop.remove_reader(terminal)
        try:
            return os.read(terminal, CHUNK)
        except OSError:
            return b""


class LocalPort(Port):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @override
    async def read(self) -> bytes:
        try:
            return await self._reader.read(CHUNK)
        except OSError as error:
            raise Unavailable(f"reset: {error}") from None

    @override
    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise Unavailable(f"gone: {error}") from None

    @override
    async def close_write(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.write_eof()


class StuckPort(Port):
    @override
    async def read(self) -> bytes:
        await asyncio.Event().wait()
        return b""

    @override
    async def write(self, data: bytes) -> None:
        await asyncio.Event().wait()

    @override
    async def close_write(self) -> None:
        pass


class LocalTargets(Targets):
    """Targets on this host: `processes` has the started ones, `ended` counts the contexts that were left."""

    def __init__(self) -> None:
        self.processes: list[LocalProcess] = []
        self.ended = 0

    @override
    def check_exec(self, request: ExecRequest) -> None:
        if request.container_id == "none":
            raise NotFound("there is no container none")

    @override
    def check_attach(self, request: AttachRequest) -> None:
        if not self.processes:
            raise FailedPrecondition("nothing runs")

    @override
    def check_debug(self, request: DebugRequest) -> None:
        if request.sandbox_id == "none":
            raise NotFound("there is no sandbox none")

    @override
    def check_port_forward(self, request: PortForwardRequest) -> None:
        pass

    @override
    @contextlib.asynccontextmanager
    async def exec(self, request: ExecRequest) -> AsyncIterator[LocalProcess]:
        terminal, child = pty.openpty() if request.tty else (None, None)
        given = child if child is not None else asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *request.command,
            stdin=given if request.stdin or request.tty else asyncio.subprocess.DEVNULL,
            stdout=given,
            stderr=given,
            start_new_session=True,
            preexec_fn=_become_foreground if request.tty else None,
        )
        if child is not None:
            os.close(child)
        local = LocalProcess(process, terminal)
        self.processes.append(local)
        try:
            yield local
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process._transport.close()  # type: ignore[attr-defined] # Its pipes, read to their ends or not.
            await process.wait()
            if process.stdin is not None:
                with contextlib.suppress(OSError):  # It had not read all of it.
                    await process.stdin.wait_closed()
            if terminal is not None:
                os.close(terminal)
            self.ended += 1

    @override
    @contextlib.asynccontextmanager
    async def debug(self, request: DebugRequest) -> AsyncIterator[LocalProcess]:
        words = request.command or ("sh",)
        async with self.exec(ExecRequest("guest", words, tty=request.tty, stdin=request.stdin)) as process:
            yield process

    @override
    @contextlib.asynccontextmanager
    async def attach(self, request: AttachRequest) -> AsyncIterator[LocalProcess]:
        try:
            yield self.processes[-1]
        finally:
            self.ended += 1

    @override
    @contextlib.asynccontextmanager
    async def port(self, sandbox_id: str, port: int) -> AsyncIterator[LocalPort | StuckPort]:
        async with contextlib.AsyncExitStack() as stack:
            if port == STUCK:
                connection: LocalPort | StuckPort = StuckPort()
            else:
                connection = await self._connect(port, stack)
            try:
                yield connection
            finally:
                self.ended += 1

    @staticmethod
    async def _connect(port: int, stack: contextlib.AsyncExitStack) -> LocalPort:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            raise Unavailable(f"nobody listens on port {port}: {error.strerror}") from None
        stack.callback(writer.close)
        return LocalPort(reader, writer)


def _become_foreground() -> None:
    """In the child: make the terminal that is standard input the controlling one."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
