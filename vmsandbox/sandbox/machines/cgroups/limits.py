"""The limits of a machine's processes together: what they are, and how each version of cgroups writes them. Pure.

The kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ describe the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vmsandbox.config import MOST_VCPUS
from vmsandbox.hypervisor import TCG_CACHE, Accelerator
from vmsandbox.model import MachineSize, Resources

MIB = 1024 * 1024
OVERHEAD = 256 * MIB
"""Bytes that QEMU, virtiofsd and the vsock daemon have at most, besides the guest's memory and what is translated. They
take 45 MiB in an idle pod; the rest is room for pages of files that they read, and for threads (docs/kubernetes.md)."""
EXPECTED = 64 * MIB
"""Bytes that they take in a pod that does much (docs/resources.md has the figures)."""
_TABLES = 64
"""Page tables for the guest's memory, of three processes, take at most this part of it."""
_PROCESSES = 512 + MOST_VCPUS
"""Threads of QEMU, virtiofsd and the vsock daemon: one for each vCPU, pools of 64 each, and what else there is."""
_GUEST_ITSELF = {Accelerator.KVM: 12_500, Accelerator.TCG: 25_000}
"""Microseconds of CPU time in each period for the guest's kernel and agent, which are in no container: half of what
`podFixed` has for them and for QEMU (docs/kubernetes.md). So the other half is left to QEMU, virtiofsd and the vsock
daemon, also where a kubelet stops all of them at the pod's limit and podFixed."""
_PERIOD = 100_000
"""Microseconds in which a CPU quota is given out."""
_LEAST_SHARES, _MOST_SHARES = 2, 262_144
"""CPU shares that the kernel takes; they are weights of 1 to 10000 with cgroup v2, as the kubelet converts them."""
_MOST_WEIGHT = 10_000
_KERNELS_SHARES, _KERNELS_WEIGHT = 1024, 100
"""CPU shares and weight of a cgroup to which nobody has given others."""

Settings = dict[str, str]
"""Files of one cgroup, in the order in which they are written, and what is written there."""


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """The limits for all processes of a machine together."""

    memory: int
    """Bytes, that of the guest included."""
    processes: int
    """Processes and threads."""
    cpu: int
    """Microseconds of CPU time in each 100 ms."""
    vcpus: int
    """Microseconds of CPU time for the vCPUs alone, where they are apart (`settings_of_vcpus`)."""
    shares: int = 0
    """CPU time in proportion to others below the same cgroup (CRI `cpu_shares`); 0: as many as the kernel gives."""


def limits_of(size: MachineSize, accelerator: Accelerator, pod: Resources | None = None) -> CgroupLimits:
    """The limits for a machine of a size: that, and what it takes to run it.

    Args:
        size: what its guest has.
        accelerator: how it runs.
        pod: what its containers may use together: as the sandbox declares it, else the sum of them. Its CPU limit and
            one CPU more, for QEMU's own work and that of virtiofsd, is the machine's. So are its CPU shares, but
            no fewer than the guest's kernel and agent need (`_GUEST_ITSELF`): with less, a guest beside machines that
            compute does not come to the end of its boot, and its agent does not answer. 0 leaves the kernel's default.
    """
    declared = pod or Resources()
    vcpus = size.vcpus * _PERIOD
    cpu = vcpus + _PERIOD
    if declared.cpu_quota > 0:
        quota = declared.cpu_quota * _PERIOD // (declared.cpu_period or _PERIOD)
        cpu, vcpus = min(cpu, quota + _PERIOD), min(vcpus, quota + _GUEST_ITSELF[accelerator])
    shares = declared.cpu_shares and max(declared.cpu_shares, _KERNELS_SHARES * _GUEST_ITSELF[accelerator] // _PERIOD)
    return CgroupLimits(size.memory + overhead_of(size, accelerator), _PROCESSES, cpu, vcpus, shares)


def overhead_of(size: MachineSize, accelerator: Accelerator) -> int:
    """Bytes that a machine takes of the host at most, besides its guest's memory."""
    translated = TCG_CACHE if accelerator is Accelerator.TCG else 0
    return size.memory // _TABLES + OVERHEAD + translated


def charge_of(size: MachineSize, accelerator: Accelerator) -> int:
    """Bytes that a machine may well take of its host: its guest's memory, and what it takes to run it.

    The budget of the node (`limits.memory`) counts these; the `podFixed` of a RuntimeClass is the part beyond requests.
    """
    return size.memory + overhead_of(size, accelerator) - OVERHEAD + EXPECTED


def settings_of_v1(limits: CgroupLimits, *, of_a_pod: bool) -> Mapping[str, Settings]:
    """The settings by the controller of each hierarchy.

    Args:
        limits: of the machine.
        of_a_pod: the cgroup above belongs to the pod, and a kubelet limits it. With version 1 none below may have a
            quota of more than that, else the kernel refuses both (EINVAL), also when the kubelet lowers it later. The
            machine has more, for QEMU's own work, and so no quota of its own there: that of the pod holds.
    """
    return {
        "memory": {"memory.limit_in_bytes": str(limits.memory)},
        "pids": {"pids.max": str(limits.processes)},
        "cpu": {
            "cpu.cfs_period_us": str(_PERIOD),
            "cpu.cfs_quota_us": "-1" if of_a_pod else str(limits.cpu),
            "cpu.shares": str(_bounded(limits.shares or _KERNELS_SHARES)),
        },
    }


def settings_of_v2(limits: CgroupLimits) -> Settings:
    """The settings in the one hierarchy. A machine of which one process is killed is of no use: all of it is."""
    return {
        "memory.max": str(limits.memory),
        "memory.oom.group": "1",
        "pids.max": str(limits.processes),
        "cpu.max": f"{limits.cpu} {_PERIOD}",
        "cpu.weight": str(weight_of(limits.shares) if limits.shares else _KERNELS_WEIGHT),
    }


def settings_of_vcpus(limits: CgroupLimits) -> Settings:
    """The settings of the threaded cgroup below a machine's, with version 2."""
    return {"cpu.max": f"{limits.vcpus} {_PERIOD}"}


def weight_of(shares: int) -> int:
    """The weight of cgroup v2 for CPU shares of v1, in the kubelet's linear conversion."""
    return 1 + (_bounded(shares) - _LEAST_SHARES) * (_MOST_WEIGHT - 1) // (_MOST_SHARES - _LEAST_SHARES)


def _bounded(shares: int) -> int:
    return min(max(shares, _LEAST_SHARES), _MOST_SHARES)
