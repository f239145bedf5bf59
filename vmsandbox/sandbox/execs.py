"""Commands that run in a container besides its own process.

A command belongs to its caller: when the caller leaves before the command has ended, the command is told (SIGHUP, as
a terminal does that hangs up) and then killed. What it had printed is taken and thrown away, since the agent remembers
a command, one of a bounded number, until its output was taken.
"""

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

from vmsandbox import aio, log
from vmsandbox.errors import DeadlineExceeded, FailedPrecondition, NotFound, ResourceExhausted, VmsandboxError
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.stdin import InputStream
from vmsandbox.guest.streams import OutputStream
from vmsandbox.model import ExecResult
from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages import Exec, Exit, Stream
from vmsandbox.sandbox.records import ContainerRecord
from vmsandbox.sandbox.spec import SpecInputs, build_process

_log = log.get(__name__)

OUTPUT_LIMIT = 16 * 1024 * 1024
"""Bytes that a command may print on each stream, as containerd's ExecSync has it."""

ACKNOWLEDGED_AT_ONCE = 64 * 1024
"""Bytes of output after which the agent is told that they were taken: a quarter of what it keeps. Each telling costs
it as much as a piece of output does."""

HANGUP_GRACE = 5.0
"""Seconds between SIGHUP and SIGKILL for a command whose caller has left."""

CLOSE_GRACE = 2.0
"""Seconds that commands without a caller have when the daemon ends."""

CLEAR_DEADLINE = 60.0
"""Seconds for a killed command to end and its output to be taken; only one stuck in the guest's kernel needs them."""


class ExecProcess:
    """A command that runs, and its streams. `Execs.open` makes it."""

    def __init__(
        self, client: GuestClient, request: Exec, ended: "asyncio.Future[Exit]", stdin: InputStream | None
    ) -> None:
        """Its streams are opened when they are first used."""
        self.outputs = (Stream.STDOUT,) if request.tty else (Stream.STDOUT, Stream.STDERR)
        self._client = client
        self._request = request
        self._ended = ended
        self._stdin = stdin
        self._taken = dict.fromkeys(self.outputs, 0)
        self._to_the_end: set[Stream] = set()

    @property
    def finished(self) -> bool:
        """Whether it has ended, and all that it printed was taken."""
        return self._ended.done() and self._to_the_end.issuperset(self.outputs)

    async def output(self, stream: Stream) -> AsyncGenerator[bytes, None]:
        """What it prints, to the end; it goes on only when the next piece is asked for. Raises Unavailable."""
        request = self._request
        offset = self._taken[stream]
        try:
            async with self._client.output(
                request.container_id, stream, exec_id=request.exec_id, offset=offset
            ) as source:
                async for data in source:
                    yield data
                    if source.offset - self._taken[stream] >= ACKNOWLEDGED_AT_ONCE:
                        self._acknowledge(stream, source)
                self._acknowledge(stream, source)
        except NotFound:
            pass  # It has ended, and the agent had nothing (more) for us to take.
        self._to_the_end.add(stream)

    def _acknowledge(self, stream: Stream, source: OutputStream) -> None:
        source.acknowledge(source.offset)
        self._taken[stream] = source.offset

    async def write(self, data: bytes) -> None:
        """Give it input. Raises FailedPrecondition when it takes none (any more), Unavailable."""
        if self._stdin is None:
            raise FailedPrecondition("the command was started without standard input")
        await self._stdin.write(data)

    async def close_stdin(self) -> None:
        """Let it read the end of file; a terminal has none, and nothing happens."""
        if self._stdin is not None:
            await self._stdin.close_write()

    async def resize(self, columns: int, rows: int) -> None:
        """Set its window. Raises FailedPrecondition where it has no terminal."""
        request = self._request
        await self._client.resize(request.container_id, columns, rows, exec_id=request.exec_id)

    async def wait(self) -> int:
        """Its exit code. Raises Unavailable when the machine ends first."""
        return (await asyncio.shield(self._ended)).exit_code


class Execs:
    """The commands that run in one sandbox."""

    def __init__(self, client: GuestClient) -> None:
        """Run commands through `client`, which stays the caller's."""
        self._client = client
        self._running: dict[str, asyncio.Future[Exit]] = {}
        self._clearing: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def open(
        self,
        record: ContainerRecord,
        hostname: str,
        command: tuple[str, ...],
        *,
        stdin: bool = False,
        tty: bool = False,
        grace: float = HANGUP_GRACE,
    ) -> AsyncIterator[ExecProcess]:
        """Run a command while the context lasts.

        Args:
            record: of the container, which has to run.
            hostname: of the pod.
            command: the program and its arguments.
            stdin: whether it is given input; without, it reads an empty file.
            tty: whether it gets a terminal.
            grace: seconds that it has after SIGHUP when the context is left before it has ended; 0: none.

        Raises:
            VmsandboxError: it could not be started.
        """
        process = _build_process(record, hostname, command, tty=tty)
        request = Exec(record.id, secrets.token_hex(8), process, stdin=stdin, tty=tty)
        ended = self._running[request.exec_id] = asyncio.get_running_loop().create_future()
        started = False
        running = ExecProcess(self._client, request, ended, None)
        try:
            await self._client.exec(request)
            started = True
            async with contextlib.AsyncExitStack() as stack:
                source = self._client.input(record.id, exec_id=request.exec_id)
                input_ = await stack.enter_async_context(source) if stdin else None
                running = ExecProcess(self._client, request, ended, input_)
                yield running
        finally:
            if started and not running.finished:
                self._clear_soon(request, running, grace)
            else:
                self._forget(request.exec_id)

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
        try:
            async with asyncio.timeout(timeout or None), self.open(record, hostname, command, grace=0) as process:
                printed = {stream: bytearray() for stream in process.outputs}
                await aio.together(*(_collect(process, stream, into) for stream, into in printed.items()))
                code = await process.wait()
                return ExecResult(bytes(printed[Stream.STDOUT]), bytes(printed[Stream.STDERR]), code)
        except TimeoutError:
            raise DeadlineExceeded(f"the command {command[0]} did not end within {timeout:g} s") from None

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
                ended.exception()  # Seen, also where nobody waits for it.

    async def close(self) -> None:
        """Stop caring for commands whose callers have left, after a moment for those that are just being ended."""
        if self._clearing:
            await asyncio.wait(self._clearing, timeout=CLOSE_GRACE)
        await aio.cancel(*self._clearing)

    def _clear_soon(self, request: Exec, process: ExecProcess, grace: float) -> None:
        """End a command in the background: its caller has left, and does not wait for that."""
        task = asyncio.create_task(self._clear(request, process, grace), name=f"end of command {request.exec_id}")
        self._clearing.add(task)
        task.add_done_callback(self._clearing.discard)

    async def _clear(self, request: Exec, process: ExecProcess, grace: float) -> None:
        try:
            async with asyncio.timeout(CLEAR_DEADLINE):
                await self._hang_up(request, grace)
                await aio.together(*(_discard(process, stream) for stream in process.outputs))
                await process.wait()
        except (VmsandboxError, TimeoutError) as error:
            _log.info(
                "command %s in container %s was not seen to end: %s", request.exec_id, request.container_id, error
            )
        finally:
            self._forget(request.exec_id)

    async def _hang_up(self, request: Exec, grace: float) -> None:
        ended = self._running[request.exec_id]
        if grace > 0 and not ended.done():
            await self._client.signal_exec(request.container_id, request.exec_id, signal.SIGHUP)
            await asyncio.wait([ended], timeout=grace)
        if not ended.done():
            await self._client.signal_exec(request.container_id, request.exec_id, signal.SIGKILL)

    def _forget(self, exec_id: str) -> None:
        ended = self._running.pop(exec_id)
        if ended.done() and not ended.cancelled():
            ended.exception()  # Seen.


def _build_process(record: ContainerRecord, hostname: str, command: tuple[str, ...], *, tty: bool) -> JSON:
    """The runtime-spec's `process`; one with a terminal is told its kind, as containerd does."""
    inputs = SpecInputs(record.id, record.config, record.image_config, hostname, ())
    process = cast(dict[str, JSON], build_process(inputs, command, tty=tty))
    environment = cast(list[JSON], process["env"])
    if tty and not any(str(variable).startswith("TERM=") for variable in environment):
        process["env"] = [*environment, "TERM=xterm"]
    return process


async def _collect(process: ExecProcess, stream: Stream, into: bytearray) -> None:
    async with contextlib.aclosing(process.output(stream)) as pieces:
        async for data in pieces:
            into += data
            if len(into) > OUTPUT_LIMIT:
                raise ResourceExhausted(f"the command printed more than {OUTPUT_LIMIT} bytes on {stream.value}")


async def _discard(process: ExecProcess, stream: Stream) -> None:
    async with contextlib.aclosing(process.output(stream)) as pieces:
        async for _ in pieces:
            pass
