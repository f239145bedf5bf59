"""Commands that run in a container besides its own process."""

import asyncio
import secrets
import signal

from vmsandbox import aio
from vmsandbox.errors import DeadlineExceeded, ResourceExhausted, VmsandboxError
from vmsandbox.guest.client import GuestClient
from vmsandbox.model import ExecResult
from vmsandbox.protocol.messages import Exec, Exit, Stream
from vmsandbox.sandbox.records import ContainerRecord
from vmsandbox.sandbox.spec import SpecInputs, build_process

OUTPUT_LIMIT = 16 * 1024 * 1024
"""Bytes that a command may print on each stream, as containerd's ExecSync has it."""


class Execs:
    """The commands that run in one sandbox."""

    def __init__(self, client: GuestClient) -> None:
        """Run commands through `client`, which stays the caller's."""
        self._client = client
        self._running: dict[str, asyncio.Future[Exit]] = {}

    async def run(self, record: ContainerRecord, hostname: str, command: tuple[str, ...], timeout: float) -> ExecResult:
        """Run a command to its end (CRI ExecSync).

        Args:
            record: of the container, which has to run.
            hostname: of the pod.
            command: the program and its arguments.
            timeout: seconds; 0 waits without end.

        Raises:
            DeadlineExceeded: it did not end in time, and was killed.
            ResourceExhausted: it printed more than `OUTPUT_LIMIT`, and was killed.
        """
        exec_id = secrets.token_hex(8)
        process = build_process(
            SpecInputs(record.id, record.config, record.image_config, hostname, ()), command, tty=False
        )
        ended = self._running[exec_id] = asyncio.get_running_loop().create_future()
        try:
            await self._client.exec(Exec(record.id, exec_id, process))
            async with asyncio.timeout(timeout or None):
                stdout, stderr = await asyncio.gather(
                    self._read(record.id, exec_id, Stream.STDOUT), self._read(record.id, exec_id, Stream.STDERR)
                )
                return ExecResult(stdout, stderr, (await ended).exit_code)
        except TimeoutError:
            raise DeadlineExceeded(f"the command {command[0]} did not end within {timeout:g} s") from None
        finally:
            del self._running[exec_id]
            if not ended.done():
                await aio.to_its_end(self._kill(record.id, exec_id))

    def exited(self, event: Exit) -> None:
        """The agent says that a command has ended."""
        ended = self._running.get(event.exec_id)
        if ended is not None and not ended.done():
            ended.set_result(event)

    def fail(self, error: BaseException) -> None:
        """The machine is gone."""
        for ended in self._running.values():
            if not ended.done():
                ended.set_exception(error)

    async def _read(self, container_id: str, exec_id: str, stream: Stream) -> bytes:
        read = bytearray()
        async with self._client.output(container_id, stream, exec_id=exec_id) as output:
            async for data in output:
                read += data
                output.acknowledge(len(read))
                if len(read) > OUTPUT_LIMIT:
                    raise ResourceExhausted(f"the command printed more than {OUTPUT_LIMIT} bytes on {stream.value}")
        return bytes(read)

    async def _kill(self, container_id: str, exec_id: str) -> None:
        try:
            await self._client.signal_exec(container_id, exec_id, signal.SIGKILL)
        except VmsandboxError:
            return  # It has ended, or everything has.
