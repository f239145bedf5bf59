"""The ways of this process to one machine, the session with its agent and its console; and why they came to an end."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from vmsandbox import aio, log
from vmsandbox.errors import KilledForMemory, Unavailable, VmsandboxError
from vmsandbox.guest import ClockKeeper, EventHandler, GuestClient, Session, Transport, TransportBroken, secret_offered
from vmsandbox.hypervisor import ConsoleReader, MachineEvent
from vmsandbox.model import PodSandboxConfig
from vmsandbox.process import ProcessIdentity
from vmsandbox.protocol.messages import Event, HelloReply
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.spec import domain_name

_log = log.get(__name__)

T = TypeVar("T")

_CONSOLE_LINES = 20

_ENDING = 2.0
"""Seconds until the hypervisor has told of the end of a machine whose QEMU is dead."""


class Ways:
    """The ways to one machine. `open` and `connect` make them, `close` lets go of them; the machine goes on."""

    def __init__(self, host: Host, sandbox_id: str, secret: bytes, on_event: EventHandler) -> None:
        """Open nothing yet.

        Args:
            host: what the machine is made with.
            sandbox_id: of its sandbox.
            secret: of the machine; empty: it was booted by a version that gave none.
            on_event: handles the agent's events, one at a time.
        """
        self.failure: asyncio.Future[VmsandboxError] = asyncio.get_running_loop().create_future()
        """Why the machine is of no use any more, once it is not."""
        self.end: MachineEvent | None = None
        """How it has ended, as the hypervisor says."""
        self.peer: HelloReply | None = None
        """The agent's description of itself and its kernel, after it has answered."""
        self._host = host
        self._id = sandbox_id
        self._on_event = on_event
        self._secret = secret
        self._layout = host.layout(sandbox_id)
        self._console = ConsoleReader(self._layout.console)
        self._stack = contextlib.AsyncExitStack()
        self._session: Session | None = None
        self._clock: ClockKeeper | None = None

    async def open(self, transport: Transport, config: PodSandboxConfig) -> None:
        """Open console and session; nobody has answered yet. Messages name the pod of the configuration."""
        await self._stack.enter_async_context(self._console)
        session = Session(
            transport,
            _name_of(config),
            self._handle,
            build=self._host.guest_image.build,
            fairness=self._host.fairness,
            explain=self._explained,
            secret=self._secret,
        )
        self._session = await self._stack.enter_async_context(session)

    def hand_over(self, config: PodSandboxConfig, on_event: EventHandler) -> None:
        """Have messages name the pod of this configuration, and events go to `on_event`, from now on."""
        self._on_event = on_event
        self.session.rename(_name_of(config))

    async def connect(self, deadline: float) -> HelloReply:
        """Wait for the agent, for so many seconds. Raises as `Session.connect`."""
        self.peer = await self.session.connect(deadline)
        return self.peer

    async def greet(self, deadline: float) -> tuple[HelloReply, float]:
        """Give the agent of a new machine the secret, and wait for its answer; return that, and the seconds it took.

        Raises as `connect`.
        """
        begin = time.monotonic()
        async with secret_offered(self._secret, self._layout.secret):
            peer = await self.connect(deadline)
        return peer, time.monotonic() - begin

    @property
    def session(self) -> Session:
        """The session, once it is open."""
        assert self._session is not None
        return self._session

    @property
    def client(self) -> GuestClient:
        """A client of the agent, once there is a session."""
        return GuestClient(self.session)

    async def watch(self) -> None:
        """Have a session that closes by itself, and the end of virtiofsd, be the machine's failure from now on.

        QEMU goes on without its virtiofsd, and every process of the guest that touches a volume hangs for ever: the
        machine is ended. Where libvirt's processes are in another PID namespace, the session alone is watched.

        Raises:
            Unavailable: virtiofsd has ended already.
        """
        servers = await self._host.cgroups.file_servers(self._layout.served)
        if not servers:
            if await self._lives():
                raise await self._end_without_files()
            _tell_unseen()

        async def watch_session() -> None:
            self.fail(await self._explained(await self.session.wait_closed()))

        async def watch_files(server: ProcessIdentity) -> None:
            await server.ended()
            await self._end_without_files()

        for work in (watch_session(), *map(watch_files, servers)):
            await self._stack.enter_async_context(aio.attendant(work, f"watch over {self._id}"))

    async def keep_clock(self) -> None:
        """Have the guest's clock follow ours from now on."""
        self._clock = ClockKeeper(self.client, self.session.name)
        await self._stack.enter_async_context(aio.attendant(self._clock.run(), f"clock of {self._id}"))

    def check_clock(self) -> None:
        """The guest's clock is probably wrong: have it looked at soon."""
        if self._clock is not None:
            self._clock.check_soon()

    def ended(self, event: MachineEvent) -> None:
        """The hypervisor says that the machine has ended."""
        self.end = self.end or event
        self.fail(self.death(f"ended: {event.reason}", Unavailable))

    def fail(self, error: VmsandboxError) -> None:
        """Note why the machine is of no use any more; the first reason counts."""
        if not self.failure.done():
            self.add_console(error)
            self.failure.set_result(error)

    def hang_up(self, error: VmsandboxError) -> None:
        """Nobody need wait for the guest any more, e.g. for the rest of an output: it fails with `error`."""
        if self._session is not None:
            self._session.end(error)

    def death(self, how: str, otherwise: type[VmsandboxError]) -> VmsandboxError:
        """The error that tells how the machine ended; of the class `otherwise`, unless the kernel has killed it."""
        if killed := self._host.cgroups.killed(self._id):
            return KilledForMemory(f"the virtual machine {how}, killed by the kernel {killed}")
        return otherwise(f"the virtual machine {how}")

    async def _end_without_files(self) -> VmsandboxError:
        """End the machine, whose virtiofsd has ended, and return why it is of no use, which is noted first.

        A QEMU that ends by itself lets go of its virtiofsd first: then its end is the reason, and is waited for.
        """
        await asyncio.wait([self.failure], timeout=_ENDING)
        self.fail(self._virtiofsd_lost())
        try:
            await self._host.hypervisor.destroy(domain_name(self._id))
        except VmsandboxError as failure:
            _log.error("sandbox %s: its machine goes on: %s", self._id, failure, extra=log.of_error(failure))
        return self.failure.result()

    def _virtiofsd_lost(self) -> VmsandboxError:
        return self.death("has lost its virtiofsd, which serves its volumes", Unavailable)

    async def unless_ended(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`; the machine's end, should that come first, or be why `work` fails."""
        try:
            return await aio.unless(work, self.failure)
        except VmsandboxError as error:
            raise await self._explained(error) from None

    def console_since(self, position: int) -> tuple[str, int]:
        """Return what the guest has printed; see `ConsoleReader.since`."""
        return self._console.since(position)

    def add_console(self, error: VmsandboxError) -> None:
        """Add the last lines of the guest's console to an error's evidence."""
        if lines := self._console.last_lines(_CONSOLE_LINES):
            error.evidence.setdefault("the guest's console, last lines", "\n".join(lines))

    async def close(self) -> None:
        """Let go of session and console. The machine goes on."""
        await self._stack.aclose()

    async def _handle(self, event: Event) -> None:
        await self._on_event(event)

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


@functools.cache
def _tell_unseen() -> None:
    """Warn once: each machine of this host is like that."""
    _log.warning(
        "when a virtiofsd ends, its machine goes on, and whatever touches a volume hangs: libvirt's processes are not "
        "seen, for which vmsandbox has to be in the host's PID namespace"
    )


def _name_of(config: PodSandboxConfig) -> str:
    return f"pod {config.metadata.name}"
