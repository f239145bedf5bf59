"""A libvirt inside this process: its directory and configuration, and what it needs of the process.

A process has one, opened once and for good: libvirt (9.0) registers its driver anew at every opening, and has room for
twenty.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor.bindings import libvirt
from vmsandbox.hypervisor.reaper import reaping

QEMU_USER = "libvirt-qemu"
QEMU_GROUP = "kvm"

_CONFIGURATION = f"""\
# Written by vmsandbox; changes are lost.
user = "{QEMU_USER}"
group = "{QEMU_GROUP}"
# The distributions' AppArmor and SELinux rules know the directories of the system's libvirt, not of this one.
security_driver = "none"
seccomp_sandbox = 1
# QEMU sees a /dev of its own.
namespaces = [ "mount" ]
# Sizing a machine is enough here; the hierarchy belongs to whoever runs this process.
cgroup_controllers = [ ]
# There is no virtlogd.
stdio_handler = "file"
# Nothing is emulated by a TPM, but its user must exist.
swtpm_user = "root"
swtpm_group = "root"
"""


_opened: dict[Path, "libvirt.virConnect"] = {}
_opening = threading.Lock()


@contextlib.contextmanager
def prepared(root: Path) -> Iterator[None]:
    """Have a libvirt's directory at `root`, which is kept, and reap its daemons while the context lasts.

    QEMU's user passes through it to its own files.

    Raises:
        FailedPrecondition: this process has an embedded libvirt elsewhere.
    """
    if other := _opened.keys() - {root}:
        raise FailedPrecondition(
            f"this process has an embedded libvirt at {other.pop()}, and cannot have one at {root}"
        )
    (root / "etc").mkdir(parents=True, exist_ok=True)
    root.chmod(0o711)
    (root / "etc/qemu.conf").write_text(_CONFIGURATION)
    with reaping():
        yield


def connection(root: Path) -> "libvirt.virConnect":
    """The connection to the libvirt at `root`, shared by all who ask, and never closed. Raises libvirt's errors."""
    with _opening:
        if root not in _opened:
            _opened[root] = libvirt.open(f"qemu:///embed?root={quote(str(root))}")
        return _opened[root]
