"""Where a machine comes from: it boots, or goes on from a template. The pool has got its machines in these two ways."""

import contextlib
import enum
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from vmsandbox import aio
from vmsandbox.claims import MachineUsers
from vmsandbox.config import TemplateChoice
from vmsandbox.errors import VmsandboxError
from vmsandbox.guest import Transport
from vmsandbox.hypervisor import Before, MachineSpec, RestoreFailed
from vmsandbox.model import PodNetwork
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.machines.stopwatch import Stopwatch
from vmsandbox.sandbox.machines.templates import Template
from vmsandbox.sandbox.spec import MachinePlan, bare_machine_spec, build_machine_spec, waiting_machine_spec
from vmsandbox.telemetry import Step, step
from vmsandbox.telemetry.declared import TEMPLATES

SetUpNetwork = Callable[[], Awaitable[PodNetwork | None]]


class Source(enum.Enum):
    """Where a machine was got from."""

    BOOT = "boot"
    TEMPLATE = "template"
    POOL = "pool"


@dataclass(frozen=True, slots=True)
class Got:
    """A machine that runs, with all that it has."""

    spec: MachineSpec
    users: MachineUsers
    transport: Transport


class Getting:
    """The getting of one machine. What it acquires is named after the plan's id; `give_back` gives it back."""

    def __init__(self, host: Host, plan: MachinePlan, stopwatch: Stopwatch, *, booted: bool = False) -> None:
        """Acquire nothing yet. The stopwatch measures the parts; `booted`: the machine has to boot."""
        self.template: Template | None = None
        """The template that the machine goes on from; None: it boots."""
        self.template_failure: VmsandboxError | None = None
        """Why the template was of no use, where it was not."""
        self._booted = booted
        self._host = host
        self._plan = plan
        self._layout = host.layout(plan.sandbox_id)
        self._stopwatch = stopwatch

    async def for_pod(self, set_up_network: SetUpNetwork) -> Got:
        """Get the machine of a pod. Its guest may still boot, or lack what `finish` plugs in."""
        with self._stopwatch.measure("prepare"):
            users = await self._begin()
            transport, network = await self._acquire(users, self._restored(users), set_up_network)
        spec = self._spec(users, transport, network)
        if self.template is None:
            with self._stopwatch.measure("machine"), step(Step.DOMAIN):
                await self._host.hypervisor.create(spec, self._confinement(spec, users))
        return Got(spec, users, transport)

    async def finish(self, got: Got) -> None:
        """Plug in what a machine lacks that goes on from a template: everything. Its agent listens meanwhile."""
        if self.template is not None:
            with self._stopwatch.measure("machine"):
                await self._plug(got.spec, got.users)

    async def for_pool(self) -> Got:
        """Get a machine that belongs to nobody yet. It has everything; its card is of no network."""
        with self._stopwatch.measure("prepare"):
            users = await self._begin()
            transport, _ = await self._acquire(users, self._unclaimed(users), _no_network)
            tap = await self._host.network.make_tap(self._plan.sandbox_id)
        spec = waiting_machine_spec(self._plan, account=users.qemu, transport=transport, tap=tap)
        with self._stopwatch.measure("machine"):
            await self._plug(spec, users)
        return Got(spec, users, transport)

    @contextlib.contextmanager
    def of_template(self, kind: type[VmsandboxError] = VmsandboxError) -> Iterator[None]:
        """Note an error of that kind, which the body raises, as one of the template, where there is one."""
        try:
            yield
        except kind as error:
            if self.template is not None:
                self.template_failure = error
            raise

    def answered(self) -> None:
        """Note that the agent has answered."""
        if self.template is not None:
            self._host.templates.succeeded(self.template)

    async def give_up(self) -> None:
        """Note that the machine did not become what it was got for, which a template may be the reason of."""
        if self.template is not None and self.template_failure is not None:
            await self._host.templates.failed(self.template, self.template_failure)

    async def _begin(self) -> MachineUsers:
        self._layout.make()
        users = await self._host.users.allocate(self._plan.sandbox_id)
        self.template = await self._find_template(users)
        return users

    async def _find_template(self, users: MachineUsers) -> Template | None:
        if self._booted:
            return None
        if self._plan.profile.machine.template is TemplateChoice.OFF or not self._host.templates.possible:
            TEMPLATES.add("off")
            return None
        template = await self._host.templates.find(bare_machine_spec(self._plan, users.qemu))
        TEMPLATES.add("missing" if template is None else "hit")
        if template is None:
            self._host.templates.want(self._plan)
        return template

    async def _acquire(
        self, users: MachineUsers, start: Coroutine[Any, Any, None], set_up_network: SetUpNetwork
    ) -> tuple[Transport, PodNetwork | None]:
        """Make all that the machine is going to have, at the same time; `start` starts it meanwhile."""
        transports: list[Transport] = []
        networks: list[PodNetwork | None] = []

        async def start_transport() -> None:
            with step(Step.VSOCK):
                transports.append(await self._host.transports.start(self._plan.sandbox_id, self._layout.vsock, users))

        async def make_scratch() -> None:
            with step(Step.DISK):
                await self._layout.make_scratch(self._plan.profile.machine.scratch_size, users.qemu)

        async def make_network() -> None:
            networks.append(await set_up_network())

        await aio.together(make_network(), start_transport(), make_scratch(), start)
        return transports[0], networks[0]

    async def _restored(self, users: MachineUsers) -> None:
        """Have the machine go on from its template, where there is one."""
        if self.template is not None:
            spec = bare_machine_spec(self._plan, users.qemu)
            with step(Step.RESTORE), self.of_template(RestoreFailed):
                await self._host.hypervisor.restore(spec, self.template.state, self._confinement(spec, users))

    async def _unclaimed(self, users: MachineUsers) -> None:
        """Have a machine run that has no devices of a pod's."""
        await self._restored(users)
        if self.template is None:
            spec = bare_machine_spec(self._plan, users.qemu)
            with step(Step.DOMAIN):
                await self._host.hypervisor.create(spec, self._confinement(spec, users))

    async def _plug(self, spec: MachineSpec, users: MachineUsers) -> None:
        with step(Step.CLAIM), self.of_template():
            await self._host.hypervisor.plug(spec)
            await self._host.cgroups.join(self._plan.sandbox_id, spec, users, self._plan.config)

    def _confinement(self, spec: MachineSpec, users: MachineUsers) -> Before:
        return lambda: aio.to_its_end(self._host.cgroups.confine(self._plan.sandbox_id, spec, users, self._plan.config))

    def _spec(self, users: MachineUsers, transport: Transport, network: PodNetwork | None) -> MachineSpec:
        return build_machine_spec(self._plan, account=users.qemu, transport=transport, network=network)


async def _no_network() -> None:
    return None
