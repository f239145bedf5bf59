"""Work in a thread that has left the host's network, IPC and UTS namespaces.

What an embedded libvirt starts for that work has left them as well: QEMU is forked from the thread that creates its
machine. Libvirt itself has no setting for it; a libvirtd starts QEMU where it is itself.

A PID namespace is not among them: libvirt starts QEMU by way of a process that ends at once, which would be the
namespace's first and take all of it along.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from vmsandbox.errors import FailedPrecondition
from vmsandbox.process.namespaces import IPC, NETWORK, UTS, enter, unshare

T = TypeVar("T")


def apart(work: Callable[[], T], network: Path | None) -> T:
    """Return the result of `work`, done in a thread that ends with it.

    Args:
        work: blocks.
        network: the network namespace to work in; None: a new one, empty.

    Raises:
        FailedPrecondition: the namespaces cannot be had.
    """
    with ThreadPoolExecutor(1, "apart") as thread:
        try:
            thread.submit(_leave, network).result()
        except OSError as error:
            raise FailedPrecondition(f"QEMU's namespaces cannot be made: {error}") from None
        return thread.submit(work).result()


def _leave(network: Path | None) -> None:
    if network is None:
        unshare(IPC, UTS, NETWORK)
    else:
        unshare(IPC, UTS)
        enter(network, NETWORK)
