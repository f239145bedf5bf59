"""The virtiofsd of a share that is plugged into a machine.

Libvirt starts the virtiofsd of a share that a machine has from its boot. Told to do so for a share that is plugged in,
libvirt 9.0 starts it and then crashes (a libvirtd) or hangs (the embedded one). A virtiofsd that listens already it
does plug in.
"""

import contextlib
import os
import socket
from pathlib import Path

from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor.specification import MachineSpec
from vmsandbox.process import start_daemon

_SOCKET = "share.sock"
_LOG = "share.log"
_LOG_LIMIT = 64 * 1024
"""Bytes of its log: a guest could have it say something without end. The first ones tell why it did not start."""
_EVIDENCE = 4 * 1024
"""Characters of it that an error carries."""


async def serve(spec: MachineSpec) -> Path | None:
    """Start the virtiofsd of a machine's share, and return its socket, beside that of the console; None without share.

    It ends with the machine that has connected to it.

    Raises:
        FailedPrecondition: the program is not installed, or not known.
        Unavailable: it ended at once.
    """
    share = spec.share
    if share is None:
        return None
    if share.server is None:
        raise FailedPrecondition(f"it is not known which virtiofsd serves {share.directory}")
    path = spec.console.with_name(_SOCKET)
    with _listening(path, spec.account.uid) as listener:
        number = listener.fileno()
        command = [str(share.server), f"--fd={number}", "-o", f"source={share.directory}"]
        await start_daemon(command, spec.console.with_name(_LOG), descriptors=[number], most=_LOG_LIMIT)
    return path


def evidence(spec: MachineSpec) -> dict[str, str]:
    """Return what the virtiofsd of a machine has printed, for an error; empty where that is nothing."""
    with contextlib.suppress(OSError):
        if said := spec.console.with_name(_LOG).read_text(errors="replace"):
            return {"virtiofsd": said[-_EVIDENCE:]}
    return {}


def _listening(path: Path, user: int) -> socket.socket:
    """A socket that listens, to which that user may connect."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        os.chown(path, user, 0)
        listener.listen(1)
    except BaseException:
        listener.close()
        raise
    return listener
