"""The namespaces in which libvirt starts QEMUs, and in which it opens their taps.

A libvirtd starts QEMU where it is itself, and libvirt has no setting for it. What an embedded libvirt starts is forked
from the thread that calls it, and so is in that thread's namespaces. A PID namespace is not among them: libvirt starts
QEMU by way of a process that ends at once, which would be the namespace's first and take all of it along.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor.specification import MachineSpec
from vmsandbox.process import IPC, NETWORK, UTS, enter, unshare

T = TypeVar("T")


class QemuNamespaces:
    """Where the QEMUs of one libvirt are. Work blocks, and calls libvirt."""

    def __init__(self, *, apart: bool) -> None:
        """Take note whether QEMUs are started in namespaces of their own: the libvirt is in this process."""
        self.apart = apart

    def where_started(self, work: Callable[[], T], spec: MachineSpec) -> T:
        """Do work by which libvirt starts a QEMU, and opens its tap, where that is to be done."""
        return apart(work, _network_of(spec)) if self.apart else work()

    def where_tap_is(self, work: Callable[[], T], spec: MachineSpec) -> T:
        """Do work by which libvirt opens the tap of a running machine, where the machine has one."""
        network = _network_of(spec)
        return apart(work, network) if self.apart and network is not None else work()


def apart(work: Callable[[], T], network: Path | None) -> T:
    """Return the result of `work`, done in a thread that has left the host's network, IPC and UTS namespaces.

    Args:
        work: blocks.
        network: the network namespace to work in; None: a new one, empty.

    Raises:
        FailedPrecondition: the namespaces cannot be made.
    """
    with ThreadPoolExecutor(1, "apart") as thread:
        try:
            thread.submit(_leave, network).result()
        except OSError as error:
            raise FailedPrecondition(f"QEMU's namespaces cannot be made: {error}") from None
        return thread.submit(work).result()


def _network_of(spec: MachineSpec) -> Path | None:
    return spec.network.namespace if spec.network is not None else None


def _leave(network: Path | None) -> None:
    if network is None:
        unshare(IPC, UTS, NETWORK)
    else:
        unshare(IPC, UTS)
        enter(network, NETWORK)
