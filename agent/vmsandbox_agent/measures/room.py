"""The memory and threads of the machine, and the part of them for containers: the guest lives of the rest."""

from pathlib import Path

from vmsandbox_agent.measures.cgroup_files import number

_KEPT_MEMORY = 16 << 20
"""Bytes for the programs of the agent and for crun, besides what is taken when the agent starts."""
_PAGE_PART = 64
"""The part of plugged memory that the kernel takes to describe it."""
_KEPT_THREADS = 256
"""Threads of the kernel, of the agent and of crun."""
_THREAD_PART, _FILE_PART = 128 << 10, 10 << 10
"""Bytes of memory for each thread and open file that there may be (kernel/fork.c, fs/file_table.c)."""
_TASK_PART = 256 << 10
"""Bytes of the containers' memory for each of their threads: a small process takes about 200 KiB, most of it of the
kernel. So processes that do nothing but multiply come to an end before memory does."""


class Room:
    """The memory and the threads of the machine, which may change its size."""

    def __init__(self, proc: Path) -> None:
        """See what the guest itself takes: no container exists yet. `proc` is the proc file system."""
        self._proc = proc
        self._first, available = self._sizes()
        self._taken = self._first - available

    def total(self) -> int:
        """Return the machine's memory in bytes."""
        return self._sizes()[0]

    def memory(self, total: int) -> int:
        """Return the bytes for all containers of a machine that has `total` bytes."""
        described = max(0, total - self._first) // _PAGE_PART
        return max(total - self._taken - described - _KEPT_MEMORY, total // 4)

    def threads(self, total: int) -> int:
        """Return the processes and threads for all containers of a machine that has `total` bytes."""
        most = min(number(self._proc / "sys/kernel" / name) for name in ("threads-max", "pid_max"))
        return min(most - _KEPT_THREADS, self.memory(total) // _TASK_PART)

    def scale(self, total: int) -> None:
        """Raise what the kernel has derived from the memory that it booted with. Raises OSError."""
        for name, part in (("kernel/threads-max", _THREAD_PART), ("fs/file-max", _FILE_PART)):
            file = self._proc / "sys" / name
            if number(file) < total // part:
                file.write_text(str(total // part))

    def _sizes(self) -> tuple[int, int]:
        """The machine's memory, and what of it is available, in bytes (proc(5), meminfo)."""
        lines = (line.split() for line in (self._proc / "meminfo").read_text().splitlines())
        sizes = {line[0]: int(line[1]) * 1024 for line in lines if len(line) == 3}
        return sizes["MemTotal:"], sizes["MemAvailable:"]
