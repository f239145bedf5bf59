"""A runtime for the OCI door: containers, and commands in them, are processes of this host."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

from tests.fakes.runtime import FakeImages, FakeRuntime
from tests.fakes.streaming import LocalProcess
from vmsandbox import aio
from vmsandbox.errors import FailedPrecondition
from vmsandbox.model import (
    AttachRequest,
    ContainerState,
    ContainerStatus,
    ExecRequest,
    Image,
    Output,
)


class OciProcess(LocalProcess):
    async def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class OciRuntime(FakeRuntime):
    """Output that nobody reads yet stays in the pipe of its process, as it stays in a guest."""

    def __init__(self) -> None:
        super().__init__(FakeImages(Path("/nonexistent")))
        self.images.held[""] = Image("", ("",))
        self.processes: dict[str, OciProcess] = {}
        self.started = asyncio.Condition()
        self.windows: list[tuple[int, int]] = []
        self.reason = ""
        """Why containers end; empty: by themselves."""

    async def start_container(self, container_id: str) -> None:
        await super().start_container(container_id)
        config = self.containers[container_id].config
        self.processes[container_id] = await _process(config.command)
        async with self.started:
            self.started.notify_all()

    async def stop_container(self, container_id: str, timeout: float) -> None:
        if process := self.processes.get(container_id):
            await process.signal(9)
        else:
            await super().stop_container(container_id, timeout)
            async with self.started:
                self.started.notify_all()

    async def remove_container(self, container_id: str) -> None:
        await self.stop_container(container_id, 0)
        await super().remove_container(container_id)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        for container in [each for each in self.containers.values() if each.sandbox_id == sandbox_id]:
            await self.stop_container(container.id, 0)
        await super().remove_pod_sandbox(sandbox_id)

    async def signal_container(self, container_id: str, signal: str, *, everyone: bool = False) -> None:
        await super().signal_container(container_id, signal, everyone=everyone)
        await self.processes[container_id].signal(int(signal))

    async def wait_container(self, container_id: str) -> ContainerStatus:
        if process := await self._begun(container_id):
            code = await process.wait()
            if container_id in self.containers:
                self.end(container_id, code)
                if self.reason:
                    self.change(container_id, reason=self.reason)
        return self.container_status(container_id)

    async def output(self, container_id: str) -> AsyncGenerator[Output, None]:
        if process := await self._begun(container_id):
            for stream in process.outputs:
                async for data in process.output(stream):
                    yield Output(stream, data)

    @contextlib.asynccontextmanager
    async def attach(self, request: AttachRequest) -> AsyncIterator["_Attached"]:
        if self.container_status(request.container_id).state is ContainerState.EXITED:
            raise FailedPrecondition("it has ended")
        yield _Attached(self, request.container_id)

    @contextlib.asynccontextmanager
    async def exec(self, request: ExecRequest) -> AsyncIterator[OciProcess]:
        if request.command[0] == "missing":
            raise FailedPrecondition("executable file `missing` not found in $PATH")
        process = await _process(request.command)
        try:
            yield process
        finally:
            await process.signal(9)
            await aio.to_its_end(process.wait())  # The door may end meanwhile.

    async def end_all(self) -> None:
        """Kill what runs."""
        for process in self.processes.values():
            await process.signal(9)
            await process.wait()

    async def _begun(self, container_id: str) -> OciProcess | None:
        """Return the process when it is started; None: it never will be."""
        async with self.started:
            await self.started.wait_for(lambda: container_id in self.processes or self._is_over(container_id))
        return self.processes.get(container_id)

    def _is_over(self, container_id: str) -> bool:
        status = self.containers.get(container_id)
        return status is None or status.state is ContainerState.EXITED


class _Attached:
    """The input of a container. A window is noted, whatever the container has."""

    def __init__(self, runtime: OciRuntime, container_id: str) -> None:
        self._runtime = runtime
        self._id = container_id

    async def write(self, data: bytes) -> None:
        if process := await self._runtime._begun(self._id):
            await process.write(data)

    async def close_stdin(self) -> None:
        if process := await self._runtime._begun(self._id):
            await process.close_stdin()

    async def resize(self, columns: int, rows: int) -> None:
        self._runtime.windows.append((columns, rows))


async def _process(command: tuple[str, ...]) -> OciProcess:
    pipe = asyncio.subprocess.PIPE
    return OciProcess(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe), None)
