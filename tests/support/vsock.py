"""Where vhost-device-vsock is on a machine that was set up for the tests."""

import shutil
from pathlib import Path

import pytest

INSTALLED = Path("/var/cache/vmsandbox/bin/vhost-device-vsock")


def vhost_device_program() -> Path:
    """The program; fails the test where it is missing, since the setup installs it."""
    if INSTALLED.exists():
        return INSTALLED
    found = shutil.which("vhost-device-vsock")
    if found is None:
        pytest.fail("vhost-device-vsock is not installed; the setup builds it")
    return Path(found)
