"""The cgroup hierarchies of this host: one with version 2, one for each controller or some of them with version 1."""

from pathlib import Path

from vmsandbox.errors import FailedPrecondition

NEEDED = ("memory", "pids", "cpu")
"""The controllers without which a machine has no limits."""
COUNTED = ("cpuacct", "blkio", "cpuset")
"""Hierarchies of version 1 in which kubelet and cAdvisor count a pod, or bind it to CPUs, and set no limit of ours."""


class Hierarchies:
    """The cgroup file systems that are mounted below a directory. Each call looks anew: mounts come and go."""

    def __init__(self, root: Path) -> None:
        """Look below `root`: /sys/fs/cgroup, or a tree that looks like it."""
        self.root = root

    @property
    def unified(self) -> bool:
        """Whether it is version 2. A host that mounts some controllers so and some so is one of version 1."""
        return (self.root / "cgroup.controllers").exists()

    def directories(self) -> dict[str, Path]:
        """The mount points by their controllers; with version 2 the root, whose name is empty.

        Controllers that are mounted together (`cpu,cpuacct`) are one directory, under the name that comes first.
        """
        if self.unified:
            return {"": self.root}
        found: dict[Path, str] = {}
        for controller in (*NEEDED, *COUNTED):
            if (self.root / controller).is_dir():
                found.setdefault((self.root / controller).resolve(), controller)
        return {controller: directory for directory, controller in found.items()}

    def check(self) -> None:
        """Raise FailedPrecondition where this host cannot limit a machine."""
        if self.unified:
            available = set((self.root / "cgroup.controllers").read_text().split())
        else:
            available = {controller for controller in NEEDED if (self.root / controller).is_dir()}
        if missing := sorted(set(NEEDED) - available):
            raise FailedPrecondition(
                f"machines cannot be limited: {self.root} lacks the cgroup controllers {', '.join(missing)}",
                hint="the kernel's command line may have switched them off (cgroup_disable, cgroup_no_v1)",
            )
