"""Which transport a sandbox gets, and all of it given back by the sandbox's id alone."""

from pathlib import Path

from vmsandbox.claims import Claims, MachineUsers
from vmsandbox.errors import FailedPrecondition
from vmsandbox.guest.transport import vhost_daemon
from vmsandbox.guest.transport.connection import Transport
from vmsandbox.guest.transport.kernel_vsock import CIDS, KernelVsock, cid_is_taken, kernel_has_vhost_vsock
from vmsandbox.guest.transport.vhost_daemon import VHOST_DEVICE_VSOCK
from vmsandbox.guest.transport.vhost_device import VhostDevice


class Transports:
    """Makes and ends the transports of all sandboxes, which another process can take up and end as well."""

    def __init__(self, cids: Path, *, kernel: bool, program: Path = VHOST_DEVICE_VSOCK) -> None:
        """Nothing is made before the first call.

        Args:
            cids: directory of the claims, shared by all processes of this host.
            kernel: use the host kernel's vhost_vsock; else vhost-device-vsock.
            program: vhost-device-vsock.
        """
        self._cids = Claims(cids, CIDS, "vsock CIDs", taken=cid_is_taken if kernel else lambda _cid: False)
        self._kernel = kernel
        self._program = program
        self._started: dict[str, VhostDevice] = {}

    async def start(self, sandbox_id: str, directory: Path, users: MachineUsers) -> Transport:
        """Claim a CID and make the way to it. On failure the caller calls `stop`, as for a whole one.

        Args:
            sandbox_id: the owner of the CID.
            directory: is made where there is a daemon, for its sockets and its log.
            users: the sandbox's.
        """
        cid = await self._cids.allocate(sandbox_id)
        if self._kernel:
            return KernelVsock(cid)
        device = await VhostDevice.start(directory, cid, users, program=self._program)
        self._started[sandbox_id] = device
        return device

    def reopen(self, sandbox_id: str, directory: Path) -> Transport:
        """The transport of a sandbox whose machine runs, after this process was restarted; looks at all processes.

        Raises:
            FailedPrecondition: its daemon has died, or the sandbox has no CID.
        """
        cid = self._cids.of(sandbox_id)
        if cid and self._kernel:
            return KernelVsock(cid)
        device = _find(directory, cid) if cid else None
        if device is None:
            raise FailedPrecondition(f"the vsock daemon of sandbox {sandbox_id} has ended")
        return device

    def stop(self, sandbox_id: str, directory: Path) -> None:
        """Give back the CID and the daemon, when the machine has ended. Succeeds where there is neither.

        It looks at all processes for a daemon that another process of ours has started.
        """
        cid = self._cids.of(sandbox_id)
        device = self._started.pop(sandbox_id, None) or (_find(directory, cid) if cid else None)
        if device is not None:
            device.stop()
        self._cids.release(sandbox_id)


def _find(directory: Path, cid: int) -> VhostDevice | None:
    """The daemon of a directory; versions before its users had one kept its sockets in the sandbox's own directory."""
    for place in (directory, directory.parent):
        if identity := vhost_daemon.find(place, cid):
            return VhostDevice(place, cid, identity)
    return None


def use_kernel(choice: str) -> bool:
    """Whether the configured transport (`auto`, `vsock`, `vhost-device-vsock`) is the kernel's on this host.

    Raises:
        FailedPrecondition: the kernel's is asked for, and this host has none.
    """
    if choice == "vsock" and not kernel_has_vhost_vsock():
        raise FailedPrecondition(
            "this host's kernel has no vhost_vsock",
            hint="`modprobe vhost_vsock`, or `vsock: vhost-device-vsock` in config.yaml",
        )
    return choice == "vsock" or (choice == "auto" and kernel_has_vhost_vsock())
