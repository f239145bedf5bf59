"""The calls on sandboxes."""

import contextlib
import uuid
from collections.abc import Collection
from pathlib import Path

from vmsandbox.errors import Unavailable
from vmsandbox.model import MachineDetails, PodSandboxConfig, Resources, SandboxState, SandboxStatus, SandboxUsage
from vmsandbox.sandbox.lifecycle import machine_details, measure_each, sandbox_usage, with_id
from vmsandbox.sandbox.spec import check_pod
from vmsandbox.service.base import Service


class SandboxService(Service):
    """RunPodSandbox and what follows it."""

    async def run_pod_sandbox(self, config: PodSandboxConfig) -> str:
        """Make a sandbox and boot its machine; return its id when it is READY (CRI RunPodSandbox).

        It waits its turn where the host's memory is committed to others. Its name is taken from now on.

        Raises:
            AlreadyExists: a sandbox of that name, namespace, uid and attempt exists.
            ResourceExhausted: its machine is larger than this host's memory.
            InvalidArgument: the pod asks for what a machine cannot give, or for an unknown runtime handler.
            VmsandboxError: what failed; nothing is left of it then.
        """
        check_pod(config)
        plan = self._host.plan(uuid.uuid4().hex, config, self._admission.bound)
        kind = await self._pool.kind_of(plan)
        same = self._sandboxes.named(config.metadata)
        if same is not None and same.record.state is SandboxState.STARTING:
            await self._recovery.wait_for(same.record.id)  # It is given back, if an earlier process was making it.
        self._sandboxes.check_is_new(config.metadata)
        if (waiting := self._pool.take(kind)) is not None:
            plan = with_id(self._host, plan, waiting.record.id)
        sandbox = self._sandboxes.begin(plan, waiting)
        try:
            await sandbox.start(plan)
        except BaseException:
            if sandbox.is_gone:  # Else something of it is left, for a stop to give back.
                self._sandboxes.pop(sandbox.record.id, None)
            raise
        return sandbox.record.id

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        """End the machine and give back network, memory and disks. Succeeds for an unknown or stopped sandbox."""
        await self._recovery.give_up(sandbox_id)
        if sandbox := self._sandboxes.get(sandbox_id):
            await sandbox.stop()

    async def end_pod(self, sandbox_id: str, timeout: float) -> None:
        """Ask all containers of a sandbox to end, at the same time, and stop it; see `Sandbox.end`. Raises NotFound."""
        sandbox = self._sandboxes.find(sandbox_id)
        if sandbox.record.state is SandboxState.READY:
            with contextlib.suppress(Unavailable):  # It is being taken back, or its machine has died: nobody to ask.
                await self._recovery.wait_for(sandbox_id)
                await sandbox.end(timeout)
        await self.stop_pod_sandbox(sandbox_id)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        """Stop a sandbox and forget it and its containers. Succeeds for an unknown one."""
        await self._recovery.give_up(sandbox_id)
        if sandbox := self._sandboxes.get(sandbox_id):
            await sandbox.remove()
            self._sandboxes.pop(sandbox_id, None)

    def pod_sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        """Return the status of a sandbox. Raises NotFound."""
        return self._sandboxes.find(sandbox_id).status

    def list_pod_sandboxes(self) -> tuple[SandboxStatus, ...]:
        """All sandboxes, also those that are STARTING."""
        return tuple(sandbox.status for sandbox in self._sandboxes.values())

    @property
    def machines_running(self) -> int:
        """The number of sandboxes that are READY: their machines run."""
        return sum(sandbox.record.state is SandboxState.READY for sandbox in self._sandboxes.values())

    async def machine_details(self, sandbox_id: str) -> MachineDetails:
        """Return what this host has of a sandbox's machine. Neither the guest nor its QEMU is asked. Raises NotFound.

        A machine that has ended has no processes; nor has one of which the host does not tell in time.
        """
        record = self._sandboxes.find(sandbox_id).record
        return await machine_details(self._host, record, self._admission.committed(sandbox_id))

    async def read_console(self, sandbox_id: str, position: int) -> tuple[str, int]:
        """Return what a guest has printed on its console from a position on, and the position of its end.

        Raises NotFound; FailedPrecondition: it has no machine any more.
        """
        return self._sandboxes.find(sandbox_id).console_since(position)

    async def join_network(self, sandbox_id: str, source: Path) -> None:
        """Give a machine the network of a namespace that was filled late. Raises NotFound, and as `Sandbox`'s."""
        await (await self._sandbox(sandbox_id)).join_network(source)

    async def update_pod_sandbox_resources(self, sandbox_id: str, resources: Resources, overhead: Resources) -> None:
        """Change what a pod declares (CRI UpdatePodSandboxResources); a limit that is not set stays as it is.

        Raises NotFound, and as `PodSize.update_pod`.
        """
        await (await self._sandbox(sandbox_id)).size.update_pod(resources, overhead)

    async def measure_pod_sandbox(self, sandbox_id: str) -> SandboxUsage:
        """Return the usage of a sandbox (CRI PodSandboxStats). Raises NotFound, and like `sandbox_usage`.

        The guest is not asked: it cannot lie, nor hold the call up.
        """
        return await sandbox_usage(self._host, self._sandboxes.find(sandbox_id).record)

    async def measure_pod_sandboxes(self, sandbox_ids: Collection[str]) -> dict[str, SandboxUsage]:
        """Return the usage of sandboxes by id, without those that are not READY or cannot be measured."""
        ready = (each.record for each in self._sandboxes.values() if each.record.state is SandboxState.READY)
        return await measure_each(
            {each.id: sandbox_usage(self._host, each) for each in ready if each.id in sandbox_ids}
        )
