"""The machine of one sandbox: got and claimed, or found again, and watched while it runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from vmsandbox import aio, log
from vmsandbox.errors import FailedPrecondition, Unavailable, VmsandboxError
from vmsandbox.guest import EventHandler, GuestClient, Transport
from vmsandbox.hypervisor import MachineEvent, MachineState
from vmsandbox.model import BootTimings, PodNetwork, PodSandboxConfig
from vmsandbox.protocol.messages import HelloReply
from vmsandbox.sandbox.machines.getting import Source
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.machines.making import Making
from vmsandbox.sandbox.machines.teardown import give_back
from vmsandbox.sandbox.machines.ways import Ways
from vmsandbox.sandbox.spec import MachinePlan, domain_name

_log = log.get(__name__)

_SHUTDOWN_DEADLINE = 5.0
"""Seconds in which a guest may write its disks back before it is ended; its containers are gone by then."""

_ANSWER_DEADLINE = 30.0
"""Seconds in which the agent of a machine that runs has to answer a process that was restarted."""


class Machine:
    """A running machine and the ways to it. `boot`, `wait` and `take_back` acquire, `close` lets go of our ends."""

    def __init__(
        self, host: Host, sandbox_id: str, config: PodSandboxConfig, secret: bytes, on_event: EventHandler
    ) -> None:
        """Nothing is acquired before `boot`, `wait` or `take_back`.

        Args:
            host: what it is made with.
            sandbox_id: names all that is acquired.
            config: of the pod.
            secret: of the machine; empty: it was booted by a version that gave none.
            on_event: handles the agent's events, one at a time.
        """
        self.left_something = False
        """Whether a boot that failed could not give everything back."""
        self._host = host
        self._id = sandbox_id
        self._config = config
        self._ways = Ways(host, sandbox_id, secret, on_event)
        self._making = Making(host, self._ways)

    @property
    def peer(self) -> HelloReply:
        """The agent's description of itself and its kernel, after it has answered."""
        assert self._ways.peer is not None
        return self._ways.peer

    @property
    def network(self) -> PodNetwork | None:
        """The network that a boot or a claim has made; None for a pod without one."""
        return self._making.network

    @property
    def source(self) -> Source:
        """Where it was got from."""
        return self._making.source

    @property
    def failure(self) -> "asyncio.Future[VmsandboxError]":
        """Why it is of no use any more, once it is not."""
        return self._ways.failure

    @property
    def may_boot_again(self) -> bool:
        """Whether another one is to be booted: this one, and not its pod, has kept it from becoming the pod's."""
        return self._making.failed_by_machine and not self.left_something

    @property
    def ended_by(self) -> str:
        """How it ended, in one of a few words; empty: it is not known to have ended."""
        if self._host.cgroups.killed(self._id):
            return "memory_limit"
        if self._ways.end is None:
            return ""
        word = self._ways.end.reason.split()[0]
        return word if word in ("crashed", "failed", "shutdown", "destroyed") else "unknown"

    @property
    def timings(self) -> BootTimings:
        """Where the time of the boot went."""
        return BootTimings(**self._making.stopwatch.parts)

    @property
    def reached(self) -> dict[str, float]:
        """When the steps of the boot were done, by the monotonic clock; names as of `StartTimings`."""
        return self._making.stopwatch.reached

    async def boot(self, plan: MachinePlan, *, again: bool = False) -> GuestClient:
        """Acquire everything, start the machine and make the guest the pod. On failure all is given back.

        Where another one has failed before it (`again`), it boots, also where there is a template. What cannot be given
        back is logged and noted in `left_something`; `give_back` may be tried again.

        Raises:
            VmsandboxError: what failed; its evidence holds the last lines of the guest's console.
        """
        async with self._else(self._abandon, self._pod):
            await self._making.boot(plan, again=again)
        return self._ways.client

    async def wait(self, plan: MachinePlan) -> None:
        """Get a machine that is to wait for its claim. On failure as `boot`.

        Args:
            plan: of a pod that stands for those that it may become.
        """
        async with self._else(self._abandon, self._pod):
            await self._making.wait(plan)

    async def claim(self, plan: MachinePlan, on_event: EventHandler) -> GuestClient:
        """Make a machine that waits the pod's of a plan. On failure as `boot`.

        Args:
            plan: of the pod.
            on_event: handles the agent's events from now on.
        """
        self._config = plan.config
        self._ways.hand_over(plan.config, on_event)
        async with self._else(self._abandon, self._pod):
            await self._making.claim(plan)
        return self._ways.client

    async def take_back(self, boot_id: str) -> GuestClient:
        """Find the ways to a machine that another process has booted. On failure ours are closed, and it goes on.

        Raises:
            FailedPrecondition: it does not run any more, or its vsock daemon does not.
            KilledForMemory: it does not run any more, since the kernel has killed it.
            VmsandboxError: its agent does not answer, or is that of another boot; or its virtiofsd has ended.
        """
        async with self._else(self.close):
            await self._reopen(boot_id)
            await self._ways.watch()
        await self._ways.keep_clock()
        return self._ways.client

    async def take_back_waiting(self, plan: MachinePlan, boot_id: str) -> None:
        """Find the ways to a machine that waited for another process. On failure as `take_back`; plan as for `wait`."""
        async with self._else(self.close):
            await self._making.find(plan, await self._reopen(boot_id))
            await self._ways.watch()

    def failed(self, event: MachineEvent) -> None:
        """The hypervisor says that the machine has ended."""
        self._ways.ended(event)

    def hang_up(self, error: VmsandboxError) -> None:
        """Nobody need wait for the guest any more, e.g. for the rest of an output: it fails with `error`."""
        self._ways.hang_up(error)

    def check_clock(self) -> None:
        """The guest's clock is probably wrong: have it looked at soon."""
        self._ways.check_clock()

    def console_since(self, position: int) -> tuple[str, int]:
        """Return what the guest has printed; see `ConsoleReader.since`."""
        return self._ways.console_since(position)

    async def shut_down(self, client: GuestClient) -> None:
        """Let the guest end by itself, for a moment. A guest that does not is ended by `give_back`."""
        with contextlib.suppress(VmsandboxError, TimeoutError):
            async with asyncio.timeout(_SHUTDOWN_DEADLINE):
                await aio.unless(client.shutdown(deadline=_SHUTDOWN_DEADLINE), self.failure)

    async def close(self) -> None:
        """Let go of our ends: session and console. The machine goes on."""
        await self._ways.close()

    async def _reopen(self, boot_id: str) -> Transport:
        state = await self._host.hypervisor.state(domain_name(self._id))
        if state is not MachineState.RUNNING:
            raise self._ways.death(f"ended while the daemon was away: it is {state.value}", FailedPrecondition)
        directory = self._host.layout(self._id).vsock
        transport = await asyncio.to_thread(self._host.transports.reopen, self._id, directory)
        await self._ways.open(transport, self._config)
        peer = await self._ways.unless_ended(self._ways.connect(_ANSWER_DEADLINE))
        if peer.boot_id != boot_id:
            raise Unavailable("the guest has restarted, and its containers are gone")
        return transport

    @property
    def _pod(self) -> str:
        return f"pod {self._config.metadata.namespace}/{self._config.metadata.name}"

    @contextlib.asynccontextmanager
    async def _else(self, undo: Callable[[], Coroutine[Any, Any, None]], at: str = "") -> AsyncIterator[None]:
        """Undo what the body has done, where it fails; `at` says of whose machine the error is."""
        try:
            yield
        except BaseException as error:
            await aio.to_its_end(undo())
            if isinstance(error, VmsandboxError):
                self._ways.add_console(error)
                if at:
                    error.at(at)
            raise

    async def _abandon(self) -> None:
        await self.close()
        try:
            await give_back(self._host, self._id)
        except VmsandboxError as error:
            self.left_something = True
            _log.error("%s", error, extra=log.of_error(error))
        await self._making.give_up()
