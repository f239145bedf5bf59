"""Where vhost-device-vsock is on a machine that was set up for the tests."""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vmsandbox.claims import MachineUsers
from vmsandbox.guest.transport.vhost_device import VhostDevice
from vmsandbox.process import Account

INSTALLED = Path("/var/cache/vmsandbox/bin/vhost-device-vsock")


def vhost_device_program() -> Path:
    """The program; fails the test where it is missing, since the setup installs it."""
    if INSTALLED.exists():
        return INSTALLED
    found = shutil.which("vhost-device-vsock")
    if found is None:
        pytest.fail("vhost-device-vsock is not installed; the setup builds it")
    return Path(found)


USERS = MachineUsers(Account(0, 0), Account(1_800_001_001, 1_800_001_001))
"""The users of machines that are started without libvirt: QEMU is root."""


@contextlib.asynccontextmanager
async def vsock_daemon(cid: int) -> AsyncIterator[tuple[VhostDevice, Path]]:
    """A vhost-device-vsock for as long as the context lasts, and a directory for what else the machine has."""
    with tempfile.TemporaryDirectory(prefix="vmsandbox-vsock-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        device = await VhostDevice.start(directory / "vsock", cid, USERS, program=vhost_device_program())
        try:
            yield device, directory
        finally:
            device.stop()
            await device.wait_ended()
