"""Commands that run in a container besides its own process.

A command belongs to its caller: when the caller leaves before the command has ended, the command is told (SIGHUP, as
a terminal does that hangs up) and then killed. What it had printed is taken and thrown away, since the agent remembers
a command, one of a bounded number, until its output was taken.
"""

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator
from typing import cast

from vmsandbox import aio, log
from vmsandbox.errors import DeadlineExceeded, ResourceExhausted
from vmsandbox.guest import GuestClient
from vmsandbox.model import ExecResult
from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages import GUEST, Exec, Exit, Stream
from vmsandbox.sandbox.spec import SpecInputs, build_process, given_user
from vmsandbox.sandbox.streams.exec_process import ExecProcess
from vmsandbox.state import ContainerRecord

_log = log.get(__name__)

OUTPUT_LIMIT = 16 * 1024 * 1024
"""Bytes that a command may print on each stream, as in containerd's ExecSync."""

HANGUP_GRACE = 5.0
"""Seconds between SIGHUP and SIGKILL for a command whose caller has left."""

CLOSE_GRACE = 2.0
"""Seconds that commands without a caller have when the daemon ends."""

CLEAR_DEADLINE = 60.0
"""Seconds for a killed command to end and its output to be taken; only one stuck in the guest's kernel needs them."""

_GUEST_VARIABLES = ("TERM=xterm", "HOME=/root", "PS1=[guest of \\h] \\w # ")
"""The variables of a command in the guest itself. Its prompt tells the guest's shell from those of containers."""


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
        given: JSON = None,
        grace: float = HANGUP_GRACE,
    ) -> AsyncIterator[ExecProcess]:
        """Run a command while the context lasts.

        Args:
            record: of the container, which has to run.
            hostname: of the pod.
            command: the program and its arguments.
            stdin: whether it is given input; without, it reads an empty file.
            tty: whether it gets a terminal.
            given: the runtime-spec's process, where the caller has made it.
            grace: seconds that it has after SIGHUP when the context is left before it has ended; 0: none.

        Raises:
            VmsandboxError: it could not be started.
        """
        process = _build_process(record, hostname, command, tty=tty) if given is None else given
        user = None if given is None else given_user(given)
        request = Exec(record.id, secrets.token_hex(8), process, user, stdin=stdin, tty=tty)
        async with self._open(request, grace) as running:
            yield running

    @contextlib.asynccontextmanager
    async def open_in_guest(
        self, command: tuple[str, ...], *, stdin: bool = False, tty: bool = False
    ) -> AsyncIterator[ExecProcess]:
        """Run a command in the guest itself while the context lasts, as `open` does in a container.

        Args:
            command: the program and its arguments; none are a shell.
            stdin: whether it is given input.
            tty: whether it gets a terminal.
        """
        process: dict[str, JSON] = {"args": list(command), "env": list(_GUEST_VARIABLES)}
        request = Exec(GUEST, secrets.token_hex(8), process, stdin=stdin, tty=tty)
        async with self._open(request, HANGUP_GRACE) as running:
            yield running

    @contextlib.asynccontextmanager
    async def _open(self, request: Exec, grace: float) -> AsyncIterator[ExecProcess]:
        ended = self._running[request.exec_id] = asyncio.get_running_loop().create_future()
        started = False
        running = ExecProcess(self._client, request, ended, None)
        try:
            await self._client.exec(request)
            started = True
            async with contextlib.AsyncExitStack() as stack:
                source = self._client.input(request.container_id, exec_id=request.exec_id)
                input_ = await stack.enter_async_context(source) if request.stdin else None
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
        except Exception as error:  # Nobody waits for it.
            _log.info(
                "command %s in container %s was not seen to end: %r", request.exec_id, request.container_id, error
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
