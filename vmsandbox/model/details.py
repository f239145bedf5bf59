"""The machine of a pod as the host sees it, for people who look into a pod."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MachineProcess:
    """A process of this host that belongs to a machine."""

    pid: int
    name: str
    """The kernel's name of its program, of 15 bytes at most."""
    cgroup: str
    """The path of its cgroup, where memory is limited."""
    oom_score_adj: int
    """When the kernel kills it for want of memory (proc(5))."""


@dataclass(frozen=True, slots=True)
class HostCgroup:
    """A cgroup of this host, read from the kernel. None: there is no such limit, or no such file."""

    path: str
    memory: int | None = None
    """Bytes that are charged to it."""
    memory_limit: int | None = None
    cpu_limit: float | None = None
    """CPUs."""
    cpu_shares: int | None = None
    """CPU time in proportion to its brothers, with cgroup version 1."""
    cpu_weight: int | None = None
    """The same with version 2."""
    processes: int | None = None
    """Processes and threads."""
    process_limit: int | None = None

    @property
    def limits(self) -> bool:
        """Whether it has a limit of any kind."""
        return not self.memory_limit == self.cpu_limit == self.process_limit is None


@dataclass(frozen=True, slots=True)
class MachineDetails:
    """A sandbox's machine on this host. It is made without asking the guest, or a QEMU that may hang."""

    name: str
    """The name of its domain."""
    uuid: str
    """The UUID of its domain."""
    libvirt: str
    """The URI of the libvirt that runs it."""
    committed_memory: int = 0
    """Bytes that it takes of the budget of all machines of the node."""
    qemu_pid: int | None = None
    """The pid of its QEMU; None if there is none."""
    processes: tuple[MachineProcess, ...] = ()
    cgroups: tuple[HostCgroup, ...] = ()
    """The cgroups of its processes, and those above them that have limits, the innermost first."""
