"""Sandboxes taken back from the state database, after this process was killed or restarted (docs/on-disk.md).

Machines and containers have gone on meanwhile. Every sandbox is known at once, in the state of its record. Beside
everything else, the record is then compared with what the hypervisor and the agent say; a sandbox that cannot be taken
back is NOTREADY, and a container EXITED, with the reason. Whatever goes wrong with one sandbox ends that one alone.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

from vmsandbox import aio, log
from vmsandbox.errors import DeadlineExceeded, Unavailable, explained
from vmsandbox.hypervisor import MachineState
from vmsandbox.model import MachineSize, SandboxState
from vmsandbox.sandbox.containers import Container
from vmsandbox.sandbox.lifecycle.admission import Admission
from vmsandbox.sandbox.lifecycle.sandbox import Sandbox
from vmsandbox.sandbox.lifecycle.sandboxes import Sandboxes
from vmsandbox.sandbox.lifecycle.taking_back import end_unreadable, forget, remember, take_back
from vmsandbox.sandbox.machines import Host
from vmsandbox.sandbox.spec import domain_name
from vmsandbox.state import ContainerRecord, SandboxRecord
from vmsandbox.telemetry.declared import TAKEN_BACK

_log = log.get(__name__)

DEADLINE = 60.0
"""Seconds for all of one sandbox's taking back."""

PATIENCE = 10.0
"""Seconds for which a call waits for a sandbox that is being taken back."""

STOP_PATIENCE = 2.0
"""Seconds for which a stop waits: a sandbox that was taken back ends in better order."""

AT_ONCE = 16
"""Sandboxes whose taking back may begin within one `TURN`."""

TURN = 2.0
"""Seconds after which a sandbox that is not taken back yet makes room for another, and goes on."""


class Recovery:
    """The taking back of all sandboxes of a process, each in a task of its own."""

    def __init__(self, host: Host, admission: Admission, sandboxes: Sandboxes) -> None:
        """Nothing is to be taken back before `load`. All three stay the caller's."""
        self._host = host
        self._admission = admission
        self._sandboxes = sandboxes
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._given_up: set[str] = set()
        self._unreadable: set[str] = set()
        """The sandboxes whose records cannot be read."""
        self._turns = asyncio.Semaphore(AT_ONCE)

    def load(self) -> None:
        """Make every sandbox of the state database known, as it was last, and commit the memory of its machine.

        Raises:
            FailedPrecondition: the database cannot be read.
        """
        state = self._host.state
        for record in state.all(SandboxRecord):
            self._know(record)
        for sandbox_id, damage in state.damaged(SandboxRecord).items():
            _log.error("%s; the sandbox is ended, and is NOTREADY until it is removed", damage.error)
            self._unreadable.add(sandbox_id)
            if damage.salvaged is not None:
                self._know(damage.salvaged)
        for container in (*state.all(ContainerRecord), *self._salvaged_containers()):
            if sandbox := self._sandboxes.get(container.sandbox_id):
                sandbox.containers[container.id] = Container(sandbox.context, container)
            else:
                state.discard(ContainerRecord, container.id)

    def _know(self, record: SandboxRecord) -> None:
        self._sandboxes.add(record)
        size = MachineSize(record.vcpus, record.memory)
        self._admission.adopt(record.id, self._host.charge(record.config.runtime_handler, size))

    def _salvaged_containers(self) -> list[ContainerRecord]:
        """Return what is left of containers whose records cannot be read. One that does not tell its name is removed.

        Its guest deletes it, as a stranger, when that is taken back.
        """
        damaged = self._host.state.damaged(ContainerRecord)
        for container_id, damage in damaged.items():
            _log.error("%s; the container is ended", damage.error)
            if damage.salvaged is None:
                self._host.state.discard(ContainerRecord, container_id)
        return [damage.salvaged for damage in damaged.values() if damage.salvaged is not None]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take back, while the context lasts, what was loaded."""
        for sandbox in tuple(self._sandboxes.values()):
            self._begin(sandbox.record.id, partial(self._take_back, sandbox))
        try:
            yield
        finally:
            await aio.cancel(*self._tasks.values())

    async def settled(self) -> None:
        """Return when none is being taken back any more."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def wait_for(self, sandbox_id: str) -> None:
        """Return when a sandbox is not being taken back (any more).

        Raises:
            Unavailable: it still is, after `PATIENCE`.
        """
        if await self._is_busy(sandbox_id, PATIENCE):
            raise Unavailable(
                f"sandbox {sandbox_id} is still being taken back after a restart of the daemon",
                hint=f"try again in a moment: {DEADLINE:g} s after the start it is given up; it can be stopped at any "
                f"time",
            )

    async def give_up(self, sandbox_id: str) -> None:
        """Return when a sandbox is not being taken back any more, which is soon: it is to be stopped."""
        if await self._is_busy(sandbox_id, STOP_PATIENCE):
            self._given_up.add(sandbox_id)
            await aio.cancel(self._tasks[sandbox_id])

    async def _is_busy(self, sandbox_id: str, patience: float) -> bool:
        task = self._tasks.get(sandbox_id)
        if task is None:
            return False
        await asyncio.wait([task], timeout=patience)
        return not task.done()

    def _begin(self, sandbox_id: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.create_task(self._in_turn(work), name=f"taking back {sandbox_id}")
        self._tasks[sandbox_id] = task
        task.add_done_callback(partial(self._ended, sandbox_id))
        task.add_done_callback(aio.report)

    def _ended(self, sandbox_id: str, task: "asyncio.Task[None]") -> None:
        """Before anybody who waits for the task goes on."""
        del self._tasks[sandbox_id]
        sandbox = self._sandboxes.get(sandbox_id)
        if task.cancelled() and sandbox_id in self._given_up and sandbox is not None:
            sandbox.fail(Unavailable("it was stopped before it was taken back"))

    async def _in_turn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with self._turns:
                task = await stack.enter_async_context(aio.background(work()))
                await asyncio.wait([task], timeout=TURN)
            await task

    async def _take_back(self, sandbox: Sandbox) -> None:
        with log.about(sandbox.context.subject()):
            try:
                async with asyncio.timeout(DEADLINE):
                    await self._as_it_was(sandbox)
            except TimeoutError:
                sandbox.fail(DeadlineExceeded(f"it was not taken back within {DEADLINE:g} s").at(_step(sandbox)))
            except Exception as error:
                sandbox.fail(explained(error).at(_step(sandbox)))
            TAKEN_BACK.add(sandbox.record.state.value)

    async def _as_it_was(self, sandbox: Sandbox) -> None:
        record = sandbox.record
        if record.id in self._unreadable:
            await end_unreadable(sandbox, self._host)
            self._admission.release(record.id)
        elif record.state is SandboxState.READY:
            await take_back(sandbox)
        elif record.state is SandboxState.NOTREADY:
            await remember(sandbox)
            if await self._host.hypervisor.state(domain_name(record.id)) is MachineState.GONE:
                self._admission.release(record.id)  # Else its machine waits for being stopped.
        else:  # Nobody was told of it.
            _log.warning("giving back the resources of sandbox %s, whose creation was interrupted", record.id)
            await forget(self._host, record.id)
            self._admission.release(record.id)
            del self._sandboxes[record.id]


def _step(sandbox: Sandbox) -> str:
    return f"taking back sandbox {sandbox.record.id}"
