"""The libvirt that the daemon of this node uses, opened: `serve` and `check` do the same.

`libvirt: auto` means, in this order:

1. the libvirtd of our own (`own_libvirt`), if it has machines: those of an earlier daemon, which are to be taken back;
2. the system's (qemu:///system), if it answers;
3. the libvirtd of our own, which is started.

Where the system's has machines of sandboxes and does not answer, that is an error: those machines belong to it.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from vmsandbox.config import AUTO, Config
from vmsandbox.errors import Unavailable
from vmsandbox.hypervisor.libvirt import LibvirtHypervisor
from vmsandbox.node.instance import daemon_runtime
from vmsandbox.node.libvirt_files import answers, has_machines
from vmsandbox.node.own_libvirt import OwnLibvirt

SYSTEM = "qemu:///system"
SYSTEM_RUN = Path("/run/libvirt")
_SYSTEM_SOCKETS = ("virtqemud-sock", "libvirt-sock")


@contextlib.asynccontextmanager
async def opened(
    libvirt: str, own: OwnLibvirt, system_run: Path = SYSTEM_RUN, programs: Path | None = None
) -> AsyncIterator[LibvirtHypervisor]:
    """The machines of a libvirt, while the context lasts.

    Args:
        libvirt: `libvirt` of the configuration, or the URI of an embedded one.
        own: is started for `auto`, if need be.
        system_run: the directory of the system's libvirt that has its sockets.
        programs: as for `LibvirtHypervisor.open`.

    Raises:
        Unavailable: it does not answer.
        VmsandboxError: see `LibvirtHypervisor.open` and `OwnLibvirt.used`.
    """
    if libvirt != AUTO or not is_own(own, system_run):
        uri = SYSTEM if libvirt == AUTO else libvirt
        async with LibvirtHypervisor.open(uri, programs=programs) as hypervisor:
            yield hypervisor
        return
    async with own.used(), LibvirtHypervisor.open(own.uri, own.ensure, programs) as hypervisor:
        yield hypervisor


def is_own(own: OwnLibvirt, system_run: Path = SYSTEM_RUN) -> bool:
    """Whether `auto` means the libvirtd of our own now. Raises Unavailable, as `opened`."""
    if own.has_machines:
        return True
    if any(answers(system_run / name) for name in _SYSTEM_SOCKETS):
        return False
    if has_machines(system_run):
        raise Unavailable(
            f"{SYSTEM} has machines of vmsandbox, and does not answer",
            hint="systemctl start libvirtd.socket (or virtqemud.socket); then start this again",
        )
    return True


def is_embedded(libvirt: str) -> bool:
    """Whether the configuration has libvirt run inside the daemon."""
    return libvirt.startswith("qemu:///embed")


def own_libvirt(config: Config) -> OwnLibvirt:
    """The libvirtd of our own of this node; whether it runs or not."""
    return OwnLibvirt(config.run_directory / "libvirtd", daemon_runtime(config.run_directory))
