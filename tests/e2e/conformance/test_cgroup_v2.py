"""The cgroups of machines under version 2 of a real kernel, whichever version this host has: that of a guest."""

import os
import sys
from pathlib import Path

import pytest
from cri_api.v1 import api_pb2 as pb

from tests.support.conformance_client import Pod

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        "VMSANDBOX_CGROUP2" not in os.environ, reason="takes minutes under emulation: VMSANDBOX_CGROUP2=1 runs it"
    ),
]

CHECKOUT = Path(__file__).parents[3]
TESTS = "tests/e2e/test_cgroups.py"

ENTER = f"""
set -e
cd /host
for name in bin sbin lib lib64; do ln -s usr/$name $name; done
mkdir -p proc sys dev tmp etc run
mount --bind /dev dev; mount -t proc proc proc; mount -t sysfs sysfs sys
echo root:x:0:0:::/bin/sh > etc/passwd
exec chroot /host /usr/bin/nsenter --target 1 --cgroup /bin/sh -c '
set -e
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cd {CHECKOUT}
export PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
exec {sys.executable} -m pytest -q -p pytest_asyncio.plugin -p no:cacheprovider --noconftest {TESTS} -c /dev/null \\
    --rootdir . -o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=function -o pythonpath=". agent"'
"""
"""Runs the tests with the programs and the Python of this host, and with the cgroups of the guest as their own."""


def test_machines_are_confined_killed_and_removed_as_under_version_1(privileged_pod: Pod) -> None:
    directories = sorted({"/usr", str(CHECKOUT), sys.prefix})
    mounts = [{"host_path": each, "container_path": f"/host{each}", "readonly": True} for each in directories]
    security = {"privileged": True, "namespace_options": {"pid": pb.NODE}}
    container = privileged_pod.start(security=security, mounts=mounts)
    answer = container.exec("sh", "-c", ENTER, timeout=600)
    assert answer.exit_code == 0, (answer.stdout + answer.stderr).decode()
    assert b"passed" in answer.stdout and b"skipped" not in answer.stdout
    left = container.output("nsenter", "-t", "1", "-m", "busybox", "ls", "/sys/fs/cgroup")
    assert "test-" not in left
    container.remove()
