"""The systemd unit, as systemd itself sees it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.unit import EMBEDDED, UNIT, remove_devices, values

CONTAINERD = UNIT.with_name("vmsandbox-containerd.service")
APPARMOR = UNIT.parents[1] / "apparmor.d/vmsandbox"
PROFILES = ("vsock", "skopeo", "builder")

HIGHEST_EXPOSURE = 6.2
"""docs/security.md, "The unit", says what keeps it from being lower."""

MOUNT_NAMESPACE = (
    "BindPaths", "BindReadOnlyPaths", "ExecPaths", "InaccessiblePaths", "MountAPIVFS", "NoExecPaths", "PrivateDevices",
    "PrivateIPC", "PrivateMounts", "PrivateNetwork", "PrivateTmp", "PrivateUsers", "ProcSubset", "ProtectControlGroups",
    "ProtectHome", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "ProtectProc", "ProtectSystem",
    "ReadOnlyPaths", "ReadWritePaths", "RootDirectory", "RootImage", "TemporaryFileSystem",
)  # fmt: skip
"""Settings with which systemd gives a service a namespace of its own: of mounts, or of something else of the host's."""


def analyze(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("unit", [UNIT, CONTAINERD])
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, unit: Path) -> None:
    """But for the program, which is where somebody has installed it."""
    program = Path(sys.executable).with_name("vmsandbox")
    (tmp_path / unit.name).write_text(unit.read_text().replace("/usr/bin/vmsandbox", str(program)))
    verified = analyze("verify", "--man=no", tmp_path / unit.name)
    assert (verified.stdout, verified.stderr, verified.returncode) == ("", "", 0)


def test_the_units_exposure_is_as_low_as_its_work_allows() -> None:
    shown = analyze("security", "--offline=true", UNIT)
    found = re.search(r"Overall exposure level for vmsandbox.service: ([0-9.]+)", shown.stdout)
    assert found, shown.stderr
    assert float(found[1]) <= HIGHEST_EXPOSURE


@pytest.mark.parametrize("key", MOUNT_NAMESPACE)
def test_the_unit_stays_in_the_namespaces_of_the_host(key: str) -> None:
    assert values(key) == []
    assert values(key, EMBEDDED) == []
    assert values(key, CONTAINERD) == []


def test_overlays_of_containerds_roots_can_do_what_those_of_the_daemon_can() -> None:
    """An overlay acts with the capabilities of the process that has mounted it."""
    files = {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETFCAP", "CAP_MKNOD"}
    assert files < set(values("CapabilityBoundingSet"))
    (line,) = re.findall("(?m)^CapabilityBoundingSet=(.*)$", CONTAINERD.read_text())
    assert set(line.split()) == {*files, "CAP_SYS_ADMIN"}


def test_the_drop_in_for_an_embedded_libvirt_is_sound_and_takes_back_what_qemu_needs(tmp_path: Path) -> None:
    (tmp_path / UNIT.name).write_text(UNIT.read_text().replace("/usr/bin/vmsandbox", "/usr/bin/true"))
    drop_ins = tmp_path / f"{UNIT.name}.d"
    drop_ins.mkdir()
    (drop_ins / EMBEDDED.name).write_text(EMBEDDED.read_text())
    verified = analyze("verify", "--man=no", tmp_path / UNIT.name)
    assert (verified.stdout, verified.stderr, verified.returncode) == ("", "", 0)
    for key in ("MemoryDenyWriteExecute", "RestrictSUIDSGID", "RestrictNamespaces", "ProtectClock"):
        assert values(key) and values(key, EMBEDDED)[-1] == "no"
    assert values("DevicePolicy", EMBEDDED)[-1] == "auto" and values("DeviceAllow", EMBEDDED) == []
    assert {"CAP_MKNOD", "CAP_SYS_ADMIN"} <= set(values("CapabilityBoundingSet", EMBEDDED))


_PREPARE = """
import asyncio, pathlib, sys
from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor.libvirt import embedded
async def prepare():
    async with embedded.prepared(pathlib.Path(sys.argv[1])):
        print("prepared")
try:
    asyncio.run(prepare())
except FailedPrecondition as error:
    print(error.hint)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="capabilities are given up by root")
@pytest.mark.parametrize(("options", "heard"), [([], "embedded-libvirt.conf"), (["--embedded"], "prepared")])
def test_a_libvirt_inside_the_daemon_needs_the_drop_in_and_says_so(
    tmp_path: Path, options: list[str], heard: str
) -> None:
    command = [sys.executable, "-m", "tests.support.unit", *options, sys.executable, "-c", _PREPARE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said, _ = process.communicate()
    remove_devices(process.pid)
    assert heard in said


def test_a_file_of_the_service_is_roots_alone() -> None:
    assert values("UMask") == ["0077"]


def test_apparmor_accepts_the_profiles_of_the_helpers() -> None:
    command = ["apparmor_parser", "--skip-kernel-load", "--skip-cache", "--names", APPARMOR]
    parsed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (parsed.returncode, set(parsed.stdout.split())) == (0, {f"vmsandbox-{name}" for name in PROFILES})
    compiled = subprocess.run([*command[:3], "--stdout", APPARMOR], capture_output=True, check=False)
    assert compiled.returncode == 0 and len(compiled.stdout) > 1000
