"""The size that one sandbox's machine has: of the guest, in the budget of the host, in its cgroup and in the record."""

from collections.abc import Callable

from vmsandbox import log
from vmsandbox.errors import FailedPrecondition, NotFound, Unavailable, VmsandboxError
from vmsandbox.model import MachineSize, Resources
from vmsandbox.sandbox.lifecycle.admission import Admission
from vmsandbox.sandbox.lifecycle.sandbox_keeper import SandboxKeeper
from vmsandbox.sandbox.machines import Host, RunningMachine, limits_of, score_of
from vmsandbox.sandbox.spec import given_size, larger, wanted_size

_log = log.get(__name__)
_lives = log.get("vmsandbox.pods")
"""The journal of the lives of pods."""

_FIT_DEADLINE = 10.0
"""Seconds in which a guest bounds its containers by a size that it has. One that hangs does not stop the caller."""


class SandboxSize:
    """Changes the size of a machine that runs. Its calls must not overlap."""

    def __init__(
        self,
        host: Host,
        admission: Admission,
        machine: Callable[[], RunningMachine],
        keeper: SandboxKeeper,
    ) -> None:
        """Change nothing yet.

        Args:
            host: what machines are made with; stays the caller's.
            admission: where the memory of the machine is committed; stays the caller's.
            machine: returns the machine that runs. Raises Unavailable where it is gone.
            keeper: of the sandbox's record.
        """
        self._host = host
        self._admission = admission
        self._machine = machine
        self._keeper = keeper
        self._cpu = Resources()
        """The CPU time that the machine is charged for."""
        self._confined: tuple[MachineSize, Resources] | None = None
        """The size and the CPU time to which its processes are held. None: another process did that."""
        self._score: int | None = None

    @property
    def now(self) -> MachineSize:
        """The size of the machine, from its record."""
        record = self._keeper.record
        return MachineSize(record.vcpus, record.memory)

    def wanted(self, declared: Resources, containers: list[Resources]) -> MachineSize:
        """Return the size for a pod; a machine that keeps its size has what it has."""
        rules = self._keeper.record.sizes
        return wanted_size(rules, declared, containers) if rules is not None else self.now

    def needed(self, declared: Resources, containers: list[Resources]) -> MachineSize:
        """Return the size that the machine is to have for a pod.

        Raises:
            InvalidArgument: the machine cannot grow that far.
            FailedPrecondition: it cannot grow at all.
        """
        rules = self._keeper.record.sizes
        if rules is not None:
            return given_size(rules, wanted_size(rules, declared, containers))
        if any(each.memory_limit > self.now.memory for each in (declared, *containers)):
            self.require_resizable()
        return self.now

    def require_resizable(self) -> None:
        """Raise FailedPrecondition for a machine that an earlier version of vmsandbox has made."""
        record = self._keeper.record
        if record.sizes is None:
            raise FailedPrecondition(
                f"the machine of sandbox {record.id} was made by an earlier version of vmsandbox, and keeps its size",
                hint="make the pod again",
            )

    async def become(self, size: MachineSize, cpu: Resources) -> None:
        """Give the machine another size. Where that fails, it has its old one.

        The memory of the larger size is committed meanwhile, and recorded: a process that is killed leaves a record
        that is not too small.

        Args:
            size: of the machine.
            cpu: the CPU time that the machine is charged for from now on (`charged`).

        Raises:
            ResourceExhausted: all machines of this host together have no room for it.
            Unavailable: the machine has ended.
            FailedPrecondition: the guest uses memory that is to be taken from it, or the host refuses.
            DeadlineExceeded: the guest does not answer.
        """
        record, before = self._keeper.record, self.now
        self._cpu = cpu
        if size == before:
            await self._settle(size)
            return
        try:
            self._admission.change(record.id, self._charge(larger(before, size)))
            self._note(larger(before, size))
            try:
                await self._confine(larger(before, size))
                if size.memory < before.memory:
                    await self._machine().client.fit_machine(before.memory - size.memory)
                has = await self._machine().size.become(size)
            except BaseException:
                await self._settle(await self._measured())
                await self._fit()
                raise
        except NotFound as error:
            raise Unavailable(f"the machine of sandbox {record.id} does not run any more: {error}") from None
        except VmsandboxError as error:
            metadata = record.config.metadata
            raise error.at(f"resizing the machine of pod {metadata.namespace}/{metadata.name}") from None
        await self._settle(has)
        await self._fit()
        self._tell(before)

    async def take_back(self) -> None:
        """Learn the size that the machine has, after a restart of the daemon. Raises VmsandboxError."""
        self._note(await self._machine().size.now())
        await self._fit()

    async def _measured(self) -> MachineSize:
        """Return the size of the guest; where that is unknown, the one that is recorded: it is not too small."""
        try:
            return await self._machine().size.now()
        except VmsandboxError as error:
            _log.warning("the size of the machine of sandbox %s is not known: %s", self._keeper.record.id, error)
            return self.now

    async def rank(self, containers: list[Resources]) -> None:
        """Have the kernel kill the machine in the order of its containers when the host's memory runs out."""
        record = self._keeper.record
        score = score_of(record.config.cgroup_parent, containers)
        if score != self._score:
            await self._host.cgroups.score(record.id, score)
            self._score = score

    async def _settle(self, size: MachineSize) -> None:
        """Note the size that a machine has, and hold its processes to that. What goes wrong is logged."""
        self._note(size)
        if self._keeper.is_ready:
            try:
                await self._confine(size)
            except VmsandboxError as error:
                _log.warning("the processes of a machine are held to the limits of another size: %s", error)

    async def _fit(self) -> None:
        """Have containers fit what the machine has now. What goes wrong is logged: it is done again with the next."""
        if not self._keeper.is_ready:
            return
        try:
            await self._machine().client.fit_machine(deadline=_FIT_DEADLINE)
        except VmsandboxError as error:
            _log.warning("the containers of sandbox %s are held to another size: %s", self._keeper.record.id, error)

    def _note(self, size: MachineSize) -> None:
        """Commit and record a size, unless the sandbox has ended meanwhile."""
        if self._keeper.is_ready and size != self.now:
            self._keeper.change(vcpus=size.vcpus, memory=size.memory)
            self._admission.follow(self._keeper.record.id, self._charge(size))

    def _charge(self, size: MachineSize) -> int:
        return self._host.charge(self._keeper.record.config.runtime_handler, size)

    async def _confine(self, size: MachineSize) -> None:
        if self._confined == (size, self._cpu):
            return
        record = self._keeper.record
        accelerator = self._host.accelerator(record.config.runtime_handler)
        await self._host.cgroups.resize(record.id, limits_of(size, accelerator, self._cpu))
        self._confined = size, self._cpu

    def _tell(self, before: MachineSize) -> None:
        pod, now = self._keeper.record.config.metadata, self.now
        if now == before:
            return
        sizes = (before.vcpus, before.memory >> 20, now.vcpus, now.memory >> 20)
        name = f"pod {pod.namespace}/{pod.name} ({self._keeper.record.id})"
        _lives.info("%s is resized: vCPUs %d, memory %d MiB before; vCPUs %d, memory %d MiB now", name, *sizes)
