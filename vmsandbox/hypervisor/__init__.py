"""Machines: what a hypervisor is to the rest of vmsandbox, and how a machine's guest is watched from outside.

`Hypervisor` is the interface: a `MachineSpec` in, a running machine and its events out. `vmsandbox.hypervisor.libvirt`
implements it, and is imported by whoever opens a hypervisor.
"""

from vmsandbox.hypervisor.base import (
    MEMORY_BLOCK,
    TCG_CACHE,
    Accelerator,
    Before,
    Blocks,
    Disk,
    GuestImage,
    Hypervisor,
    MachineEvent,
    MachineSpec,
    MachineState,
    NetworkDevice,
    RestoreFailed,
    SharedDirectory,
    end_of,
)
from vmsandbox.hypervisor.console import ConsoleReader

__all__ = [
    "MEMORY_BLOCK",
    "TCG_CACHE",
    "Accelerator",
    "Before",
    "Blocks",
    "ConsoleReader",
    "Disk",
    "GuestImage",
    "Hypervisor",
    "MachineEvent",
    "MachineSpec",
    "MachineState",
    "NetworkDevice",
    "RestoreFailed",
    "SharedDirectory",
    "end_of",
]
