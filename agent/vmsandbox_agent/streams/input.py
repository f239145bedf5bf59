"""Standard input of a process: what the host sends is written to its pipe (or pty) and then acknowledged."""

import asyncio
import contextlib
import os

from vmsandbox.protocol.framing import STREAM_CHUNK
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.streams.connection import HostConnection, pack_offset


class ProcessInput:
    """The writing end of a process's standard input. Owns its file descriptor."""

    def __init__(self, fd: int, *, terminal: bool) -> None:
        """Write to `fd`; a terminal stays open at the end of file, since a pty has no half-close."""
        os.set_blocking(fd, False)
        self._fd = fd
        self._terminal = terminal
        self._open = True
        self._position = 0
        self._server: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Prepare for serving: end who is served. Raises AgentError when the input is closed."""
        if not self._open:
            raise AgentError("failed_precondition", "standard input is closed")
        self.stop_serving()

    def stop_serving(self) -> None:
        """End the connection that the input comes from, if there is one."""
        if self._server is not None:
            self._server.cancel()

    async def serve(self, connection: HostConnection) -> None:
        """Say how much was written so far, then write chunks until the end of file or of the peer."""
        self._server = asyncio.current_task()
        await connection.send(pack_offset(self._position))
        async for chunk in connection.frames(STREAM_CHUNK):
            if not chunk:
                if not self._terminal:
                    self._close()
                return
            if not await self._write(chunk):
                self._close()
                return
            await connection.send(pack_offset(self._position))

    def close(self) -> None:
        """The process has ended: end whoever feeds it, too."""
        self.stop_serving()
        self._close()

    async def _write(self, chunk: bytes) -> bool:
        """Write all of `chunk`; False when nobody is going to read it."""
        view = memoryview(chunk)
        while view and self._open:
            try:
                written = os.write(self._fd, view)
            except BlockingIOError:
                await self._writable()
                continue
            except OSError:
                return False
            self._position += written
            view = view[written:]
        return self._open

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self._fd, _resolve, ready)
        try:
            await ready
        finally:
            loop.remove_writer(self._fd)

    def _close(self) -> None:
        if self._open:
            self._open = False
            with contextlib.suppress(OSError):
                asyncio.get_running_loop().remove_writer(self._fd)
            os.close(self._fd)


def _resolve(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
