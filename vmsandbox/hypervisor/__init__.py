"""Machines: what a hypervisor is to the rest of vmsandbox, and how a machine's guest is watched from outside.

`Hypervisor` is the interface: a `MachineSpec` in, a running machine and its events out. `vmsandbox.hypervisor.libvirt`
implements it, and is imported by whoever opens a hypervisor.
"""

from vmsandbox.hypervisor.console import ConsoleReader
from vmsandbox.hypervisor.interface import Before, Hypervisor, RestoreFailed
from vmsandbox.hypervisor.machine_events import MachineEvent, MachineState, end_of
from vmsandbox.hypervisor.sizes import MEMORY_BLOCK, TCG_CACHE
from vmsandbox.hypervisor.specification import (
    Accelerator,
    Blocks,
    Disk,
    GuestImage,
    MachineSpec,
    NetworkDevice,
    SharedDirectory,
)

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
