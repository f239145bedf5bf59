"""The claim of a machine: what makes it, and the guest in it, one pod's."""

from pathlib import Path

from vmsandbox import aio
from vmsandbox.guest import GuestClient
from vmsandbox.hypervisor import MachineSpec
from vmsandbox.model import PodNetwork
from vmsandbox.network import PodIdentity
from vmsandbox.sandbox.machines.cgroups import limits_of
from vmsandbox.sandbox.machines.getting import Got
from vmsandbox.sandbox.machines.guest_size import GuestSize
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.machines.stopwatch import Stopwatch
from vmsandbox.sandbox.spec import MachinePlan, guest_configuration
from vmsandbox.telemetry import Step, step


class Claim:
    """The claim of one machine for the pod of a plan. What it acquires is given back by `give_back`."""

    def __init__(self, host: Host, plan: MachinePlan, stopwatch: Stopwatch, *, waited: bool = False) -> None:
        """Acquire nothing yet.

        Args:
            host: what the machine was made with.
            plan: of the pod.
            stopwatch: measures the parts.
            waited: the machine is one of the pool, and has a card, whose tap is in the host's namespace.
        """
        self.network: PodNetwork | None = None
        """The network that was made; None for a pod without one."""
        self._host = host
        self._plan = plan
        self._stopwatch = stopwatch
        self._waited = waited

    async def set_up_network(self) -> PodNetwork | None:
        """Make the pod's network, unless it is to have none, and return it."""
        if self._plan.config.networkless:
            return None
        with step(Step.NETWORK):
            self.network = await self._make_network()
        self._stopwatch.reach("network")
        return self.network

    async def _make_network(self) -> PodNetwork | None:
        network, config, pod = self._host.network, self._plan.config, self._plan.config.metadata
        if config.network_namespace:
            source = Path(config.network_namespace)
            return await network.join(self._plan.sandbox_id, source, tap_made=self._waited)
        identity = PodIdentity(self._plan.sandbox_id, pod.namespace, pod.name, pod.uid)
        return await network.set_up(identity, config.port_mappings, tap_made=self._waited)

    async def take_over(self, got: Got) -> None:
        """Make what a machine of the pool lacks, and charge it to the pod."""

        async def charge() -> None:
            await self._host.cgroups.move(self._plan.sandbox_id, got.spec, got.users, self._plan.config)

        async def make_network() -> None:
            await self.set_up_network()

        with self._stopwatch.measure("prepare"):
            await aio.together(make_network(), charge())

    async def fit_card(self, got: Got) -> None:
        """Take the card of a machine of the pool away where its pod has no network (yet)."""
        if self.network is None:
            with self._stopwatch.measure("machine"), step(Step.CLAIM):
                await self._host.hypervisor.unplug_network(got.spec.name)
                await self._host.network.tear_down(self._plan.sandbox_id)

    async def connect_tap(self) -> None:
        """Join the machine's network, which QEMU has by now, to the pod's."""
        if self.network is not None:
            await self._host.network.connect_tap(self.network)

    async def configure(self, client: GuestClient, spec: MachineSpec) -> None:
        """Make the guest the pod: name, addresses, file systems and size.

        Args:
            client: of its agent.
            spec: the machine as it has booted.
        """
        machine = self._plan.profile.machine
        with self._stopwatch.measure("configure"), step(Step.CONFIGURE):
            request = guest_configuration(self._plan.config, self.network, debug=machine.debug, waited=self._waited)
            await client.configure(request)
            await self._grow(client, spec)
        self._stopwatch.reach("configured")

    async def _grow(self, client: GuestClient, spec: MachineSpec) -> None:
        """Give a machine that has booted the size of its pod, and hold it to the limits of that."""
        size = self._plan.size
        limits = limits_of(size, spec.accelerator, self._plan.config.resources)
        await self._host.cgroups.resize(self._plan.sandbox_id, limits)
        if size != spec.size:
            await GuestSize(self._host.hypervisor, spec.name, client, spec.size.vcpus).become(size)
