"""The usage of a container, from the guest's kernel.

Names in small letters with dots are files of its cgroup (v2; the kernel's Documentation/admin-guide/cgroup-v2.rst) and
words in them. Sizes are bytes, times nanoseconds; counters count since the container began. What is None the guest's
kernel does not tell, or not yet; nothing that is unknown is zero.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from vmsandbox.protocol.bounds import AtMost, Between, Count, Id, Matching
from vmsandbox.protocol.features import PRESSURE_AVERAGES, Since
from vmsandbox.protocol.messages.containers import MAX_CONTAINERS

Name = Annotated[str, Matching(r"[!-~]{1,64}")]
"""A guest's name of a device or of a page size: it becomes a label of a metric."""

MAX_DISKS = 64
"""Disks of a container at most; an agent leaves out the rest."""

_MAX_KINDS = 8

Averages = Annotated[tuple[Annotated[float, Between(0, 100)], ...], AtMost(3), Since(PRESSURE_AVERAGES)]
"""Percent of the last 10, 60 and 300 seconds (accounting/psi); empty if they were not asked for."""


@dataclass(frozen=True, slots=True)
class Throttling:
    """The effect of the limit on CPU time (cpu.stat)."""

    periods: Count
    """nr_periods: those that have passed while it wanted to run."""
    throttled_periods: Count
    """nr_throttled: those of them in which it used up its quota."""
    throttled: Count
    """throttled_usec."""


@dataclass(frozen=True, slots=True)
class CpuMeasures:
    """CPU time (cpu.stat)."""

    usage: Count
    user: Count
    system: Count
    throttling: Throttling | None = None


@dataclass(frozen=True, slots=True)
class Pressure:
    """For how long it waited for something (accounting/psi): `some` of its tasks, or all of them (`full`)."""

    some: Count
    full: Count
    some_averages: Averages = ()
    full_averages: Averages = ()


@dataclass(frozen=True, slots=True)
class MemoryMeasures:
    """Memory (memory.current, memory.stat, memory.events)."""

    current: Count
    """memory.current: all that is charged to it, file pages that could be dropped among it."""
    anon: Count
    """From memory.stat, like the fields up to `major_page_faults`."""
    file: Count
    file_mapped: Count
    inactive_file: Count
    kernel: Count
    page_faults: Count
    major_page_faults: Count
    limit_hits: Count
    """From memory.events, max: how often the container was about to go beyond its limit."""
    oom_kills: Count
    """Processes that were killed because memory was short, by the kernel or by the agent."""
    reservation: Count = 0
    """memory.min: what is not taken from it."""
    limit: Count | None = None
    """memory.max; None: there is none, as with `swap_limit`."""
    swap_limit: Count | None = None
    """memory.swap.max: beside `limit`, not with it."""
    peak: Count | None = None
    swap: Count | None = None
    """memory.swap.current."""


@dataclass(frozen=True, slots=True)
class DiskMeasures:
    """Requests to a block device of the guest, and their bytes (io.stat)."""

    major: Count
    minor: Count
    reads: Count
    writes: Count
    read_bytes: Count
    written_bytes: Count


@dataclass(frozen=True, slots=True)
class ProcessMeasures:
    """The processes that it has now, and what they have open."""

    processes: Count
    threads: Count
    threads_max: Count
    """pids.max, or if that has no limit, the guest's own (kernel.threads-max)."""
    descriptors: Count
    """File descriptors; the count ends at some thousands, as does that of sockets."""
    sockets: Count
    """How many of the descriptors are sockets."""
    files_max: Count | None = None
    """RLIMIT_NOFILE (soft) of its first process; None also where that is unlimited."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The one that all writable layers of the guest are on (statvfs(3))."""

    size: Count
    free: Count
    inodes: Count
    inodes_free: Count
    device: Name
    """The name of the device in `Measures.disks`."""


@dataclass(frozen=True, slots=True)
class LayerMeasures:
    """The size of the writable layer at its last count."""

    at: Count
    """When, in nanoseconds since the epoch by the guest's clock."""
    used: Count
    inodes: Count


@dataclass(frozen=True, slots=True)
class Measures:
    """The usage of a container."""

    container_id: Id
    cpu: CpuMeasures
    memory: MemoryMeasures
    pressure: Annotated[dict[Name, Pressure], AtMost(_MAX_KINDS)] = field(default_factory=dict)
    """Pressure by its cause: `cpu`, `memory`, `io`."""
    disks: Annotated[dict[Name, DiskMeasures], AtMost(MAX_DISKS)] = field(default_factory=dict)
    """Disks by the names of the devices, `/dev/sda`."""
    huge_pages: Annotated[dict[Name, Count], AtMost(_MAX_KINDS)] = field(default_factory=dict)
    """Bytes of huge pages, by their size as the kernel writes it: `2MB`."""
    processes: ProcessMeasures | None = None
    file_system: FileSystem | None = None
    layer: LayerMeasures | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of `MeasureContainers`."""

    at: Count
    """Nanoseconds since the epoch, by the guest's clock."""
    containers: Annotated[tuple[Measures, ...], AtMost(MAX_CONTAINERS)] = ()


@dataclass(frozen=True, slots=True)
class MeasureContainers:
    """Tell what the containers that exist use; one whose cgroup is gone is left out."""

    METHOD: ClassVar[str] = "measure_containers"
    RESULT: ClassVar[type] = Measured

    averages: Annotated[bool, Since(PRESSURE_AVERAGES)] = False
    """Whether to tell the averages of pressure."""
