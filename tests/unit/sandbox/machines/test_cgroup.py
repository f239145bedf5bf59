"""The cgroups of machines in trees of files that look like both versions; the kernel's own is in tests/e2e."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.users import process_of
from vmsandbox.claims import MachineUsers
from vmsandbox.errors import FailedPrecondition, Unavailable
from vmsandbox.hypervisor.base import TCG_CACHE, Accelerator, GuestImage, MachineSpec
from vmsandbox.model import Vsock
from vmsandbox.process import Account
from vmsandbox.sandbox.machines import cgroup
from vmsandbox.sandbox.machines.cgroup import MachineCgroups, let_kill_first, limits_of

IMAGE = GuestImage(Path("kernel"), Path("initramfs"), Path("root"), "", "build")
SPEC = MachineSpec("m", "u", "", IMAGE, 2, 1 << 30, Accelerator.KVM, Account(1, 1), Vsock(3), Path("console"))
LIMITS = limits_of(SPEC)
NOBODY = MachineUsers(Account(1_800_002_000, 0), Account(1_800_002_001, 0))


@pytest.fixture
def emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cgroup's files go with it, which those of other file systems do not."""
    monkeypatch.setattr(Path, "rmdir", shutil.rmtree)


def v1(root: Path) -> MachineCgroups:
    for controller in ("memory", "pids", "cpu"):
        (root / controller).mkdir()
    return MachineCgroups("vmsandbox", root)


def v2(root: Path) -> MachineCgroups:
    (root / "cgroup.controllers").write_text("cpu memory pids\n")
    return MachineCgroups("vmsandbox", root)


def confine(cgroups: MachineCgroups, users: MachineUsers = NOBODY) -> None:
    cgroups.confine("id", SPEC, users)


def written(root: Path) -> dict[str, str]:
    paths = (path for path in root.rglob("*") if path.is_file() and path.name != "cgroup.controllers")
    return {str(path.relative_to(root)): path.read_text() for path in paths}


def test_limits_of_version_1(tmp_path: Path) -> None:
    confine(v1(tmp_path))
    assert written(tmp_path) == {
        "memory/vmsandbox/id/memory.limit_in_bytes": str(LIMITS.memory),
        "pids/vmsandbox/id/pids.max": "514",
        "cpu/vmsandbox/id/cpu.cfs_period_us": "100000",
        "cpu/vmsandbox/id/cpu.cfs_quota_us": "300000",
    }


def test_limits_of_version_2_and_the_controllers_for_them(tmp_path: Path) -> None:
    confine(v2(tmp_path))
    assert written(tmp_path) == {
        "cgroup.subtree_control": "+cpu +memory +pids",
        "vmsandbox/cgroup.subtree_control": "+cpu +memory +pids",
        "vmsandbox/id/memory.max": str(LIMITS.memory),
        "vmsandbox/id/pids.max": "514",
        "vmsandbox/id/cpu.max": "300000 100000",
    }


@pytest.mark.usefixtures("emptied")
@pytest.mark.parametrize("version", [v1, v2])
def test_removing_takes_all_of_one_sandbox_and_can_be_repeated(
    tmp_path: Path, version: Callable[[Path], MachineCgroups]
) -> None:
    cgroups = version(tmp_path)
    confine(cgroups)
    cgroups.confine("other", SPEC, NOBODY)
    for path in tmp_path.rglob("id"):
        (path / "cgroup.procs").touch()
    cgroups.remove("id")
    cgroups.remove("id")
    assert not list(tmp_path.rglob("id")) and list(tmp_path.rglob("other"))


@pytest.mark.parametrize(
    ("version", "file"), [(v1, "memory/vmsandbox/id/memory.oom_control"), (v2, "vmsandbox/id/memory.events")]
)
def test_a_machine_that_was_killed_beyond_its_memory_is_known(
    tmp_path: Path, version: Callable[[Path], MachineCgroups], file: str
) -> None:
    cgroups = version(tmp_path)
    assert not cgroups.killed("id")
    confine(cgroups)
    (tmp_path / file).write_text("under_oom 0\noom_kill 0\n")
    assert not cgroups.killed("id")
    (tmp_path / file).write_text("under_oom 0\noom_kill 1\n")
    assert cgroups.killed("id")


def test_a_host_without_such_cgroups_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="limits cannot be set") as caught:
        confine(MachineCgroups("vmsandbox", tmp_path / "nothing"))
    assert "cgroup_parent" in caught.value.hint


def test_check_says_which_cgroups_there_are_and_what_they_lack(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert "version 1" in v1(tmp_path / "one").check() and "version 2" in v2(tmp_path / "two").check()
    (tmp_path / "one/pids").rmdir()
    (tmp_path / "two/cgroup.controllers").write_text("memory io\n")
    for root, missing in (("one", "pids"), ("two", "cpu, pids")):
        with pytest.raises(FailedPrecondition, match=f"controllers {missing}$"):
            MachineCgroups("vmsandbox", tmp_path / root).check()
    assert "no limits" in MachineCgroups("", tmp_path).check()


def test_machines_without_a_parent_have_no_limits(tmp_path: Path) -> None:
    cgroups = MachineCgroups("", tmp_path)
    confine(cgroups)
    cgroups.remove("id")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def left() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


@pytest.mark.usefixtures("emptied")
def test_what_is_left_in_a_cgroup_is_killed(tmp_path: Path, left: subprocess.Popen[bytes]) -> None:
    cgroups = v2(tmp_path)
    confine(cgroups)
    (tmp_path / "vmsandbox/id/cgroup.procs").write_text(f"{left.pid}\n")
    cgroups.remove("id")
    assert left.wait() == -9


def test_what_cannot_be_killed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_END_DEADLINE", 0.05)
    cgroups = v2(tmp_path)
    confine(cgroups)
    (tmp_path / "vmsandbox/id/cgroup.procs").write_text("")  # and the directory is not empty
    with pytest.raises(Unavailable, match="do not end"):
        cgroups.remove("id")


@pytest.mark.skipif(os.geteuid() != 0, reason="starts a process of another user")
def test_the_processes_are_those_of_the_machines_users_and_no_others(tmp_path: Path) -> None:
    users = MachineUsers(Account(1_800_002_010, 0), Account(1_800_002_011, 0))
    with process_of(users.vsock.uid) as process:
        confine(v2(tmp_path), users)
        assert (tmp_path / "vmsandbox/id/cgroup.procs").read_text() == str(process.pid)
        assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "500\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="starts a process of another user")
def test_a_machine_without_a_cgroup_is_killed_before_the_nodes_services() -> None:
    users = MachineUsers(Account(1_800_002_020, 0), Account(1_800_002_021, 0))
    with process_of(users.qemu.uid) as process:
        let_kill_first(users)
        assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "500\n"


def test_an_emulated_machine_may_keep_its_translated_code() -> None:
    emulated = limits_of(replace(SPEC, accelerator=Accelerator.TCG))
    assert emulated.memory - LIMITS.memory == TCG_CACHE
    assert LIMITS.memory > SPEC.memory
    assert (LIMITS.cpus, LIMITS.processes) == (3, 514)
