"""The cgroups of all machines: where each is, and what is done with it by the id of its sandbox alone."""

import asyncio
import contextlib
from pathlib import Path

from vmsandbox import log
from vmsandbox.claims import MachineUsers
from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor import MachineSpec
from vmsandbox.model import HostCgroup, MachineProcess, PodSandboxConfig
from vmsandbox.process import ProcessIdentity
from vmsandbox.sandbox.machines.cgroups import looking, scope, tree
from vmsandbox.sandbox.machines.cgroups.charges import Charge, Charges
from vmsandbox.sandbox.machines.cgroups.hierarchies import Hierarchies
from vmsandbox.sandbox.machines.cgroups.kills import killed_by
from vmsandbox.sandbox.machines.cgroups.limits import EXPECTED, MIB, OVERHEAD, CgroupLimits, limits_of
from vmsandbox.sandbox.machines.cgroups.machine_cgroup import MachineCgroup
from vmsandbox.sandbox.machines.cgroups.place import Place, place_of
from vmsandbox.sandbox.machines.cgroups.processes import file_servers, processes_of, set_score, vcpu_threads
from vmsandbox.sandbox.machines.cgroups.scores import score_of

_log = log.get(__name__)

ROOT = Path("/sys/fs/cgroup")


class MachineCgroups:
    """The cgroups of one process. Calls are short file operations, in threads, except `check` and `killed`."""

    def __init__(self, parent: str, charges: Path, root: Path = ROOT) -> None:
        """Nothing is made before the first call.

        Args:
            parent: the cgroup, at the top, of machines whose pods are given none; empty: no machine has a cgroup.
            charges: the directory that says which cgroup a sandbox has (`Charges`), shared by all processes.
            root: where the cgroup file systems are mounted.
        """
        self._parent = parent
        self._charges = Charges(charges)
        self._hierarchies = Hierarchies(root)

    def check(self) -> str:
        """Say what machines are limited by. Raises FailedPrecondition where this host lacks it."""
        if not self._parent:
            return "machines have no limits on this host (cgroup_parent)"
        self._hierarchies.check()
        version = 2 if self._hierarchies.unified else 1
        return f"machines have limits of memory, CPU time and processes: cgroup version {version}"

    async def confine(self, sandbox_id: str, spec: MachineSpec, users: MachineUsers, pod: PodSandboxConfig) -> None:
        """Have the processes of a machine limited, and charged to its pod. On failure `remove` gives back what is made.

        Args:
            sandbox_id: of the machine's sandbox.
            spec: what the machine was made from. Its processes are the virtiofsd of its share,
            users: and those of these users.
            pod: says where they are charged, and what its containers may use.

        Raises:
            InvalidArgument: the pod's cgroup_parent cannot be one.
            FailedPrecondition: this host has no such cgroups, or lets nobody make them.
            Unavailable: systemd does not answer.
        """

        def members() -> list[int]:
            return list(processes_of(users, spec.share))

        place = self._place(pod.cgroup_parent, sandbox_id)
        try:
            if place is not None:
                cgroup = await asyncio.to_thread(self._charge, sandbox_id, place)
                if place.slice:
                    await self._start_scope(place, spec.title, await asyncio.to_thread(members))
                limits = limits_of(spec.size, spec.accelerator, pod.resources)
                await asyncio.to_thread(cgroup.fill, limits, members)
                await asyncio.to_thread(_split, cgroup, users, spec.title)
                await asyncio.to_thread(_warn, cgroup, limits, f"pod {spec.title}")
            await asyncio.to_thread(lambda: set_score(members(), score_of(pod.cgroup_parent, ())))
        except OSError as error:
            raise FailedPrecondition(
                f"the machine's cgroup cannot be made: {error}",
                hint='`mount` shows this host\'s cgroups; cgroup_parent: "" runs machines without limits',
            ) from None

    async def move(self, sandbox_id: str, spec: MachineSpec, users: MachineUsers, pod: PodSandboxConfig) -> None:
        """Charge a machine that was charged to nobody to a pod; memory that it has taken stays where it was charged.

        Arguments and errors: as `confine`.
        """
        place, charge = self._place(pod.cgroup_parent, sandbox_id), self._charges.get(sandbox_id)
        if place is None or charge is None or charge.path != place.path:
            await self.confine(sandbox_id, spec, users, pod)
            await asyncio.to_thread(self._remove_default, sandbox_id)
            return
        await self.resize(sandbox_id, limits_of(spec.size, spec.accelerator, pod.resources))
        await self.score(sandbox_id, score_of(pod.cgroup_parent, ()))

    async def join(self, sandbox_id: str, spec: MachineSpec, users: MachineUsers, pod: PodSandboxConfig) -> None:
        """Take in the processes that a machine has got since `confine`: the virtiofsd of a share that was plugged in.

        Arguments: as `confine`.

        Raises:
            FailedPrecondition: the kernel does not take them.
        """

        def join() -> None:
            if (cgroup := self._cgroup(sandbox_id)) is not None:
                cgroup.gather(lambda: processes_of(users, spec.share))
            set_score(processes_of(users, spec.share), score_of(pod.cgroup_parent, ()))

        try:
            await asyncio.to_thread(join)
        except OSError as error:
            raise FailedPrecondition(f"processes of the machine cannot be moved into its cgroup: {error}") from None

    async def resize(self, sandbox_id: str, limits: CgroupLimits) -> None:
        """Hold a machine that runs to other limits: before it grows, or after it shrank. No limit hits what it uses.

        Args:
            sandbox_id: as given to `confine`.
            limits: those of its new size (`limits_of`).

        Raises:
            FailedPrecondition: the kernel does not take them. Those that it has taken stay.
        """
        try:
            if (cgroup := self._cgroup(sandbox_id)) is not None:
                await asyncio.to_thread(cgroup.limit, limits)
        except OSError as error:
            raise FailedPrecondition(f"the limits of the machine's cgroup cannot be changed: {error}") from None

    async def score(self, sandbox_id: str, score: int) -> None:
        """Have the kernel kill a machine as of another score (`score_of`), where this host allows it.

        A machine without a cgroup keeps the one that it was started with.
        """
        if (cgroup := self._cgroup(sandbox_id)) is not None:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(lambda: set_score(cgroup.processes(), score))

    async def processes(self, sandbox_id: str) -> list[int]:
        """Return the processes of a machine: its QEMU, virtiofsd and vsock daemon; none where it has no cgroup."""
        cgroup = self._cgroup(sandbox_id)
        return [] if cgroup is None else await asyncio.to_thread(cgroup.processes)

    async def file_servers(self, served: Path) -> list[ProcessIdentity]:
        """Return the processes of the virtiofsd of a directory; none where it has ended."""
        return await asyncio.to_thread(file_servers, served)

    async def look(
        self, sandbox_id: str, qemu_pid: int | None
    ) -> tuple[tuple[MachineProcess, ...], tuple[HostCgroup, ...]]:
        """Return the processes of a machine, and the cgroups whose limits hold for them.

        Args:
            sandbox_id: of the machine's sandbox.
            qemu_pid: the process of a machine that has no cgroup of its own; None: there is none.
        """

        def look() -> tuple[tuple[MachineProcess, ...], tuple[HostCgroup, ...]]:
            cgroup = self._cgroup(sandbox_id)
            pids = {*(cgroup.processes() if cgroup is not None else ()), *([qemu_pid] if qemu_pid else ())}
            found = tuple(looking.processes(pids))
            vcpus = cgroup.vcpus if cgroup is not None else None
            paths = [each.cgroup for each in found] + ([f"/{vcpus}"] if vcpus else [])
            return found, looking.chain(self._hierarchies, paths)

        return await asyncio.to_thread(look)

    def killed(self, sandbox_id: str) -> str:
        """Say, for people, for want of which memory the kernel killed a process of a machine; empty: it did not.

        Nothing is known any more where its cgroup is gone.
        """
        cgroup = self._cgroup(sandbox_id)
        return "" if cgroup is None else killed_by(cgroup.limiting, cgroup.path)

    async def remove(self, sandbox_id: str) -> None:
        """Kill what is left in the cgroup of a sandbox, and remove it. Succeeds where there is none.

        Raises:
            Unavailable: a process does not end.
        """

        def remove() -> None:
            if (cgroup := self._cgroup(sandbox_id)) is not None:
                charge = self._charges.get(sandbox_id)
                cgroup.remove(charge.made if charge is not None else ())
            self._remove_default(sandbox_id)
            self._charges.drop(sandbox_id)

        await asyncio.to_thread(remove)

    def _remove_default(self, sandbox_id: str) -> None:
        """Remove the cgroup of a machine that has waited, where its pod's is another one."""
        charge, path = self._charges.get(sandbox_id), f"{self._parent}/{sandbox_id}"
        if self._parent and charge is not None and charge.path != path:
            MachineCgroup(self._hierarchies, path).remove(())

    def _place(self, cgroup_parent: str, sandbox_id: str) -> Place | None:
        """Where a pod's machine is to be; None where machines have no cgroups."""
        place = place_of(cgroup_parent, sandbox_id, systemd=scope.BOOTED.is_dir())
        return (place or Place(self._parent, sandbox_id)) if self._parent else None

    def _cgroup(self, sandbox_id: str) -> MachineCgroup | None:
        """Where a sandbox's machine is: as noted, also by a process with other settings; else as older versions did."""
        charge = self._charges.get(sandbox_id)
        if charge is None and not self._parent:
            return None
        return MachineCgroup(self._hierarchies, charge.path if charge is not None else f"{self._parent}/{sandbox_id}")

    def _charge(self, sandbox_id: str, place: Place) -> MachineCgroup:
        """Note where a machine is going to be, and which cgroups above it are going to be made for it."""
        known, made = self._charges.made(), []
        above = place.path.split("/")[:-1]
        paths = ["/".join(above[:depth]) for depth in range(len(above), 0, -1)]
        for controller, directory in self._hierarchies.directories().items():
            for path in paths:
                named = f"{controller}:{path}"
                if path != self._parent and (named in known or not (directory / path).exists()):
                    made.append(named)
        self._charges.put(sandbox_id, Charge(place.path, tuple(made)))
        return MachineCgroup(self._hierarchies, place.path)

    async def _start_scope(self, place: Place, title: str, pids: list[int]) -> None:
        limiting = MachineCgroup(self._hierarchies, place.path).limiting

        def started() -> bool:
            return not set(pids) - set(tree.processes(limiting / place.parent / place.scope))

        await scope.start(place.scope, place.slice, f"Machine of pod {title}", pids, started)


def _split(cgroup: MachineCgroup, users: MachineUsers, whose: str) -> None:
    """Have the vCPUs apart from QEMU's other threads, where this host can; elsewhere the machine goes on without."""
    try:
        cgroup.split(vcpu_threads(users.qemu))
    except OSError as error:
        _log.warning("the vCPUs of the machine of pod %s are in one cgroup with QEMU's other threads: %s", whose, error)


def _warn(cgroup: MachineCgroup, limits: CgroupLimits, whose: str) -> None:
    """Say it when the limit of its pod does not know what a machine takes: one that uses what it has is killed."""
    allowed, path = cgroup.tightest()
    needed = limits.memory - OVERHEAD + EXPECTED
    if 0 < allowed < needed:
        _log.warning(
            "%s: cgroup /%s allows %d MiB, and the machine may take %d MiB; the kernel kills it when it does: "
            "raise overhead.podFixed.memory of the pod's RuntimeClass by %d MiB",
            whose, path, allowed // MIB, needed // MIB, (needed - allowed + MIB - 1) // MIB,
        )  # fmt: skip
