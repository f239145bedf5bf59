"""The connections that a server has accepted, each in a task of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from vmsandbox.aio.tasks import cancel, report

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Connections:
    """The connections that were accepted and have not ended. Each is a stranger's until `welcome`.

    A connection is closed when its task has ended, also one whose task never began. An error that ends a task is
    logged.
    """

    def __init__(
        self,
        serve: Serve,
        name: str,
        *,
        most_strangers: int | None = None,
        close: Callable[[asyncio.StreamWriter], None] = asyncio.StreamWriter.close,
    ) -> None:
        """Have none yet; `accept` takes them in.

        Args:
            serve: is run for each connection; it does not close it.
            name: of the tasks.
            most_strangers: the strangers that there may be; for one more, the oldest is closed. None: any number.
            close: closes a connection.
        """
        self._serve = serve
        self._name = name
        self._most_strangers = most_strangers
        self._close = close
        self._writers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._strangers: dict[asyncio.Task[None], None] = {}
        self._ended = False

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection in; `asyncio.start_server` calls this."""
        if self._ended:  # asyncio had accepted it, and comes here only now.
            self._close(writer)
            return

        def ended(task: asyncio.Task[None]) -> None:
            self._writers.pop(task, None)
            self._strangers.pop(task, None)
            self._close(writer)

        task = asyncio.create_task(self._serve(reader, writer), name=self._name)
        task.add_done_callback(ended)
        task.add_done_callback(report)
        self._writers[task] = writer
        self._strangers[task] = None
        if self._most_strangers is not None and len(self._strangers) > self._most_strangers:
            self._push_out(next(iter(self._strangers)))

    def welcome(self, task: "asyncio.Task[None] | None") -> None:
        """Note that the client of this task is known: no other one pushes it out."""
        if task is not None:
            self._strangers.pop(task, None)

    @contextlib.asynccontextmanager
    async def of(self, server: asyncio.Server, patience: float | None = None) -> AsyncIterator[None]:
        """Serve what a server accepts while the context lasts; its end closes the server and every connection.

        Args:
            server: has `accept` as its callback.
            patience: seconds for which the end waits for the tasks, which it cancels; None: until they have ended.
                Those that go on longer go on without their connections.
        """
        try:
            yield
        finally:
            self._ended = True
            server.close()
            await self._end(patience)
            await server.wait_closed()

    async def _end(self, patience: float | None) -> None:
        if patience is None:
            await cancel(*self._writers)
        elif self._writers:
            for task in self._writers:
                task.cancel()
            await asyncio.wait(self._writers, timeout=patience)
            for writer in self._writers.values():
                self._close(writer)

    def _push_out(self, oldest: "asyncio.Task[None]") -> None:
        del self._strangers[oldest]  # Now: others may come before it has ended.
        oldest.cancel()
