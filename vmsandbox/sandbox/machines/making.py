"""The making of a machine: it is got, its agent is greeted, and it is claimed for a pod, at once or after a wait."""

import asyncio
import contextlib
from collections.abc import Iterator

from vmsandbox import aio
from vmsandbox.errors import DeadlineExceeded, FailedPrecondition, Unavailable, VmsandboxError
from vmsandbox.guest import Transport, has_feature
from vmsandbox.model import PodNetwork
from vmsandbox.protocol.features import CARD_FOR_ANY_POD, CLAIMABLE, WARMING_UP
from vmsandbox.sandbox.machines.claiming import Claim
from vmsandbox.sandbox.machines.getting import Getting, Got, Source
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.machines.stopwatch import Stopwatch
from vmsandbox.sandbox.machines.ways import Ways
from vmsandbox.sandbox.spec import MachinePlan, build_machine_spec, waiting_configuration
from vmsandbox.telemetry import Step, phases, step

_ANSWER_PART = 0.25
"""The part of `boot_deadline` in which the agent answers of a machine that has waited, or goes on from a template: it
need not boot. A pod whose machine does not answer has one that boots, with all of `boot_deadline`."""


class Making:
    """The making of one machine. What it acquires is named after the plan's id; `give_back` gives it back."""

    def __init__(self, host: Host, ways: Ways) -> None:
        """Acquire nothing yet. `ways` lead to the machine when it runs; both stay the caller's."""
        self.network: PodNetwork | None = None
        """The network that was made; None for a pod without one."""
        self.source = Source.BOOT
        """Where the machine was got from."""
        self.stopwatch = Stopwatch()
        self._host = host
        self._ways = ways
        self._getting: Getting | None = None
        self._got: Got | None = None
        """The resources of a machine of the pool."""
        self._unfit = False
        """Whether it was the machine, and not its pod, by which it did not become the pod's."""

    @property
    def failed_by_machine(self) -> bool:
        """Whether the end of the machine, or what it was got from, has kept it from becoming the pod's.

        Its guest or its QEMU ended by themselves before the agent's first answer, its template failed, or it came from
        the pool, and was not fit or ended before it was the pod's.
        """
        end, getting = self._ways.end, self._getting
        died_early = end is not None and end.by_itself and self._ways.peer is None
        unclaimed = "configured" not in self.stopwatch.reached
        died_claimed = self._got is not None and self._ways.failure.done() and unclaimed
        failed_template = getting is not None and getting.template_failure is not None
        return died_early or died_claimed or self._unfit or failed_template

    async def boot(self, plan: MachinePlan, *, again: bool) -> None:
        """Get a machine and claim it for the pod; with `again` it boots, also where there is a template."""
        self._getting = Getting(self._host, plan, self.stopwatch, booted=again)
        claim = Claim(self._host, plan, self.stopwatch)
        got = await self._getting.for_pod(claim.set_up_network)
        self.network = claim.network
        if self._getting.template is not None:
            self.source = Source.TEMPLATE
        await self._ways.unless_ended(self._make_pod(plan, self._getting, claim, got))

    async def wait(self, plan: MachinePlan) -> None:
        """Get a machine that is to wait for its claim, and do in its guest what is the same for every pod."""
        self._getting = Getting(self._host, plan, self.stopwatch)
        self._got = await self._getting.for_pool()
        await self._ways.unless_ended(self._prepare(plan, self._getting, self._got))

    async def find(self, plan: MachinePlan, transport: Transport) -> None:
        """Know a machine that has waited for another process; plan as for `wait`."""
        users = await asyncio.to_thread(self._host.users.of, plan.sandbox_id)
        spec = build_machine_spec(plan, account=users.qemu, transport=transport, network=None)
        self._got = Got(spec, users, transport)

    async def claim(self, plan: MachinePlan) -> None:
        """Make a machine that waits the pod's of a plan."""
        assert self._got is not None
        self.source, self.stopwatch = Source.POOL, Stopwatch()
        await self._ways.unless_ended(self._claim(plan, self._got))

    async def give_up(self) -> None:
        """Note that the machine did not become what it was got for."""
        if self._getting is not None:
            await self._getting.give_up()

    async def _make_pod(self, plan: MachinePlan, getting: Getting, claim: Claim, got: Got) -> None:
        """Wait for the guest of the machine that has just been got, and make that the pod."""

        async def finish() -> None:
            await getting.finish(got)
            self.stopwatch.reach("machine")
            await claim.connect_tap()

        feature = CLAIMABLE if self.source is Source.TEMPLATE else None
        await aio.together(finish(), self._greet(plan, getting, got.transport, feature))
        await claim.configure(self._ways.client, got.spec)
        await self._ways.watch()
        await self._ways.keep_clock()

    async def _prepare(self, plan: MachinePlan, getting: Getting, got: Got) -> None:
        await self._greet(plan, getting, got.transport, CARD_FOR_ANY_POD)
        assert self._ways.peer is not None
        await self._ways.client.configure(waiting_configuration(warm=has_feature(self._ways.peer, WARMING_UP)))
        await self._ways.watch()

    async def _claim(self, plan: MachinePlan, got: Got) -> None:
        claim = Claim(self._host, plan, self.stopwatch, waited=True)
        await aio.together(claim.take_over(got), self._still_answers(plan))
        self.network = claim.network
        with self._of_machine(VmsandboxError):
            await claim.fit_card(got)
        self.stopwatch.reach("machine")
        self.stopwatch.reach("agent")
        with self._of_machine(Unavailable, DeadlineExceeded):
            await aio.together(claim.connect_tap(), claim.configure(self._ways.client, got.spec))
        await self._ways.keep_clock()

    async def _still_answers(self, plan: MachinePlan) -> None:
        """Ask the agent of a machine that has waited for a sign of life: one that does not answer is not the pod's."""
        with self._of_machine(Unavailable, DeadlineExceeded):
            await self._ways.client.read_clock(deadline=plan.profile.machine.boot_deadline * _ANSWER_PART)

    async def _greet(self, plan: MachinePlan, getting: Getting, transport: Transport, feature: str | None) -> None:
        """Wait for the agent of a machine that was just got, which has to have a feature where that is given."""
        await self._ways.open(transport, plan.config)
        part = 1.0 if getting.template is None else _ANSWER_PART
        with step(Step.BOOT), getting.of_template():
            peer, taken = await self._ways.greet(plan.profile.machine.boot_deadline * part)
            if feature is not None and not has_feature(peer, feature):
                raise FailedPrecondition(
                    "the agent of the guest image is too old for templates and pools",
                    hint="rebuild the guest image with `vmsandbox image build-guest`",
                )
            kernel = min(peer.agent_started, taken) if getting.template is None else 0.0
            parts = {"kernel": kernel, "agent": taken - kernel}
            phases(parts)
        getting.answered()
        self.stopwatch.parts |= parts
        self.stopwatch.reach("agent")

    @contextlib.contextmanager
    def _of_machine(self, *kinds: type[VmsandboxError]) -> Iterator[None]:
        """Note an error of these kinds, which the body raises, as one of the machine."""
        try:
            yield
        except kinds:
            self._unfit = True
            raise
