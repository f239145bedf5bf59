"""Telling the caller that a container was killed for want of memory.

The guest's kernel has killed it. Callers look for a kill by the host's kernel in the container's cgroup
(`memory.oom_control`, or `memory.events`); conmon also makes a file, for podman. So the process that stands for the
container ends by such a kill.
"""

import contextlib
import os

_STEP = 1 << 20
_STEPS = 16
"""How much this process takes beyond its cgroup's limit: the kernel may still reclaim some of it."""

_FILES = {
    "memory.limit_in_bytes": ("memory.usage_in_bytes", "memory.swappiness"),
    "memory.max": ("memory.current", "memory.swap.max"),
}
"""The limit, by the version of cgroups; the usage, and the file in which 0 keeps memory from being swapped."""


class MemoryKill:
    """How a kill of the container is told."""

    def __init__(self, bundle: int, cgroup: str) -> None:
        """Open what is needed for it: paths lead elsewhere when this process has another root.

        Args:
            bundle: the descriptor of its directory.
            cgroup: the directory of this process's cgroup that limits memory; empty: it has none.
        """
        self._bundle = bundle
        self.descriptors = {bundle}
        self._cgroup = -1
        with contextlib.suppress(OSError):
            self._cgroup = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self.descriptors.add(self._cgroup)

    def tell(self) -> None:
        """Make the file `oom` in the bundle, as conmon does where it sees the kernel kill: podman looks for that."""
        with contextlib.suppress(OSError):
            os.close(os.open("oom", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644, dir_fd=self._bundle))

    def end_this_process(self) -> None:
        """Have the kernel kill this process for memory; return where it does not.

        In version 1 a kill is not told to the cgroups above, and the limit of one that has others below it is theirs,
        too: the machine would be killed.
        """
        with contextlib.suppress(OSError), os.scandir(self._cgroup) as entries:
            is_directory = {entry.name: entry.is_dir() for entry in entries}
            limit = next(name for name in _FILES if name in is_directory)
            if not any(is_directory.values()):
                self._outgrow(limit)

    def _outgrow(self, limit: str) -> None:
        usage, swap = _FILES[limit]
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # Commands of `exec` that are about to end are not killed in its place.
        with contextlib.suppress(OSError):
            self._write(swap, "0")
        with open(usage, encoding="ascii", opener=self._opener) as file:
            used = int(file.read())
        self._write(limit, str(used + _STEP))
        taken = []
        for _ in range(_STEPS):
            taken.append(b"x" * _STEP)

    def _write(self, name: str, text: str) -> None:
        with open(name, "w", encoding="ascii", opener=self._opener) as file:
            file.write(text)

    def _opener(self, name: str, flags: int) -> int:
        return os.open(name, flags & ~os.O_CREAT | os.O_CLOEXEC, dir_fd=self._cgroup)
