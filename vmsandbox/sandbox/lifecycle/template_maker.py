"""Makes templates in the background: boots an unclaimed machine, and saves it."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

from vmsandbox import aio, log
from vmsandbox.config import TemplateChoice
from vmsandbox.errors import DeadlineExceeded, VmsandboxError, explained
from vmsandbox.hypervisor import MachineSpec, end_of
from vmsandbox.model import PodSandboxConfig, PodSandboxMetadata
from vmsandbox.process import Account
from vmsandbox.sandbox.lifecycle.admission import Admission
from vmsandbox.sandbox.machines import Host, charge_of, give_back
from vmsandbox.sandbox.spec import MachinePlan, bare_machine_spec
from vmsandbox.telemetry.declared import TEMPLATES_MADE

_log = log.get(__name__)

_QUIET = 1.0
"""Seconds between looks whether pods that boot leave room for a machine that nobody waits for."""

_NOBODY = PodSandboxConfig(PodSandboxMetadata("template", "", "", 0))
"""Stands for the pod, where the cgroup of a machine is made that has none."""
_NO_ACCOUNT = Account(0, 0)


class TemplateMaker:
    """Makes the templates that machines of pods wanted, one at a time."""

    def __init__(self, host: Host, admission: Admission) -> None:
        """Nothing is made before `running`. Both stay the caller's."""
        self._host = host
        self._admission = admission
        self._making = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make templates while the context lasts, after what a killed process has left was given back."""
        async with aio.attendant(self._run(), "the maker of templates"):
            yield

    async def _run(self) -> None:
        for machine_id in tuple(self._host.templates.begun()):
            await self._give_back(machine_id)
        while True:
            await self.make(await self._host.templates.wanted())

    async def make(self, plan: MachinePlan) -> None:
        """Make the template of machines like that of a plan, unless there is one, or is to be none, or no room.

        A failure is logged: pods have machines without it.
        """
        if self._host.templates.possible and plan.profile.machine.template is TemplateChoice.AUTO:
            async with self._making:
                try:
                    await self._make(plan)
                except VmsandboxError as error:  # e.g. libvirt does not answer; the next pod that wants it asks again
                    _log.warning("no template is made: %s", error, extra=log.of_error(error))

    async def _make(self, plan: MachinePlan) -> None:
        machine_id = uuid.uuid4().hex
        unclaimed = replace(plan, sandbox_id=machine_id, config=_NOBODY, layout=self._host.layout(machine_id))
        key = await self._host.templates.key_to_make(bare_machine_spec(unclaimed, _NO_ACCOUNT))
        if not key:
            return
        while self._admission.figures.booting:  # noqa: ASYNC110 - nobody waits for it
            await asyncio.sleep(_QUIET)
        if not self._admission.admit_if_room(machine_id, charge_of(plan.sizes.booted, plan.profile.accelerator)):
            return
        try:
            await self._boot_and_save(unclaimed, key)
        except (VmsandboxError, OSError) as error:  # e.g. the disk is full
            self._host.templates.refuse(key, explained(error))
        finally:
            await aio.to_its_end(self._give_back(machine_id))
            self._admission.release(machine_id)

    async def _boot_and_save(self, plan: MachinePlan, key: str) -> None:
        host, machine_id = self._host, plan.sandbox_id
        state = host.templates.begin(machine_id)
        host.layout(machine_id).make()
        users = await host.users.allocate(machine_id)
        spec = bare_machine_spec(plan, users.qemu)
        async with self._admission.booting():
            await host.hypervisor.create(
                spec, lambda: aio.to_its_end(host.cgroups.confine(machine_id, spec, users, plan.config))
            )
            await self._wait_booted(spec, plan.profile.machine.boot_deadline)
            await host.hypervisor.save(spec.name, state)
        await host.templates.seal(machine_id, key)
        TEMPLATES_MADE.add()
        _log.info("a template is made: vCPUs %d, memory %d MiB", spec.size.vcpus, spec.size.memory >> 20)

    async def _wait_booted(self, spec: MachineSpec, deadline: float) -> None:
        try:
            async with asyncio.timeout(deadline), end_of(self._host.hypervisor.events(), spec.name) as ended:
                await aio.unless(self._host.hypervisor.booted(spec.name), ended)
        except TimeoutError:
            raise DeadlineExceeded(f"the guest of machine {spec.name} has not booted within {deadline:g} s") from None

    async def _give_back(self, machine_id: str) -> None:
        try:
            await give_back(self._host, machine_id)
        except VmsandboxError as error:
            _log.error("%s", error, extra=log.of_error(error))  # and again at the next start
        else:
            await self._host.templates.end(machine_id)
