"""Machines that have booted, belong to nobody, and wait for pods: made, taken back after a restart, and ended.

Such a machine is named after its id, which the sandbox that claims it takes over. Its record is written before it has
anything, and deleted when the record of its sandbox is written, or when all is given back.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from vmsandbox import aio, log
from vmsandbox.errors import FailedPrecondition, VmsandboxError
from vmsandbox.hypervisor import MachineEvent
from vmsandbox.model import PodSandboxConfig, PodSandboxMetadata, Resources
from vmsandbox.protocol.messages import Event
from vmsandbox.protocol.secret import random_bytes
from vmsandbox.sandbox.lifecycle.admission import Admission
from vmsandbox.sandbox.machines import Host, Machine, charge_of, give_back
from vmsandbox.sandbox.spec import MachinePlan, domain_name
from vmsandbox.state import SandboxRecord, WaitingRecord
from vmsandbox.telemetry.declared import POOL_MADE

_log = log.get(__name__)

_DEADLINE = 30.0
"""Seconds for the taking back of one machine."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A machine that waits."""

    record: WaitingRecord
    machine: Machine

    @property
    def age(self) -> float:
        """Return the seconds since it was made."""
        return max(0.0, (time.time_ns() - self.record.made_at) / 1e9)

    @property
    def is_fit(self) -> bool:
        """Return whether it runs, as far as is known."""
        return not self.machine.failure.done()


class WaitingMachines(dict[str, Waiting]):
    """The machines of a process that wait, by their ids; the oldest is the first."""

    def __init__(self, host: Host, admission: Admission) -> None:
        """Begin without any; both stay the caller's."""
        super().__init__()
        self._host = host
        self._admission = admission
        self.left: list[WaitingRecord] = []
        """The machines of an earlier process that are not taken back yet."""

    def of(self, kind: str) -> list[Waiting]:
        """Return those of a kind."""
        return [each for each in self.values() if each.record.kind == kind]

    def load(self) -> None:
        """Know the machines of an earlier process, and let them have their memory. Raises as `State.all`."""
        state = self._host.state
        claimed = {record.id for record in state.all(SandboxRecord)} | state.damaged(SandboxRecord).keys()
        damaged = state.damaged(WaitingRecord)
        for damage in damaged.values():
            _log.error("%s; the machine is ended", damage.error)
        for record in (*state.all(WaitingRecord), *(WaitingRecord(each, "", "", 0) for each in damaged)):
            if record.id in claimed:  # The earlier process was killed in between.
                state.discard(WaitingRecord, record.id)
            else:
                self.left.append(record)
                self._admission.spare(record.id, record.memory)

    async def make(self, plan: MachinePlan, kind: str) -> None:
        """Make one. Its memory is the caller's to have asked for; on failure all is given back.

        Args:
            plan: has its id.
            kind: of it.
        """
        secret, begin = random_bytes(), time.monotonic()
        memory = charge_of(plan.sizes.booted, plan.profile.accelerator)
        handler = plan.config.runtime_handler
        record = WaitingRecord(plan.sandbox_id, kind, handler, time.time_ns(), memory, secret.hex())
        machine = Machine(self._host, record.id, plan.config, secret, _no_event)
        try:
            self._host.state.put(record.id, record)
            async with self._admission.booting():
                await machine.wait(plan)
            record = replace(record, boot_id=machine.peer.boot_id)
            self._host.state.put(record.id, record)
        except BaseException:
            await aio.to_its_end(self.give_back(record.id, machine))
            raise
        self[record.id] = Waiting(record, machine)
        POOL_MADE.add()
        _log.info("a machine waits for a pod after %.1f s: %d MiB", time.monotonic() - begin, memory >> 20)

    async def take_back(self, record: WaitingRecord, plan: MachinePlan | None) -> None:
        """Find one of an earlier process again; what cannot be found, or is not wanted, is given back.

        Args:
            record: of it.
            plan: of those of its kind; None: none is wanted.
        """
        machine = Machine(self._host, record.id, nobody(record.handler), bytes.fromhex(record.secret), _no_event)
        try:
            if plan is None or not record.boot_id:
                raise FailedPrecondition(
                    "it was being made" if plan else "it is of another kind than the pools are now"
                )
            async with asyncio.timeout(_DEADLINE):
                await machine.take_back_waiting(with_id(self._host, plan, record.id), record.boot_id)
        except (VmsandboxError, TimeoutError) as error:
            _log.warning("a machine of an earlier pool is given back: %s", error)
            await self.give_back(record.id, machine)
        else:
            self[record.id] = Waiting(record, machine)

    async def end(self, waiting: Waiting, why: str) -> None:
        """End one, and say why."""
        if self.pop(waiting.record.id, None) is not None:
            _log.info("a machine of the pool is ended: %s", why)
            await self.give_back(waiting.record.id, waiting.machine)

    async def give_back(self, machine_id: str, machine: Machine) -> None:
        """Give back all that a machine has. What cannot be given back is logged, and stays recorded."""
        await machine.close()
        try:
            await give_back(self._host, machine_id)
        except VmsandboxError as error:
            _log.error("%s", error, extra=log.of_error(error))  # and again at the next start
        else:
            self._host.state.discard(WaitingRecord, machine_id)
        self._admission.unspare(machine_id)

    async def watch(self, events: AsyncIterator[MachineEvent]) -> None:
        """Tell them of their ends, for ever."""
        async for event in events:
            for waiting in tuple(self.values()):
                if domain_name(waiting.record.id) == event.name:
                    waiting.machine.failed(event)

    async def let_go(self) -> None:
        """Let go of what this process holds of them; they go on."""
        for waiting in self.values():
            with contextlib.suppress(VmsandboxError):
                await waiting.machine.close()


def nobody(handler: str) -> PodSandboxConfig:
    """Stand for the pods of a handler. While it waits, its machine yields the CPU to those of pods."""
    metadata = PodSandboxMetadata("waiting", "", "", 0)
    return PodSandboxConfig(metadata, runtime_handler=handler, resources=Resources(cpu_shares=2))


def with_id(host: Host, plan: MachinePlan, machine_id: str) -> MachinePlan:
    """Return a plan for the machine of an id."""
    return replace(plan, sandbox_id=machine_id, layout=host.layout(machine_id))


async def _no_event(event: Event) -> None:
    """Nothing runs in a guest that waits."""
