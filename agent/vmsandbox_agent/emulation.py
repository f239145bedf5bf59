"""Programs whose addresses are not drawn, in a guest that is emulated: its emulator translates them once.

QEMU (7.2) finds what it has translated by the addresses that the code had. Linux draws them anew for each process, so
that each one of a program is translated anew, although its pages are the same ones.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from vmsandbox.protocol.codec import JSON
from vmsandbox_agent import syscalls

USUAL: JSON = {"domain": "LINUX"}
"""The personality (OCI runtime-spec, `linux.personality`) of a process whose addresses are drawn, as by default."""


def is_emulated(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU says that it is QEMU's emulator; the others that say nothing have nothing to gain."""
    return "QEMU TCG" in cpuinfo.read_text()


@contextlib.contextmanager
def fixed_addresses(*, wanted: bool) -> Iterator[None]:
    """Have what this thread starts in the block, and that in turn, have the same addresses each time, where `wanted`.

    It is for the agent's helpers. A container's process has to be given `USUAL`.
    """
    if not wanted:
        yield
        return
    before = syscalls.personality(syscalls.AS_IT_IS)
    syscalls.personality(before | syscalls.ADDR_NO_RANDOMIZE)
    try:
        yield
    finally:
        syscalls.personality(before)
