"""Where a machine is charged: the cgroup of its processes on this host, its limits, and who is killed first.

QEMU, its virtiofsd and the vsock daemon of a pod are in one cgroup, below the one that the pod is given by the kubelet
(CRI LinuxPodSandboxConfig.cgroup_parent), else below the one of the configuration. `place` says where that is, `limits`
what the processes may take together, and the vCPUs alone, and `scores` in which order the kernel kills; these three
only compute.
`hierarchies` knows what this host has mounted, `tree` makes, fills and removes cgroups there, `scope` asks systemd for
one below a slice, `processes` finds who belongs to a machine, `looking` reads which limits hold, and `machine_cgroups`
is all of it together.
"""

from vmsandbox.sandbox.machines.cgroups.limits import CgroupLimits, charge_of, limits_of
from vmsandbox.sandbox.machines.cgroups.machine_cgroups import MachineCgroups
from vmsandbox.sandbox.machines.cgroups.processes import end_file_server, let_kill_first
from vmsandbox.sandbox.machines.cgroups.scores import score_of

__all__ = [
    "CgroupLimits",
    "MachineCgroups",
    "charge_of",
    "end_file_server",
    "let_kill_first",
    "limits_of",
    "score_of",
]
