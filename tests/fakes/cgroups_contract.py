"""The contract of cgroups: one suite for trees of files that look like them, and for the kernel's own."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.users import process_of
from vmsandbox.claims import MachineUsers
from vmsandbox.errors import FailedPrecondition, InvalidArgument
from vmsandbox.hypervisor import Accelerator, GuestImage, MachineSpec
from vmsandbox.model import MachineSize, PodSandboxConfig, PodSandboxMetadata, Resources, Vsock
from vmsandbox.process import Account
from vmsandbox.sandbox.machines.cgroups import MachineCgroups, limits_of, tree
from vmsandbox.sandbox.machines.cgroups.processes import vcpu_threads

IMAGE = GuestImage(Path("kernel"), Path("initramfs"), Path("root"), "", "build")
SIZE = MachineSize(2, 1 << 30)
SPEC = MachineSpec("m", "u", "", IMAGE, SIZE, SIZE, Accelerator.KVM, Account(1, 1), Vsock(3), Path("console"))
USERS = MachineUsers(Account(1_800_002_000, 0), Account(1_800_002_001, 0))
ID = "0123456789abcdef0123456789abcdef"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="starts processes of other users")


def pod(cgroup_parent: str = "", **more: Resources) -> PodSandboxConfig:
    return PodSandboxConfig(PodSandboxMetadata("web", "uid", "default"), cgroup_parent=cgroup_parent, **more)


class CgroupsContract:
    """Inherit from it, with the fixtures `root`, and `top`: the name of a cgroup of the test's own."""

    @pytest.fixture
    def cgroups(self, root: Path, top: str, tmp_path: Path) -> MachineCgroups:
        return MachineCgroups(top, tmp_path / "charges", root)

    @pytest.fixture
    def qemu(self) -> Iterator[int]:
        with process_of(USERS.qemu.uid) as process:
            yield process.pid

    @pytest.fixture
    def hierarchies(self, root: Path) -> list[Path]:
        """The mount points of the controllers that a machine needs."""
        if (root / "cgroup.controllers").exists():
            return [root]
        return [root / name for name in ("memory", "pids", "cpu")]

    @pytest.fixture
    def parent(self, root: Path, top: str, hierarchies: list[Path]) -> Iterator[str]:
        """The cgroup of a pod, as the kubelet makes it: in each hierarchy."""
        path = f"{top}-kubepods/burstable/pod1"
        every = hierarchies if hierarchies == [root] else [each for each in root.iterdir() if (each / "tasks").exists()]
        for hierarchy in {*hierarchies, *every}:
            tree.make(hierarchy, f"{path}/below")
            (hierarchy / path / "below").rmdir()
        yield path
        for hierarchy in {*hierarchies, *every}:
            for depth in range(3):
                with contextlib.suppress(OSError):
                    (hierarchy / path).parents[depth].joinpath((path.split("/"))[2 - depth]).rmdir()

    @pytest.mark.parametrize("slash", ["", "/"])
    async def test_a_machine_is_below_the_cgroup_of_its_pod(
        self, cgroups: MachineCgroups, hierarchies: list[Path], parent: str, qemu: int, slash: str
    ) -> None:
        await cgroups.confine(ID, SPEC, USERS, pod(f"{slash}{parent}"))
        for hierarchy in hierarchies:
            assert pids(hierarchy / parent / f"vmsandbox-{ID}") == [qemu]
            assert pids(hierarchy / parent) == []
        await cgroups.remove(ID)
        assert [left for hierarchy in hierarchies for left in (hierarchy / parent).glob("*/")] == []
        assert all((hierarchy / parent).exists() for hierarchy in hierarchies)

    async def test_a_pod_without_a_cgroup_has_its_machine_below_the_configured_one(
        self, cgroups: MachineCgroups, hierarchies: list[Path], top: str, qemu: int
    ) -> None:
        for none in ("", "/", "-.slice"):
            await cgroups.confine(ID, SPEC, USERS, pod(none))
            assert [pids(hierarchy / top / ID) for hierarchy in hierarchies] == [[qemu]] * len(hierarchies)
        await cgroups.remove(ID)

    async def test_cgroups_above_that_were_missing_go_with_the_last_machine_that_uses_them(
        self, cgroups: MachineCgroups, hierarchies: list[Path], top: str
    ) -> None:
        made = f"{top}-by-hand/deep/pod"
        for sandbox_id in (ID, ID[::-1]):
            await cgroups.confine(sandbox_id, SPEC, USERS, pod(made))
        await cgroups.remove(ID)
        assert all((hierarchy / made).exists() for hierarchy in hierarchies)
        await cgroups.remove(ID[::-1])
        assert not any((hierarchy / f"{top}-by-hand").exists() for hierarchy in hierarchies)

    async def test_what_the_kubelet_has_removed_first_is_not_missed(
        self, cgroups: MachineCgroups, hierarchies: list[Path], parent: str
    ) -> None:
        await cgroups.confine(ID, SPEC, USERS, pod(parent))
        for hierarchy in hierarchies:
            (hierarchy / parent / f"vmsandbox-{ID}").rmdir()
            (hierarchy / parent).rmdir()
        assert cgroups.killed(ID) == ""
        await cgroups.remove(ID)
        await cgroups.remove(ID)

    async def test_a_process_with_other_settings_finds_the_cgroup(
        self, cgroups: MachineCgroups, hierarchies: list[Path], parent: str, root: Path, tmp_path: Path, qemu: int
    ) -> None:
        await cgroups.confine(ID, SPEC, USERS, pod(parent))
        limits = limits_of(MachineSize(7, 2 << 30), Accelerator.KVM)
        for another in ("another", ""):
            later = MachineCgroups(another, tmp_path / "charges", root)
            await later.resize(ID, limits)
        found = settings(hierarchies, f"{parent}/vmsandbox-{ID}")
        assert str(limits.memory) in (found.get("memory.max"), found.get("memory.limit_in_bytes"))
        await later.remove(ID)
        assert [left for hierarchy in hierarchies for left in (hierarchy / parent).glob("*/")] == []

    async def test_the_limits_are_those_of_the_machine_and_of_its_pod(
        self, cgroups: MachineCgroups, hierarchies: list[Path], top: str
    ) -> None:
        declared = Resources(cpu_period=50_000, cpu_quota=25_000, cpu_shares=512)
        await cgroups.confine(ID, SPEC, USERS, pod(resources=declared))
        found = settings(hierarchies, f"{top}/{ID}")
        memory = limits_of(SIZE, Accelerator.KVM).memory
        assert {found.get("memory.max"), found.get("memory.limit_in_bytes")} == {str(memory), None}
        assert found["pids.max"] == "752"
        assert "150000 100000" in (found.get("cpu.max"), f"{found.get('cpu.cfs_quota_us')} 100000")
        assert {found.get("cpu.weight"), found.get("cpu.shares")} in ({"512", None}, {"20", None})
        await cgroups.remove(ID)

    async def test_a_machine_that_yielded_the_cpu_while_it_waited_does_not_as_a_pod_that_declares_nothing(
        self, cgroups: MachineCgroups, hierarchies: list[Path], top: str
    ) -> None:
        await cgroups.confine(ID, SPEC, USERS, pod(resources=Resources(cpu_shares=2)))
        waiting = settings(hierarchies, f"{top}/{ID}")
        await cgroups.move(ID, SPEC, USERS, pod())
        claimed = settings(hierarchies, f"{top}/{ID}")
        for found, shares, weight in ((waiting, "128", "5"), (claimed, "1024", "100")):
            assert {found.get("cpu.shares"), found.get("cpu.weight")} in ({shares, None}, {weight, None})
        await cgroups.remove(ID)

    async def test_a_kubelet_limits_the_cpu_time_of_a_pod_to_less_than_its_machine_s(
        self, cgroups: MachineCgroups, hierarchies: list[Path], parent: str
    ) -> None:
        cpu = hierarchies[-1] / parent
        file, quota = ("cpu.max", "{} 100000") if (cpu / "cpu.max").exists() else ("cpu.cfs_quota_us", "{}")
        (cpu / file).write_text(quota.format(120_000))
        one, two = (Resources(cpu_period=100_000, cpu_quota=cpus * 100_000) for cpus in (1, 2))
        await cgroups.confine(ID, SPEC, USERS, pod(parent, resources=one))
        await cgroups.resize(ID, limits_of(SIZE, Accelerator.KVM, two))
        for cpus in (2.2, 0.5):
            (cpu / file).write_text(quota.format(int(cpus * 100_000)))
        own = settings(hierarchies, f"{parent}/vmsandbox-{ID}")[file]
        assert own == ("300000 100000" if file == "cpu.max" else "-1")
        await cgroups.remove(ID)

    async def test_limits_follow_the_size_of_a_machine(
        self, cgroups: MachineCgroups, hierarchies: list[Path], top: str
    ) -> None:
        await cgroups.confine(ID, SPEC, USERS, pod())
        for size in (MachineSize(4, 4 << 30), SIZE):
            limits = limits_of(size, Accelerator.KVM)
            await cgroups.resize(ID, limits)
            found = settings(hierarchies, f"{top}/{ID}")
            assert f"{limits.cpu} 100000" in (found.get("cpu.max"), f"{found.get('cpu.cfs_quota_us')} 100000")
            assert str(limits.memory) in (found.get("memory.max"), found.get("memory.limit_in_bytes"))
        await cgroups.remove(ID)

    async def test_the_vcpus_of_a_machine_are_apart_where_the_kernel_lets_threads_be(
        self, cgroups: MachineCgroups, hierarchies: list[Path], root: Path, top: str
    ) -> None:
        machine, pods = f"{top}/{ID}", Resources(cpu_period=100_000, cpu_quota=50_000)
        with process_of(USERS.qemu.uid, (sys.executable, "-c", QEMU), ready=b"\n") as process:
            (vcpu,) = vcpu_threads(USERS.qemu)
            await cgroups.confine(ID, SPEC, USERS, pod(resources=pods))
            own = root / machine / "vcpus"
            assert own.exists() == (hierarchies == [root])
            if own.exists():
                assert [int(thread) for thread in read(own / "cgroup.threads").split()] == [vcpu]
                assert read(own / "cgroup.type") == "threaded"
                assert (read(own / "cpu.max"), read(own / "cpu.weight")) == ("max 100000", "100")
                await cgroups.resize(ID, limits_of(SIZE, Accelerator.KVM, pods))
                assert read(own / "cpu.max") == "62500 100000"
            assert await cgroups.processes(ID) == [process.pid]
            _, above = await cgroups.look(ID, None)
            assert [each.cpu_limit for each in above if each.path == f"/{machine}/vcpus"] == [0.625] * own.exists()
            await cgroups.remove(ID)
            assert process.wait() == -9
        assert not any((hierarchy / machine).exists() for hierarchy in hierarchies)

    async def test_what_is_left_in_a_cgroup_is_killed(
        self, cgroups: MachineCgroups, hierarchies: list[Path], top: str
    ) -> None:
        with process_of(USERS.vsock.uid) as process:
            await cgroups.confine(ID, SPEC, USERS, pod())
            await cgroups.remove(ID)
            assert process.wait() == -9
        assert not any((hierarchy / top / ID).exists() for hierarchy in hierarchies)

    async def test_processes_that_were_moved_elsewhere_do_not_hold_up_the_removal(
        self, cgroups: MachineCgroups, hierarchies: list[Path], top: str, qemu: int
    ) -> None:
        await cgroups.confine(ID, SPEC, USERS, pod())
        for hierarchy in hierarchies:
            (hierarchy / "cgroup.procs").write_text(str(qemu))
            if pids(hierarchy / top / ID):  # a file does not lose what is written to another
                (hierarchy / top / ID / "cgroup.procs").write_text("")
        await cgroups.remove(ID)
        assert Path(f"/proc/{qemu}").exists()
        assert not any((hierarchy / top / ID).exists() for hierarchy in hierarchies)

    async def test_a_machine_is_killed_when_its_turn_comes_as_that_of_its_pod(
        self, cgroups: MachineCgroups, hierarchies: list[Path], qemu: int
    ) -> None:
        await cgroups.confine(ID, SPEC, USERS, pod())
        assert read(Path(f"/proc/{qemu}/oom_score_adj")) == "500"
        for score in (1000, 3, -997):
            await cgroups.score(ID, score)
            found = int(read(Path(f"/proc/{qemu}/oom_score_adj")))
            assert found == score or (found == 0 and score < 0)  # nobody here may protect a process
        await cgroups.remove(ID)

    @pytest.mark.parametrize("wrong", ["/a/../b", "..", "a/./b", "a\nb", "/a/" + 256 * "b", "a/" * 1200, "a--b.slice"])
    async def test_what_is_not_the_path_of_a_cgroup_is_refused(self, cgroups: MachineCgroups, wrong: str) -> None:
        with pytest.raises(InvalidArgument, match="cgroup_parent"):
            await cgroups.confine(ID, SPEC, USERS, pod(wrong))
        await cgroups.remove(ID)

    async def test_limits_of_a_machine_without_a_cgroup_cannot_be_changed(self, cgroups: MachineCgroups) -> None:
        with pytest.raises(FailedPrecondition, match="cannot be changed"):
            await cgroups.resize(ID, limits_of(SIZE, Accelerator.KVM))


QEMU = """
import threading
def vcpu():
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as name:
        name.write("CPU 0/KVM")
    print(flush=True)
    threading.Event().wait()
threading.Thread(target=vcpu).start()
"""
"""Program of a process whose second thread has the name of a vCPU."""


def read(file: Path) -> str:
    return file.read_text().strip()


def pids(cgroup: Path) -> list[int]:
    return [int(pid) for pid in read(cgroup / "cgroup.procs").split()]


def settings(hierarchies: list[Path], path: str) -> dict[str, str]:
    files = (file for hierarchy in hierarchies for file in (hierarchy / path).iterdir() if file.is_file())
    return {file.name: read(file) for file in files if file.stat().st_mode & 0o400 and file.name in _SETTINGS}


_SETTINGS = (
    "memory.max",
    "memory.limit_in_bytes",
    "pids.max",
    "cpu.max",
    "cpu.cfs_quota_us",
    "cpu.weight",
    "cpu.shares",
)
