"""The machine of one sandbox: acquired in steps, or found again, and watched while it runs."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vmsandbox import aio, log
from vmsandbox.claims import MachineUsers
from vmsandbox.errors import FailedPrecondition, Unavailable, VmsandboxError
from vmsandbox.guest import ClockKeeper, EventHandler, GuestClient, Session, Transport, TransportBroken, secret_offered
from vmsandbox.hypervisor import ConsoleReader, MachineEvent, MachineSpec, MachineState
from vmsandbox.model import BootTimings, PodNetwork, PodSandboxConfig
from vmsandbox.network import PodIdentity
from vmsandbox.process import Account
from vmsandbox.protocol.messages import HelloReply
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.machines.teardown import give_back
from vmsandbox.sandbox.spec import MachinePlan, build_machine_spec, declared_vcpus, domain_name, guest_configuration

_log = log.get(__name__)

T = TypeVar("T")

_CONSOLE_LINES = 20
_SHUTDOWN_DEADLINE = 5.0
"""Seconds in which a guest may write its disks back before it is ended; its containers are gone by then."""

_ANSWER_DEADLINE = 30.0
"""Seconds in which the agent of a machine that runs has to answer a process that was restarted."""

_ENDING = 2.0
"""Seconds until the hypervisor has told of the end of a machine whose QEMU is dead."""


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
    """A running machine and the ways to it. `boot` and `take_back` acquire, `close` lets go of our ends."""

    def __init__(
        self, host: Host, sandbox_id: str, config: PodSandboxConfig, secret: bytes, on_event: EventHandler
    ) -> None:
        """Nothing is acquired before `boot`.

        Args:
            host: what it is made with.
            sandbox_id: names all that is acquired.
            config: of the pod.
            secret: of the machine; empty: it was booted by a version that gave none.
            on_event: handles the agent's events, one at a time.
        """
        self.network: PodNetwork | None = None
        """The network that a boot has made; None for a pod without one."""
        self.left_something = False
        """Whether a boot that failed could not give everything back."""
        self.failure: asyncio.Future[VmsandboxError] = asyncio.get_running_loop().create_future()
        self._host = host
        self._id = sandbox_id
        self._config = config
        self._secret = secret
        self._on_event = on_event
        self._layout = host.layout(sandbox_id)
        self._console = ConsoleReader(self._layout.console)
        self._stack = contextlib.AsyncExitStack()
        self._stopwatch = Stopwatch()
        self._session: Session | None = None
        self._peer: HelloReply | None = None
        self._end: MachineEvent | None = None
        self._clock: ClockKeeper | None = None

    @property
    def peer(self) -> HelloReply:
        """The agent's description of itself and its kernel, after it has answered."""
        assert self._peer is not None
        return self._peer

    @property
    def died_early(self) -> bool:
        """Whether its guest or its QEMU ended by themselves before the agent's first answer."""
        return self._end is not None and self._end.by_itself and self._peer is None

    @property
    def timings(self) -> BootTimings:
        """Where the time of the boot went."""
        return BootTimings(**self._stopwatch.parts)

    async def boot(self, plan: MachinePlan) -> GuestClient:
        """Acquire everything, start the machine and make the guest the pod. On failure all is given back.

        What cannot be given back is logged and noted in `left_something`; `give_back` may be tried again.

        Raises:
            VmsandboxError: what failed; its evidence holds the last lines of the guest's console.
        """
        pod = self._config.metadata
        try:
            return await self._boot(plan)
        except BaseException as error:
            await aio.to_its_end(self._abandon())
            if isinstance(error, VmsandboxError):
                self._add_console(error)
                error.at(f"pod {pod.namespace}/{pod.name}")
            raise

    async def take_back(self, boot_id: str) -> GuestClient:
        """Find the ways to a machine that another process has booted. On failure ours are closed, and it goes on.

        Raises:
            FailedPrecondition: it does not run any more, or its vsock daemon does not.
            VmsandboxError: its agent does not answer, or is that of another boot.
        """
        state = await self._host.hypervisor.state(domain_name(self._id))
        if state is not MachineState.RUNNING:
            raise FailedPrecondition(f"the virtual machine ended while the daemon was away: it is {state.value}")
        transport = await asyncio.to_thread(self._host.transports.reopen, self._id, self._layout.vsock)
        try:
            await self._stack.enter_async_context(self._console)
            session = await self._open_session(transport)
            self._peer = await self._unless_ended(session.connect(_ANSWER_DEADLINE))
            if self._peer.boot_id != boot_id:
                raise Unavailable("the guest has restarted, and its containers are gone")
        except BaseException as error:
            await aio.to_its_end(self.close())
            if isinstance(error, VmsandboxError):
                self._add_console(error)
            raise
        await self._watch(session)
        return GuestClient(session)

    def failed(self, event: MachineEvent) -> None:
        """The hypervisor says that the machine has ended."""
        killed = (
            ", killed by the kernel beyond the machine's memory limit" if self._host.cgroups.killed(self._id) else ""
        )
        self._end = self._end or event
        self.fail(Unavailable(f"the virtual machine ended: {event.reason}{killed}"))

    def fail(self, error: VmsandboxError) -> None:
        """Note why the machine is of no use any more; the first reason counts."""
        if not self.failure.done():
            self._add_console(error)
            self.failure.set_result(error)

    def hang_up(self, error: VmsandboxError) -> None:
        """Nobody need wait for the guest any more, e.g. for the rest of an output: it fails with `error`."""
        if self._session is not None:
            self._session.end(error)

    def check_clock(self) -> None:
        """The guest's clock is probably wrong: have it looked at soon."""
        if self._clock is not None:
            self._clock.check_soon()

    async def shut_down(self, client: GuestClient) -> None:
        """Let the guest end by itself, for a moment. A guest that does not is ended by `give_back`."""
        with contextlib.suppress(VmsandboxError, TimeoutError):
            async with asyncio.timeout(_SHUTDOWN_DEADLINE):
                await aio.unless(client.shutdown(deadline=_SHUTDOWN_DEADLINE), self.failure)

    async def close(self) -> None:
        """Let go of our ends: session and console. The machine goes on."""
        await self._stack.aclose()

    async def _boot(self, plan: MachinePlan) -> GuestClient:
        with self._stopwatch.measure("prepare"):
            users, transport = await self._prepare(plan)
        spec = self._spec(plan, users.qemu, transport)
        with self._stopwatch.measure("machine"):
            await self._host.hypervisor.create(spec)
        return await self._unless_ended(self._make_pod(plan, spec, users, transport))

    def _spec(self, plan: MachinePlan, account: Account, transport: Transport) -> MachineSpec:
        spec = build_machine_spec(plan, account=account, transport=transport, network=self.network)
        if (declared := declared_vcpus(self._config.resources)) > spec.vcpus:
            _log.warning(
                "pod %s declares %d CPUs and its machine has %d, see docs/limitations.md, Without KVM",
                spec.title, declared, spec.vcpus,
            )  # fmt: skip
        return spec

    async def _make_pod(
        self, plan: MachinePlan, spec: MachineSpec, users: MachineUsers, transport: Transport
    ) -> GuestClient:
        """Confine the machine that has just been started, wait for its guest, and make that the pod."""
        await aio.to_its_end(asyncio.to_thread(self._host.cgroups.confine, self._id, spec, users))
        await self._stack.enter_async_context(self._console)
        if self.network is not None:
            await self._host.network.connect_tap(self.network)
        session = await self._open_session(transport)
        self._peer = await self._connect(session, plan.profile.machine.boot_deadline)
        client = GuestClient(session)
        with self._stopwatch.measure("configure"):
            await client.configure(guest_configuration(self._config, self.network))
        await self._watch(session)
        return client

    async def _unless_ended(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`; the machine's end, should that come first, or be why `work` fails."""
        try:
            return await aio.unless(work, self.failure)
        except VmsandboxError as error:
            raise await self._explained(error) from None

    async def _explained(self, error: VmsandboxError) -> VmsandboxError:
        """The machine's end where it has caused an error: sockets close a moment before the hypervisor tells why."""
        if isinstance(error, TransportBroken) or not await self._lives():
            await asyncio.wait([self.failure], timeout=_ENDING)
        return self.failure.result() if self.failure.done() else error

    async def _lives(self) -> bool:
        """Whether its QEMU is seen to live. A process that dies gives its memory back before it closes its sockets."""
        try:
            await self._host.hypervisor.usage(domain_name(self._id))
        except VmsandboxError:
            return False
        return True

    async def _prepare(self, plan: MachinePlan) -> tuple[MachineUsers, Transport]:
        self._layout.make()
        users = await self._host.users.allocate(self._id)
        transports: list[Transport] = []

        async def start_transport() -> None:
            transports.append(await self._host.transports.start(self._id, self._layout.vsock, users))

        scratch = self._layout.make_scratch(plan.profile.machine.scratch_size, users.qemu)
        await aio.together(self._set_up_network(), start_transport(), scratch)
        return users, transports[0]

    async def _set_up_network(self) -> None:
        if self._config.networkless:
            return
        pod = self._config.metadata
        identity = PodIdentity(self._id, pod.namespace, pod.name, pod.uid)
        self.network = await self._host.network.set_up(identity, self._config.port_mappings)

    async def _open_session(self, transport: Transport) -> Session:
        name = f"pod {self._config.metadata.name}"
        session = Session(
            transport,
            name,
            self._on_event,
            build=self._host.guest_image.build,
            fairness=self._host.fairness,
            explain=self._explained,
            secret=self._secret,
        )
        self._session = await self._stack.enter_async_context(session)
        return session

    async def _connect(self, session: Session, deadline: float) -> HelloReply:
        begin = time.monotonic()
        async with secret_offered(self._secret, self._layout.secret):
            peer = await session.connect(deadline)
        taken = time.monotonic() - begin
        self._stopwatch.parts["kernel"] = min(peer.agent_started, taken)
        self._stopwatch.parts["agent"] = max(0.0, taken - peer.agent_started)
        return peer

    async def _watch(self, session: Session) -> None:
        """From now on a session that closes by itself is the machine's failure, and the guest's clock follows ours."""

        async def watch() -> None:
            self.fail(await self._explained(await session.wait_closed()))

        await self._stack.enter_async_context(aio.attendant(watch(), f"watch over {self._id}"))
        self._clock = ClockKeeper(GuestClient(session), session.name)
        await self._stack.enter_async_context(aio.attendant(self._clock.run(), f"clock of {self._id}"))

    async def _abandon(self) -> None:
        await self.close()
        try:
            await give_back(self._host, self._id)
        except VmsandboxError as error:
            self.left_something = True
            _log.error("%s", error, extra=log.of_error(error))

    def _add_console(self, error: VmsandboxError) -> None:
        if lines := self._console.last_lines(_CONSOLE_LINES):
            error.evidence.setdefault("the guest's console, last lines", "\n".join(lines))
