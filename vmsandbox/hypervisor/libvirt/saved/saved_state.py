"""The state of a machine in a file: QEMU's own stream, written and read through descriptors that it is handed.

Libvirt's own calls are of no use here: a machine that it restores has the UUID of the one that was saved.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vmsandbox.errors import DeadlineExceeded, FailedPrecondition, NotFound, VmsandboxError
from vmsandbox.hypervisor.interface import RestoreFailed
from vmsandbox.hypervisor.libvirt import domains
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.connection import LibvirtConnection
from vmsandbox.hypervisor.libvirt.monitor import ask

_LONGEST = 60.0
"""Seconds for writing or reading a state, most of which is as much memory as a booted guest uses."""
_PAUSE, _BOOT_PAUSE = 0.005, 0.2
"""Seconds between looks at QEMU, which tells libvirt of the end, and libvirt nobody; and between those at a boot."""
_BANDWIDTH = 1 << 40
"""Bytes a second: QEMU's default is for networks."""
_CHANNEL = "charchannel0"
"""Libvirt's name for the character device of the one channel of a domain."""


class SavedState:
    """The state of one machine, to be written or read."""

    def __init__(self, connection: LibvirtConnection, name: str) -> None:
        """Nothing is asked yet."""
        self._connection = connection
        self._name = name

    async def wait_booted(self) -> None:
        """Return when the guest has opened the port of its secret. Raises NotFound."""
        while not await self._ask("whether its guest has booted", _has_opened_port):  # noqa: ASYNC110 - as for _PAUSE
            await asyncio.sleep(_BOOT_PAUSE)

    async def save(self, path: Path, *, memory: bool = True) -> None:
        """Stop the machine and write its state, with its memory or without. Raises as `Hypervisor.save`."""
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            await self._ask("for its state", lambda domain: _begin_saving(domain, file, memory=memory))
            if (status := await self._migrated()) != "completed":
                raise FailedPrecondition(f"QEMU has not saved machine {self._name}: {status}")
        finally:
            os.close(file)

    async def load(self, path: Path, *, memory: bool = True) -> None:
        """Have a machine that waits for its state read it, with its memory or without. Raises RestoreFailed."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise RestoreFailed(f"{path} cannot be read: {error.strerror}") from None
        try:
            await self._ask("to read its state", lambda domain: _begin_loading(domain, file, memory=memory))
            if (status := await self._migrated()) != "completed":
                raise RestoreFailed(f"QEMU does not take {path} for machine {self._name}: {status}")
        except RestoreFailed:
            raise
        except VmsandboxError as error:  # QEMU ends where it does not understand the file
            raise RestoreFailed(f"QEMU does not take {path}: {error}", evidence=error.evidence) from None
        finally:
            os.close(file)

    async def _migrated(self) -> str:
        """Wait for the end of what has begun, and return its status with the reason of a failure."""
        end = time.monotonic() + _LONGEST
        while time.monotonic() < end:
            found = await self._ask("how far it is", lambda domain: ask(domain, "query-migrate"))
            if (status := found.get("status")) in ("completed", "failed", "cancelled"):
                return ": ".join(filter(None, (status, found.get("error-desc"))))
            await asyncio.sleep(_PAUSE)
        raise DeadlineExceeded(f"QEMU has not read or written the state of {self._name} within {_LONGEST:g} s")

    async def _ask(self, what: str, work: Callable[["libvirt.virDomain"], Any]) -> Any:
        def find_and_ask(opened: "libvirt.virConnect") -> Any:
            domain = domains.find(opened, self._name)
            if domain is None:
                raise NotFound(f"there is no machine {self._name}")
            return work(domain)

        action = f"libvirt cannot ask QEMU of machine {self._name} {what}"
        return await self._connection.call(action, find_and_ask, repeatable=False)


def _has_opened_port(domain: "libvirt.virDomain") -> bool:
    return any(device["label"] == _CHANNEL and device["frontend-open"] for device in ask(domain, "query-chardev"))


def _begin_saving(domain: "libvirt.virDomain", file: int, *, memory: bool) -> None:
    domain.suspend()
    _leave_memory_out(domain, not memory)
    ask(domain, "migrate-set-parameters", max_bandwidth=_BANDWIDTH)
    ask(domain, "getfd", [file], fdname="state")
    ask(domain, "migrate", uri="fd:state")


def _begin_loading(domain: "libvirt.virDomain", file: int, *, memory: bool) -> None:
    _leave_memory_out(domain, not memory)
    ask(domain, "getfd", [file], fdname="state")
    ask(domain, "migrate-incoming", uri="fd:state")


def _leave_memory_out(domain: "libvirt.virDomain", out: bool) -> None:
    ask(domain, "migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": out}])
