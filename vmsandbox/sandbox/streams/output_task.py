"""A container's output, into the log and to readers, and its end."""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from vmsandbox import aio, log
from vmsandbox.errors import explained
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.guest import GuestClient
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.streams.attach import AttachedClients
from vmsandbox.sandbox.streams.log_writer import LogWriter
from vmsandbox.sandbox.streams.logs import ContainerLog
from vmsandbox.sandbox.streams.output import OutputPump, OutputSource
from vmsandbox.state import ContainerRecord

_log = log.get(__name__)

STILL = 15.0
"""Seconds without a byte after which an ended process's output is opened again; a busy host is slow as well."""


async def open_log(record: ContainerRecord, position: Path, pod_directory: Path, paths: ForeignPaths) -> ContainerLog:
    """Open a container's log: a new one, or the one that an earlier process wrote.

    Args:
        record: of the container.
        position: the file that holds how far the log is written.
        pod_directory: of the pod's logs.
        paths: the calls on both of these paths.

    Raises:
        InvalidArgument: the log cannot be opened at its path.
        DeadlineExceeded: the path's file system does not answer.
    """
    if not record.log_path:
        return ContainerLog(None, position)
    path = Path(record.log_path)
    return await paths.call(path, lambda: ContainerLog(path, position, pod_directory), late=ContainerLog.close)


class OutputTask:
    """Pumps a container's output, in a task, from where its log ends; `close` ends it, and the container goes on."""

    def __init__(self, record: ContainerRecord, log: ContainerLog, client: GuestClient) -> None:
        """Begin to follow; the log is closed with the pump."""
        self._id = record.id
        self._client = client
        streams = [Stream.STDOUT] if record.config.tty else [Stream.STDOUT, Stream.STDERR]
        writer, held = LogWriter(log, client.session.log_share), record.config.holds_output
        self.pump = OutputPump(writer, streams, self._open, held=held)
        self._task = asyncio.create_task(self.pump.run(), name=f"output of {record.id}")
        self._task.add_done_callback(self._log_cut)
        self.attachments = AttachedClients(client, record.id, record.config, self.pump.readers, self.drained)

    async def drained(self) -> None:
        """Return when all output is in the log, or is not going to be."""
        await asyncio.wait([self._task])

    async def finished(self) -> None:
        """Return as `drained`, for a process that has ended, and whose output the guest therefore has to its end.

        A stream that stands still then is opened again: a connection over vsock can stop without an error, and a guest
        can withhold the end. It is given up, as any stream, when it is opened in vain again and again.
        """
        while not (await asyncio.wait([self._task], timeout=STILL))[0]:
            if self.pump.reopen_if_still(STILL):
                _log.warning("the output of container %s stands still after its end; it is opened again", self._id)

    async def close(self) -> None:
        """Stop pumping; what is not in the log stays in the guest."""
        await self.attachments.close()
        await aio.cancel(self._task)

    def _log_cut(self, task: "asyncio.Task[None]") -> None:
        """At once: the container may go on, and is held back when the guest keeps no more of its output."""
        if not task.cancelled() and (error := task.exception()):
            _log.error("the output of container %s is cut: %s", self._id, explained(error))

    def _open(self, stream: Stream, offset: int) -> AbstractAsyncContextManager[OutputSource]:
        return self._client.output(self._id, stream, offset=offset)
