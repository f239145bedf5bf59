"""The machine of one sandbox: got and claimed, or found again, and watched while it runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

from vmsandbox import aio, log
from vmsandbox.errors import DeadlineExceeded, FailedPrecondition, Unavailable, VmsandboxError
from vmsandbox.guest import EventHandler, GuestClient, Transport, has_feature
from vmsandbox.hypervisor import MachineEvent, MachineState
from vmsandbox.model import BootTimings, PodNetwork, PodSandboxConfig
from vmsandbox.protocol.features import CARD_FOR_ANY_POD, CLAIMABLE, WARMING_UP
from vmsandbox.protocol.messages import HelloReply
from vmsandbox.sandbox.machines.claiming import Claim
from vmsandbox.sandbox.machines.getting import Getting, Got, Source
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.machines.stopwatch import Stopwatch
from vmsandbox.sandbox.machines.teardown import give_back
from vmsandbox.sandbox.machines.ways import Ways
from vmsandbox.sandbox.spec import MachinePlan, build_machine_spec, domain_name, waiting_configuration
from vmsandbox.telemetry import Step, phases, step

_log = log.get(__name__)

_SHUTDOWN_DEADLINE = 5.0
"""Seconds in which a guest may write its disks back before it is ended; its containers are gone by then."""

_ANSWER_DEADLINE = 30.0
"""Seconds in which the agent of a machine that runs has to answer a process that was restarted."""

_ANSWER_PART = 0.25
"""The part of `boot_deadline` in which the agent answers of a machine that has waited, or goes on from a template: it
need not boot. A pod whose machine does not answer has one that boots, with all of `boot_deadline`."""


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
        self.network: PodNetwork | None = None
        """The network that a boot or a claim has made; None for a pod without one."""
        self.source = Source.BOOT
        """Where it was got from."""
        self.left_something = False
        """Whether a boot that failed could not give everything back."""
        self._host = host
        self._id = sandbox_id
        self._config = config
        self._ways = Ways(host, sandbox_id, secret, on_event)
        self._stopwatch = Stopwatch()
        self._getting: Getting | None = None
        self._got: Got | None = None
        """The resources of a machine of the pool."""
        self._unfit = False
        """Whether it was the machine, and not its pod, by which it did not become the pod's."""

    @property
    def peer(self) -> HelloReply:
        """The agent's description of itself and its kernel, after it has answered."""
        assert self._ways.peer is not None
        return self._ways.peer

    @property
    def failure(self) -> "asyncio.Future[VmsandboxError]":
        """Why it is of no use any more, once it is not."""
        return self._ways.failure

    @property
    def may_boot_again(self) -> bool:
        """Whether another one is to be booted: its end, or what it was got from, has kept it from becoming the pod's.

        Its guest or its QEMU ended by themselves before the agent's first answer, its template failed, or it came from
        the pool, and was not fit or ended before it was the pod's.
        """
        end, getting = self._ways.end, self._getting
        died_early = end is not None and end.by_itself and self._ways.peer is None
        died_claimed = self._got is not None and self.failure.done() and "configured" not in self.reached
        failed_template = getting is not None and getting.template_failure is not None
        return died_early or died_claimed or self._unfit or failed_template

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
        return BootTimings(**self._stopwatch.parts)

    @property
    def reached(self) -> dict[str, float]:
        """When the steps of the boot were done, by the monotonic clock; names as of `StartTimings`."""
        return self._stopwatch.reached

    async def boot(self, plan: MachinePlan, *, again: bool = False) -> GuestClient:
        """Acquire everything, start the machine and make the guest the pod. On failure all is given back.

        Where another one has failed before it (`again`), it boots, also where there is a template. What cannot be given
        back is logged and noted in `left_something`; `give_back` may be tried again.

        Raises:
            VmsandboxError: what failed; its evidence holds the last lines of the guest's console.
        """
        async with self._else(self._abandon, self._pod):
            self._getting = Getting(self._host, plan, self._stopwatch, booted=again)
            return await self._boot(plan, self._getting)

    async def wait(self, plan: MachinePlan) -> None:
        """Get a machine that is to wait for its claim. On failure as `boot`.

        Args:
            plan: of a pod that stands for those that it may become.
        """
        async with self._else(self._abandon, self._pod):
            self._getting = Getting(self._host, plan, self._stopwatch)
            self._got = await self._getting.for_pool()
            await self._ways.unless_ended(self._prepare(plan, self._got))

    async def claim(self, plan: MachinePlan, on_event: EventHandler) -> GuestClient:
        """Make a machine that waits the pod's of a plan. On failure as `boot`.

        Args:
            plan: of the pod.
            on_event: handles the agent's events from now on.
        """
        self._config, self._ways.on_event = plan.config, on_event
        self._ways.session.name = self._name
        self.source, self._stopwatch = Source.POOL, Stopwatch()
        async with self._else(self._abandon, self._pod):
            return await self._ways.unless_ended(self._claim(plan))

    async def take_back(self, boot_id: str) -> GuestClient:
        """Find the ways to a machine that another process has booted. On failure ours are closed, and it goes on.

        Raises:
            FailedPrecondition: it does not run any more, or its vsock daemon does not.
            KilledForMemory: it does not run any more, since the kernel has killed it.
            VmsandboxError: its agent does not answer, or is that of another boot.
        """
        async with self._else(self.close):
            await self._reopen(boot_id)
        await self._ways.watch()
        await self._ways.keep_clock()
        return self._ways.client

    async def take_back_waiting(self, plan: MachinePlan, boot_id: str) -> None:
        """Find the ways to a machine that waited for another process. On failure as `take_back`; plan as for `wait`."""
        async with self._else(self.close):
            transport = await self._reopen(boot_id)
            users = await asyncio.to_thread(self._host.users.of, self._id)
            spec = build_machine_spec(plan, account=users.qemu, transport=transport, network=None)
            self._got = Got(spec, users, transport)
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

    async def _boot(self, plan: MachinePlan, getting: Getting) -> GuestClient:
        """Get a machine and claim it for the pod."""
        claim = Claim(self._host, plan, self._stopwatch)
        got = await getting.for_pod(claim.set_up_network)
        self.network = claim.network
        if getting.template is not None:
            self.source = Source.TEMPLATE
        return await self._ways.unless_ended(self._make_pod(plan, claim, got))

    async def _make_pod(self, plan: MachinePlan, claim: Claim, got: Got) -> GuestClient:
        """Wait for the guest of the machine that has just been got, and make that the pod."""
        greeting = self._greet(plan, got.transport, CLAIMABLE if self.source is Source.TEMPLATE else None)
        await aio.together(self._finish(claim, got), greeting)
        await claim.configure(self._ways.client, got.spec)
        await self._ways.watch()
        await self._ways.keep_clock()
        return self._ways.client

    async def _finish(self, claim: Claim, got: Got) -> None:
        """Have the machine be whole, and its network joined to the pod's."""
        assert self._getting is not None
        await self._getting.finish(got)
        self._stopwatch.reach("machine")
        await claim.connect_tap()

    async def _prepare(self, plan: MachinePlan, got: Got) -> None:
        """Do in the guest of a machine that is to wait what is the same for every pod."""
        await self._greet(plan, got.transport, CARD_FOR_ANY_POD)
        await self._ways.client.configure(waiting_configuration(warm=has_feature(self.peer, WARMING_UP)))
        await self._ways.watch()

    async def _claim(self, plan: MachinePlan) -> GuestClient:
        assert self._got is not None
        claim, client = Claim(self._host, plan, self._stopwatch, waited=True), self._ways.client
        await aio.together(claim.take_over(self._got), self._still_answers(plan))
        self.network = claim.network
        with self._of_machine(VmsandboxError):
            await claim.fit_card(self._got)
        self._stopwatch.reach("machine")
        self._stopwatch.reach("agent")
        with self._of_machine(Unavailable, DeadlineExceeded):
            await aio.together(claim.connect_tap(), claim.configure(client, self._got.spec))
        await self._ways.keep_clock()
        return client

    async def _still_answers(self, plan: MachinePlan) -> None:
        """Ask the agent of a machine that has waited for a sign of life: one that does not answer is not the pod's."""
        with self._of_machine(Unavailable, DeadlineExceeded):
            await self._ways.client.read_clock(deadline=plan.profile.machine.boot_deadline * _ANSWER_PART)

    async def _greet(self, plan: MachinePlan, transport: Transport, feature: str | None) -> None:
        """Wait for the agent of a machine that was just got, which has to have a feature where that is given."""
        assert self._getting is not None
        await self._ways.open(transport, self._name)
        part = 1.0 if self._getting.template is None else _ANSWER_PART
        with step(Step.BOOT), self._getting.of_template():
            peer, taken = await self._ways.greet(plan.profile.machine.boot_deadline * part)
            if feature is not None and not has_feature(peer, feature):
                raise FailedPrecondition(
                    "the agent of the guest image is too old for templates and pools",
                    hint="rebuild the guest image with `vmsandbox image build-guest`",
                )
            kernel = min(peer.agent_started, taken) if self._getting.template is None else 0.0
            parts = {"kernel": kernel, "agent": taken - kernel}
            phases(parts)
        self._getting.answered()
        self._stopwatch.parts |= parts
        self._stopwatch.reach("agent")

    async def _reopen(self, boot_id: str) -> Transport:
        state = await self._host.hypervisor.state(domain_name(self._id))
        if state is not MachineState.RUNNING:
            raise self._ways.death(f"ended while the daemon was away: it is {state.value}", FailedPrecondition)
        directory = self._host.layout(self._id).vsock
        transport = await asyncio.to_thread(self._host.transports.reopen, self._id, directory)
        await self._ways.open(transport, self._name)
        peer = await self._ways.unless_ended(self._ways.connect(_ANSWER_DEADLINE))
        if peer.boot_id != boot_id:
            raise Unavailable("the guest has restarted, and its containers are gone")
        return transport

    @property
    def _name(self) -> str:
        return f"pod {self._config.metadata.name}"

    @property
    def _pod(self) -> str:
        return f"pod {self._config.metadata.namespace}/{self._config.metadata.name}"

    @contextlib.contextmanager
    def _of_machine(self, *kinds: type[VmsandboxError]) -> Iterator[None]:
        """Note an error of these kinds, which the body raises, as one of the machine."""
        try:
            yield
        except kinds:
            self._unfit = True
            raise

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
        if self._getting is not None:
            await self._getting.give_up()
