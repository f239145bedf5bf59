"""The start of one sandbox: its machine is got when its turn has come, from the pool, a template, or by booting it."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

from vmsandbox import aio, log
from vmsandbox.config import MACHINE_HANDLER
from vmsandbox.errors import VmsandboxError
from vmsandbox.guest import EventHandler, GuestClient
from vmsandbox.model import BootTimings, StartTimings
from vmsandbox.sandbox.containers import ContainerContext
from vmsandbox.sandbox.lifecycle.admission import Admission
from vmsandbox.sandbox.lifecycle.sandbox_keeper import SandboxKeeper
from vmsandbox.sandbox.machines import Host, Machine, Source, give_back
from vmsandbox.sandbox.spec import MachinePlan
from vmsandbox.state import SandboxRecord, WaitingRecord
from vmsandbox.telemetry import Step, code_of, step
from vmsandbox.telemetry.declared import BOOT_PHASE_SECONDS, BOOT_SECONDS, BOOTS_REPEATED, SANDBOX_FAILURES

_log = log.get(__name__)
_lives = log.get("vmsandbox.pods")
"""The journal of the lives of pods."""

_HOW = {Source.BOOT: "", Source.TEMPLATE: ", from a template", Source.POOL: ", from the pool"}


class SandboxStart:
    """Gets the machine of one sandbox. The sandbox's record tells an earlier or later process what may be there."""

    def __init__(
        self,
        host: Host,
        admission: Admission,
        keeper: SandboxKeeper,
        *,
        new_machine: Callable[[], Machine],
        on_event: EventHandler,
    ) -> None:
        """Acquire nothing yet.

        Args:
            host: what machines are made with; stays the caller's.
            admission: where the memory of the machine is committed; stays the caller's.
            keeper: of the sandbox's record.
            new_machine: makes the object of a machine, which the sandbox then has.
            on_event: handles the events of the agent of a machine that has waited.
        """
        self.waiting: Machine | None = None
        """A machine of the pool that the sandbox may have."""
        self._host = host
        self._admission = admission
        self._keeper = keeper
        self._new_machine = new_machine
        self._on_event = on_event
        self._begun = self._admitted = time.monotonic()

    async def machine(self, plan: MachinePlan) -> tuple[Machine, GuestClient]:
        """Return the machine, which is the pod's, with a client of its agent. On failure its memory is given back.

        What it has acquired is given back then as far as possible (`Machine.left_something`).
        """
        record = self._keeper.record
        async with contextlib.AsyncExitStack() as stack:
            try:
                with step(Step.ADMISSION):
                    await self._admission.admit(record.id, self._host.charge(record.config.runtime_handler, plan.size))
                    if self.waiting is None:
                        await stack.enter_async_context(self._admission.booting())
                self._admitted = time.monotonic()
                self._keeper.begin()
                machine, client = await self._get(plan)
            except BaseException:
                await aio.to_its_end(self._drop())
                self._admission.release(record.id)
                raise
        _record_boot(machine.timings)
        return machine, client

    def timings(self, machine: Machine) -> StartTimings:
        """Return when the steps were done, of a machine that is ready now."""
        moments = {"admitted": self._admitted, **machine.reached, "ready": time.monotonic()}
        return StartTimings(**{step: round(moment - self._begun, 3) for step, moment in moments.items()})

    async def _get(self, plan: MachinePlan) -> tuple[Machine, GuestClient]:
        """Get the machine; if it dies before it is the pod's, or what it was got from is of no use, boot once more."""
        waiting = self.waiting
        machine = self._new_machine() if waiting is None else waiting
        try:
            return machine, await (machine.boot(plan) if waiting is None else self._claim(machine, plan))
        except VmsandboxError as error:
            if not machine.may_boot_again:
                raise
            _log.warning("sandbox %s is booted once more: %s", plan.sandbox_id, error, extra=log.of_error(error))
        machine = self._new_machine()
        self._keeper.change(boots=self._keeper.record.boots + 1)
        BOOTS_REPEATED.add()
        async with self._admission.booting() if waiting is not None else contextlib.nullcontext():
            return machine, await machine.boot(plan, again=True)

    async def _claim(self, machine: Machine, plan: MachinePlan) -> GuestClient:
        """Make a machine of the pool the sandbox's, whose record takes the place of its own."""
        self._host.state.discard(WaitingRecord, plan.sandbox_id)
        self.waiting = None
        return await machine.claim(plan, self._on_event)

    async def _drop(self) -> None:
        """Give back a machine of the pool that the sandbox has not claimed; it is not used again."""
        machine, self.waiting = self.waiting, None
        if machine is None:
            return
        sandbox_id = self._keeper.record.id
        await machine.close()
        try:
            await give_back(self._host, sandbox_id)
        except VmsandboxError as error:
            _log.error("%s", error, extra=log.of_error(error))  # and again at the next start
        else:
            self._host.state.discard(WaitingRecord, sandbox_id)


@contextlib.contextmanager
def start_told(
    context: ContainerContext, record: SandboxRecord, machine: Callable[[], Machine | None]
) -> Iterator[None]:
    """Say in the journal how the start of a sandbox, the body, begins and ends; then it has the machine."""
    pod, size, handler = context.pod, (record.vcpus, record.memory >> 20), record.config.runtime_handler
    with log.about(context.subject()):
        _lives.info("%s is being made: vCPUs %d, memory %d MiB, handler %s", pod, *size, handler or MACHINE_HANDLER)
        try:
            yield
        except asyncio.CancelledError:
            _lives.info("%s was given up before it was ready", pod)
            raise
        except BaseException as error:
            _lives.error("%s is not made: %s", pod, error, extra=log.of_error(error))
            SANDBOX_FAILURES.add("start", code_of(error))
            raise
        how = _HOW[has.source] if (has := machine()) is not None else ""
        _lives.info("%s is ready after %.1f s%s", pod, (time.time_ns() - record.created_at) / 1e9, how)


def _record_boot(timings: BootTimings) -> None:
    phases: dict[str, float] = asdict(timings)
    BOOT_SECONDS.observe(sum(phases.values()))
    for phase, seconds in phases.items():
        BOOT_PHASE_SECONDS.observe(seconds, phase)
