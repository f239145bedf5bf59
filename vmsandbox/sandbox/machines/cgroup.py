"""The cgroup of a sandbox: what the processes of its machine may take of the host, together.

QEMU, its virtiofsd and the vsock daemon are moved into it as soon as the machine runs, while the guest's own kernel
boots: nothing of the pod has run by then. It is ours in each hierarchy that is needed (cgroup v1: memory, pids, cpu; v2
has one), in libvirtd's machines as in those of an embedded libvirt, whose own cgroups are left.
"""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from vmsandbox.claims import MachineUsers
from vmsandbox.errors import FailedPrecondition, Unavailable
from vmsandbox.hypervisor import TCG_CACHE, Accelerator, MachineSpec, SharedDirectory
from vmsandbox.process import name_of, processes_and_users

ROOT = Path("/sys/fs/cgroup")

_MIB = 1024 * 1024
_OVERHEAD = 256 * _MIB
"""Bytes that QEMU, virtiofsd and the vsock daemon have besides the guest's memory; 100 MiB have been seen."""
_TABLES = 64
"""Page tables for the guest's memory, of three processes, take at most this part of it."""
_PROCESSES = 512
"""Threads of QEMU, virtiofsd and the vsock daemon besides the vCPUs: pools of 64 each, and what else there is."""
_PERIOD = 100_000
"""Microseconds in which a CPU quota is given out."""
_OOM_SCORE = 500
"""Machines are killed before the node's own services (proc(5), oom_score_adj); children inherit that of `serve`."""
_END_DEADLINE = 5.0
"""Seconds in which processes that were killed have ended."""


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """The limits for all processes of a machine together."""

    memory: int
    """Bytes, that of the guest included."""
    processes: int
    """Processes and threads."""
    cpus: int
    """CPUs' worth of time."""


def limits_of(spec: MachineSpec) -> CgroupLimits:
    """The limits for a machine: its size, and what it takes to run it."""
    translated = TCG_CACHE if spec.accelerator is Accelerator.TCG else 0
    memory = spec.memory + spec.memory // _TABLES + _OVERHEAD + translated
    return CgroupLimits(memory, _PROCESSES + spec.vcpus, spec.vcpus + 1)


class MachineCgroups:
    """The cgroups of all sandboxes, by their ids. Its calls are short file operations, which block."""

    def __init__(self, parent: str, root: Path = ROOT) -> None:
        """Nothing is made before the first call.

        Args:
            parent: the cgroup below which they are made; empty: machines have no limits.
            root: where the cgroup file systems are mounted.
        """
        self._parent = parent
        self._root = root

    def check(self) -> str:
        """Say what machines are limited by. Raises FailedPrecondition where this host lacks it."""
        if not self._parent:
            return "machines have no limits on this host (cgroup_parent)"
        version = 2 if self._controllers() == ("",) else 1
        if missing := sorted({"cpu", "memory", "pids"} - self._available()):
            raise FailedPrecondition(
                f"machines cannot be limited: {self._root} lacks the cgroup controllers {', '.join(missing)}",
                hint="the kernel's command line may have switched them off (cgroup_disable, cgroup_no_v1)",
            )
        return f"machines have limits of memory, CPU time and processes: cgroup version {version}"

    def confine(self, name: str, spec: MachineSpec, users: MachineUsers) -> None:
        """Have the processes of a machine that runs limited. On failure `remove` gives back what was made.

        Args:
            name: of the cgroup: the sandbox's id.
            spec: what the machine was made from. Its processes are the virtiofsd of its share,
            users: and those of these users.

        Raises:
            FailedPrecondition: this host has no such cgroups, or lets nobody make them.
        """
        pids = list(_processes(users, spec.share))
        try:
            for controller, settings in self._settings(limits_of(spec)).items():
                self._make(controller, name, settings, pids)
            _kill_first(pids)
        except OSError as error:
            raise FailedPrecondition(
                f"the machine's limits cannot be set: {error}",
                hint='`mount` shows this host\'s cgroups; cgroup_parent: "" runs machines without limits',
            ) from None

    def killed(self, name: str) -> bool:
        """Whether the kernel has killed a process of a machine that was beyond its memory limit; it may be gone."""
        for controller, file in (("", "memory.events"), ("memory", "memory.oom_control")):
            with contextlib.suppress(OSError):
                lines = (self._root / controller / self._parent / name / file).read_text().splitlines()
                return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)
        return False

    def remove(self, name: str) -> None:
        """Kill what is left in a cgroup, and remove it. Succeeds where there is none.

        Raises:
            Unavailable: a process does not end.
        """
        for controller in self._controllers():
            _remove(self._root / controller / self._parent / name)

    def _make(self, controller: str, name: str, settings: Mapping[str, str], pids: list[int]) -> None:
        parent = self._root / controller / self._parent
        parent.mkdir(exist_ok=True)
        if not controller:  # v2: a parent says what its children's controllers are
            for above in (self._root, parent):
                (above / "cgroup.subtree_control").write_text("+cpu +memory +pids")
        (parent / name).mkdir(exist_ok=True)
        for setting, value in settings.items():
            (parent / name / setting).write_text(value)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (parent / name / "cgroup.procs").write_text(str(pid))

    def _controllers(self) -> tuple[str, ...]:
        """The directories of the hierarchies; v2 has one, the root itself."""
        if not self._parent:
            return ()
        return ("",) if (self._root / "cgroup.controllers").exists() else ("memory", "pids", "cpu")

    def _available(self) -> set[str]:
        if self._controllers() == ("",):
            return set((self._root / "cgroup.controllers").read_text().split())
        return {controller for controller in self._controllers() if (self._root / controller).is_dir()}

    def _settings(self, limits: CgroupLimits) -> dict[str, dict[str, str]]:
        memory, processes, quota = str(limits.memory), str(limits.processes), str(limits.cpus * _PERIOD)
        settings = {
            "": {"memory.max": memory, "pids.max": processes, "cpu.max": f"{quota} {_PERIOD}"},
            "memory": {"memory.limit_in_bytes": memory},
            "pids": {"pids.max": processes},
            "cpu": {"cpu.cfs_period_us": str(_PERIOD), "cpu.cfs_quota_us": quota},
        }
        return {controller: settings[controller] for controller in self._controllers()}


def let_kill_first(users: MachineUsers) -> None:
    """Have the kernel kill a machine without a cgroup before the node's own services, if this host allows it."""
    with contextlib.suppress(OSError):
        _kill_first(_processes(users, None))


def _kill_first(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            Path(f"/proc/{pid}/oom_score_adj").write_text(str(_OOM_SCORE))


def _processes(users: MachineUsers, share: SharedDirectory | None) -> Iterator[int]:
    """A machine's processes. What they say of themselves is not looked at, except virtiofsd, which is root's."""
    own = {users.qemu.uid, users.vsock.uid}
    for pid, user in processes_and_users():
        with contextlib.suppress(OSError):  # it has ended
            if user in own or (user == 0 and share is not None and _serves(pid, share.directory)):
                yield pid


def _serves(pid: int, share: Path) -> bool:
    """Whether a process is the virtiofsd of a directory."""
    if not name_of(pid).startswith("virtiofsd"):
        return False
    return f"source={share}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def _remove(cgroup: Path) -> None:
    stop = stop_after_delay(_END_DEADLINE)
    retrying = Retrying(retry=retry_if_exception_type(OSError), wait=wait_fixed(0.01), stop=stop, reraise=True)
    try:
        retrying(_kill_and_remove, cgroup)
    except OSError as error:
        raise Unavailable(f"processes in {cgroup} do not end: {error.strerror}") from None


def _kill_and_remove(cgroup: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        for pid in map(int, (cgroup / "cgroup.procs").read_text().split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        cgroup.rmdir()
