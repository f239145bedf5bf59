"""The cgroup of one machine, in all hierarchies of this host: filled, resized, listed and removed. Its calls block."""

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.sandbox.machines.cgroups import looking, tree
from vmsandbox.sandbox.machines.cgroups.hierarchies import Hierarchies
from vmsandbox.sandbox.machines.cgroups.limits import (
    CgroupLimits,
    Settings,
    settings_of_v1,
    settings_of_v2,
    settings_of_vcpus,
)
from vmsandbox.sandbox.machines.cgroups.place import PREFIX

_VCPUS = "vcpus"
"""The name of the threaded cgroup below a machine's."""


@dataclass(frozen=True, slots=True)
class MachineCgroup:
    """One path below each mount point."""

    hierarchies: Hierarchies
    path: str

    @property
    def limiting(self) -> Path:
        """The hierarchy that limits memory."""
        return self.hierarchies.directories().get("memory", self.hierarchies.root)

    def fill(self, limits: CgroupLimits, members: Callable[[], Iterable[int]]) -> None:
        """Make it, with limits, and move processes there until a look finds none outside.

        Args:
            limits: those of the machine.
            members: looks for the processes; what they start while they are moved is found by the next look.

        Raises:
            OSError: this host has no such cgroups, or lets nobody make them.
        """
        self.hierarchies.check()
        directories = self.hierarchies.directories()
        for directory in directories.values():
            tree.make(directory, self.path)
        self.limit(limits)
        self.gather(members)

    def gather(self, members: Callable[[], Iterable[int]]) -> None:
        """Move processes there until a look finds none outside. Arguments and errors: as `fill`."""
        directories = self.hierarchies.directories()
        moved = set(self.processes())
        while outside := set(members()) - moved:
            for directory in directories.values():
                tree.move(directory / self.path, sorted(outside))
            moved |= outside

    def split(self, vcpus: Sequence[int]) -> None:
        """Move the threads of a guest's CPUs into a cgroup of their own, with version 2; with version 1 do nothing.

        They have no limit of their own before the next `limit`: a guest that boots has what its machine has. Where they
        are apart already, nothing changes.

        Raises:
            OSError: there are none, or the kernel refuses; they are where they were.
        """
        if self.hierarchies.unified and self.vcpus is None:
            if not vcpus:
                raise ProcessLookupError(errno.ESRCH, "QEMU has no thread with the name of one")
            tree.split(self.hierarchies.root / self.path, _VCPUS, vcpus)

    def limit(self, limits: CgroupLimits) -> None:
        """Set its limits, and that of its vCPUs. No limit of memory hits what is used. Raises OSError."""
        settings: Mapping[str, Settings] = {"": settings_of_v2(limits)}
        if not self.hierarchies.unified:
            settings = settings_of_v1(limits, of_a_pod=bool(_name_below_a_pod(self.path)))
        for controller, directory in self.hierarchies.directories().items():
            tree.limit(directory / self.path, settings.get(controller, {}))
        if (vcpus := self.vcpus) is not None:
            tree.limit(self.hierarchies.root / vcpus, settings_of_vcpus(limits))

    @property
    def vcpus(self) -> str | None:
        """The path of the cgroup of its vCPUs; None: they are with all other threads."""
        path = f"{self.path}/{_VCPUS}"
        return path if self.hierarchies.unified and (self.hierarchies.root / path).exists() else None

    def tightest(self) -> tuple[int, str]:
        """Return the least limit of memory above it, in bytes, and the path of the cgroup that has it; 0 for none."""
        above = [looking.cgroup(self.hierarchies, str(each)) for each in Path(self.path).parents]
        return min(((each.memory_limit, each.path) for each in above if each.memory_limit), default=(0, ""))

    def processes(self) -> list[int]:
        """Return the processes in it; none where it is gone."""
        return list(tree.processes(self.limiting / self.path))

    def remove(self, above: Iterable[str]) -> None:
        """Kill what is left in it and remove it, wherever it is now, and what nobody uses of `above` (`Charge.made`).

        Raises:
            Unavailable: a process does not end.
        """
        directories = self.hierarchies.directories()
        for directory in directories.values():
            tree.remove(_found(directory, self.path))
        for made in above:
            controller, _, path = made.partition(":")
            if controller in directories:
                tree.remove_empty(directories[controller] / path)


def _found(hierarchy: Path, path: str) -> Path:
    """Where a cgroup is: at its path, or below a cgroup that was renamed, as version 1 allows."""
    name = _name_below_a_pod(path)
    if name and not (hierarchy / path).exists():
        for directory, names, _ in os.walk(hierarchy):
            if name in names:
                return Path(directory) / name
    return hierarchy / path


def _name_below_a_pod(path: str) -> str:
    """The name of a machine's cgroup below that of a pod, which is no other's; empty where it is elsewhere."""
    return next((name for name in path.split("/") if name.startswith(PREFIX)), "")
