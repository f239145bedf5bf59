"""The machine of one sandbox: acquired in steps, watched while it runs, given back by the sandbox's id alone."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from vmsandbox import aio
from vmsandbox.errors import Unavailable, VmsandboxError
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.events import EventHandler
from vmsandbox.guest.session import Session
from vmsandbox.guest.transport import Transport
from vmsandbox.hypervisor.base import Disk, MachineEvent, MachineSpec, NetworkDevice, Share
from vmsandbox.hypervisor.console import ConsoleReader
from vmsandbox.model import BootTimings, PodSandboxConfig
from vmsandbox.network import PodIdentity, PodNetwork
from vmsandbox.protocol.messages import ConfigureGuest, HelloReply
from vmsandbox.sandbox.host import Host
from vmsandbox.sandbox.layout import SCRATCH_SERIAL, SHARE_TAG
from vmsandbox.sandbox.sizing import machine_size

_CONSOLE_LINES = 20
_SHUTDOWN_DEADLINE = 5.0
"""Seconds in which a guest may write its disks back before it is ended; its containers are gone by then."""


def domain_name(sandbox_id: str) -> str:
    """The name of a sandbox's domain."""
    return f"vmsandbox-{sandbox_id}"


@dataclass(slots=True)
class Stopwatch:
    """Measures the parts of a cold start."""

    parts: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Note the seconds that the body takes."""
        begin = time.monotonic()
        yield
        self.parts[part] = time.monotonic() - begin


class Machine:
    """A running machine and the ways to it. `boot` acquires, `close` lets go of our ends, `give_back` ends it."""

    def __init__(self, host: Host, sandbox_id: str, config: PodSandboxConfig, on_event: EventHandler) -> None:
        """Nothing is acquired before `boot`.

        Args:
            host: what it is made with.
            sandbox_id: names all that is acquired.
            config: of the pod.
            on_event: handles the agent's events, one at a time.
        """
        self.network: PodNetwork | None = None
        self.peer: HelloReply | None = None
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._host = host
        self._id = sandbox_id
        self._config = config
        self._on_event = on_event
        self._profile = host.profile(config.runtime_handler)
        self._layout = host.layout(sandbox_id)
        self._console = ConsoleReader(self._layout.console)
        self._stack = contextlib.AsyncExitStack()
        self._stopwatch = Stopwatch()

    @property
    def timings(self) -> BootTimings:
        """Where the time of the boot went."""
        return BootTimings(**self._stopwatch.parts)

    async def boot(self) -> GuestClient:
        """Acquire everything, start the machine and make the guest the pod. On failure all is given back.

        Raises:
            VmsandboxError: what failed; its evidence holds the last lines of the guest's console.
        """
        pod = self._config.metadata
        try:
            return await self._boot()
        except BaseException as error:
            await aio.to_its_end(self._abandon())
            if isinstance(error, VmsandboxError):
                self._add_console(error)
                error.at(f"pod {pod.namespace}/{pod.name}")
            raise

    def failed(self, event: MachineEvent) -> None:
        """The hypervisor says that the machine has ended."""
        self.fail(Unavailable(f"the virtual machine ended: {event.reason}"))

    def fail(self, error: VmsandboxError) -> None:
        """Note why the machine is of no use any more; the first reason counts."""
        if not self.failure.done():
            self._add_console(error)
            self.failure.set_result(error)

    async def shut_down(self, client: GuestClient) -> None:
        """Let the guest end by itself, for a moment. A guest that does not is ended by `give_back`."""
        with contextlib.suppress(VmsandboxError, TimeoutError):
            async with asyncio.timeout(_SHUTDOWN_DEADLINE):
                await aio.unless(client.shutdown(deadline=_SHUTDOWN_DEADLINE), self.failure)

    async def close(self) -> None:
        """Let go of our ends: session and console. The machine goes on."""
        await self._stack.aclose()

    async def _boot(self) -> GuestClient:
        with self._stopwatch.measure("prepare"):
            transport = await self._prepare()
        with self._stopwatch.measure("machine"):
            await self._create(transport)
        session = Session(
            transport, f"pod {self._config.metadata.name}", self._on_event, build=self._host.guest_image.build
        )
        await self._stack.enter_async_context(session)
        self.peer = await self._connect(session)
        client = GuestClient(session)
        with self._stopwatch.measure("configure"):
            await aio.unless(client.configure(self._guest_configuration()), self.failure)
        self._watch(session)
        return client

    async def _prepare(self) -> Transport:
        self._layout.make(self._host.qemu_group)
        transports: list[Transport] = []

        async def start_transport() -> None:
            transports.append(await self._host.transports.start(self._id, self._layout.runtime))

        scratch = self._layout.make_scratch(self._profile.scratch_size)
        await aio.together(self._set_up_network(), start_transport(), scratch)
        return transports[0]

    async def _set_up_network(self) -> None:
        pod = self._config.metadata
        identity = PodIdentity(self._id, pod.namespace, pod.name, pod.uid)
        self.network = await self._host.network.set_up(identity, self._config.port_mappings)

    async def _create(self, transport: Transport) -> None:
        assert self.network is not None
        await self._host.hypervisor.create(self._spec(transport, self.network))
        await self._stack.enter_async_context(self._console)
        await self._host.network.connect_tap(self.network)

    def _spec(self, transport: Transport, network: PodNetwork) -> MachineSpec:
        profile, pod = self._profile, self._config.metadata
        size = machine_size(self._config, profile.size, profile.overhead)
        return MachineSpec(
            name=domain_name(self._id),
            uuid=str(uuid.UUID(self._id)),
            title=f"{pod.namespace}/{pod.name}",
            image=self._host.guest_image,
            vcpus=size.vcpus,
            memory=size.memory,
            accelerator=profile.accelerator,
            vsock=transport.device,
            console=self._layout.console,
            scratch=Disk(SCRATCH_SERIAL, self._layout.scratch, readonly=False),
            share=Share(SHARE_TAG, self._layout.share),
            network=NetworkDevice(network.tap, network.interface.mac, network.interface.mtu),
            kernel_parameters=profile.kernel_parameters,
        )

    async def _connect(self, session: Session) -> HelloReply:
        begin = time.monotonic()
        peer = await aio.unless(session.connect(self._profile.boot_deadline), self.failure)
        taken = time.monotonic() - begin
        self._stopwatch.parts["kernel"] = min(peer.agent_started, taken)
        self._stopwatch.parts["agent"] = max(0.0, taken - peer.agent_started)
        return peer

    def _guest_configuration(self) -> ConfigureGuest:
        assert self.network is not None
        return ConfigureGuest(
            hostname=self._config.hostname or self._config.metadata.name,
            clock=time.time_ns(),
            interfaces=(self.network.interface,),
            dns=self._config.dns or self.network.dns,
            sysctls=self._config.sysctls,
            share_tag=SHARE_TAG,
            scratch_serial=SCRATCH_SERIAL,
        )

    def _watch(self, session: Session) -> None:
        """From now on a session that closes by itself is the machine's failure."""

        async def watch() -> None:
            self.fail(await session.wait_closed())

        task = asyncio.create_task(watch(), name=f"watch over {self._id}")
        self._stack.push_async_callback(_cancel, task)

    async def _abandon(self) -> None:
        await self.close()
        await give_back(self._host, self._id)

    def _add_console(self, error: VmsandboxError) -> None:
        if lines := self._console.last_lines(_CONSOLE_LINES):
            error.evidence.setdefault("the guest's console, last lines", "\n".join(lines))


async def give_back(host: Host, sandbox_id: str) -> None:
    """End the machine and give back all that a sandbox may have acquired, in reverse. Succeeds where nothing is left.

    Every step is tried, whatever happens to the others.

    Raises:
        VmsandboxError: the first failure; the call may be repeated.
    """
    layout = host.layout(sandbox_id)

    async def stop_transport() -> None:
        host.transports.stop(sandbox_id, layout.runtime)

    async def remove_files() -> None:
        layout.remove()

    steps: tuple[Callable[[], Awaitable[None]], ...] = (
        lambda: host.hypervisor.destroy(domain_name(sandbox_id)),
        stop_transport,
        lambda: host.network.tear_down(sandbox_id),
        remove_files,
    )
    failures = []
    for step in steps:
        try:
            await step()
        except VmsandboxError as error:
            failures.append(error)
    if failures:
        raise failures[0].at(f"giving back what sandbox {sandbox_id} acquired")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
