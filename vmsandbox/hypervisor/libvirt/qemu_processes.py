"""The usage of machines: that of their QEMUs, from the host's kernel (proc(5)).

Libvirt is not asked. How much memory is resident it tells only when QEMU has told it of the balloon, and a QEMU that
hangs then keeps the domain, and one of the few threads that call libvirt.

A QEMU is found by the name on its command line, which libvirt gives it. So it is also where libvirtd has namespaces of
its own, and keeps its pid files in them.
"""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from vmsandbox.errors import NotFound
from vmsandbox.model import MachineUsage
from vmsandbox.process import ProcessIdentity, name_of, usage_of

_PROGRAM = "qemu-system-"
"""How the names of QEMU's processes begin. No other's command line is read: that waits for a process that hangs."""


class QemuProcesses:
    """The QEMUs of this host by the names of their machines, found again when one is not known. For any thread."""

    def __init__(self) -> None:
        """Nothing is looked at before the first call."""
        self._known: Mapping[str, ProcessIdentity] = {}
        self._looking = threading.Lock()

    def usage(self, name: str) -> MachineUsage:
        """Return the current usage of a machine. Raises NotFound if no process of that name exists."""
        try:
            return _usage(self.pid(name))
        except (KeyError, OSError):
            raise _none(name) from None

    def pid(self, name: str) -> int:
        """Return the pid of a machine. Raises NotFound if no process of that name exists."""
        try:
            return self._find(name).pid
        except KeyError:
            raise _none(name) from None

    def _find(self, name: str) -> ProcessIdentity:
        """Raises KeyError."""
        known = self._known.get(name)
        if known is None or not known.alive():
            with self._looking:
                if self._known.get(name) is known:  # Else another thread has just looked.
                    alive = {name: identity for name, identity in self._known.items() if identity.alive()}
                    self._known = _qemus() | alive
        return self._known[name]


def _none(name: str) -> NotFound:
    return NotFound(
        f"there is no QEMU of machine {name}",
        hint="if it runs, vmsandbox has to be in the host's PID namespace to see it",
    )


def _qemus() -> dict[str, ProcessIdentity]:
    claims: defaultdict[str, list[ProcessIdentity]] = defaultdict(list)
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            pid = int(directory.name)
            if name_of(pid).startswith(_PROGRAM) and (identity := ProcessIdentity.of(pid)):
                claims[machine_of((directory / "cmdline").read_bytes())].append(identity)
    # A QEMU that its guest has taken over can write what it likes on its command line.
    return {name: claimants[0] for name, claimants in claims.items() if len(claimants) == 1}


def machine_of(command_line: bytes) -> str:
    """The machine whose QEMU was started with a command line (/proc/PID/cmdline); empty where there is none."""
    arguments = command_line.split(b"\0")
    with contextlib.suppress(ValueError, IndexError):
        key, _, value = arguments[arguments.index(b"-name") + 1].partition(b",")[0].partition(b"=")
        return value.decode(errors="replace") if key == b"guest" else ""
    return ""


def _usage(pid: int) -> MachineUsage:
    """Raises OSError, or KeyError when it ends at this moment."""
    at, usage = time.time_ns(), usage_of(pid)
    return MachineUsage(
        at=at,
        cpu=usage.cpu,
        memory=usage.anonymous + usage.shared + usage.files,
        # The guest's memory is shared where virtiofsd maps it, too, and else anonymous.
        working_set=usage.anonymous + usage.shared,
        page_faults=usage.page_faults,
        major_page_faults=usage.major_page_faults,
    )
