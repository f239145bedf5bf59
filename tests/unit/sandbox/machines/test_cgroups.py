"""The cgroups of machines in trees of files that look like both versions; the kernel's own are in tests/e2e."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.cgroups import FakeCgroupTree
from tests.fakes.cgroups_contract import ID, QEMU, SIZE, SPEC, USERS, CgroupsContract, pod, read
from tests.support.users import process_of
from tests.support.waiting import eventually
from vmsandbox.errors import FailedPrecondition, Unavailable, VmsandboxError
from vmsandbox.hypervisor import TCG_CACHE, Accelerator
from vmsandbox.model import MachineSize, Resources
from vmsandbox.sandbox.machines.cgroups import (
    MachineCgroups,
    let_kill_first,
    limits_of,
    looking,
    scope,
    score_of,
    tree,
)
from vmsandbox.sandbox.machines.cgroups.hierarchies import Hierarchies
from vmsandbox.sandbox.machines.cgroups.limits import weight_of
from vmsandbox.sandbox.machines.cgroups.place import Place, expand_slice, place_of
from vmsandbox.sandbox.machines.cgroups.processes import _serves, vcpu_threads
from vmsandbox.sandbox.machines.cgroups.scope import arguments

LIMITS = limits_of(SIZE, Accelerator.KVM)


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def fake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCgroupTree:
    (tmp_path / "cgroup").mkdir()
    return FakeCgroupTree(tmp_path / "cgroup", request.param, monkeypatch)


@pytest.fixture
def v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCgroupTree:
    (tmp_path / "cgroup").mkdir()
    return FakeCgroupTree(tmp_path / "cgroup", 1, monkeypatch)


@pytest.fixture
def v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCgroupTree:
    (tmp_path / "cgroup").mkdir()
    return FakeCgroupTree(tmp_path / "cgroup", 2, monkeypatch)


class TestFakeCgroups(CgroupsContract):
    @pytest.fixture
    def root(self, fake: FakeCgroupTree) -> Path:
        return fake.root

    @pytest.fixture
    def top(self) -> str:
        return "vmsandbox"


def of(tree_: FakeCgroupTree, parent: str = "vmsandbox") -> MachineCgroups:
    return MachineCgroups(parent, tree_.root.parent / "charges", tree_.root)


async def test_version_2_has_the_controllers_enabled_on_the_way_down(v2: FakeCgroupTree) -> None:
    (v2.root / "cgroup.subtree_control").write_text("cpuset memory pids")
    await of(v2).confine(ID, SPEC, USERS, pod("a/b"))
    enabled = [read(v2.root / path / "cgroup.subtree_control") for path in (".", "a", "a/b", f"a/b/vmsandbox-{ID}")]
    assert enabled == ["+cpu", "+memory +pids +cpu", "+memory +pids +cpu", ""]
    assert read(v2.root / f"a/b/vmsandbox-{ID}/memory.oom.group") == "1"


async def test_version_1_is_counted_where_a_kubelet_reads_and_bound_to_its_parents_cpus(v1: FakeCgroupTree) -> None:
    (v1.root / "cpuset/kubepods").mkdir()
    (v1.root / "cpuset/kubepods/cpuset.cpus").write_text("1")
    await of(v1).confine(ID, SPEC, USERS, pod("kubepods"))
    found = {path.parents[1].name for path in v1.root.rglob(f"vmsandbox-{ID}")}
    assert found == {"memory", "pids", "cpu", "cpuacct", "blkio", "cpuset"}
    cpuset = v1.root / f"cpuset/kubepods/vmsandbox-{ID}"
    assert (read(cpuset / "cpuset.cpus"), read(cpuset / "cpuset.mems")) == ("1", "0")


async def test_controllers_that_are_mounted_together_are_one_hierarchy(v1: FakeCgroupTree) -> None:
    os.rmdir(v1.root / "cpuacct")
    (v1.root / "cpuacct").symlink_to("cpu")
    await of(v1).confine(ID, SPEC, USERS, pod("kubepods"))
    await of(v1).remove(ID)
    assert not list(v1.root.rglob(f"vmsandbox-{ID}"))


async def test_a_cgroup_is_found_below_a_parent_that_was_renamed(v1: FakeCgroupTree) -> None:
    (v1.root / "memory/kubepods").mkdir()
    await of(v1).confine(ID, SPEC, USERS, pod("kubepods"))
    (v1.root / "memory/kubepods").rename(v1.root / "memory/renamed")
    await of(v1).remove(ID)
    assert not list(v1.root.rglob(f"vmsandbox-{ID}"))


async def test_a_machine_of_an_older_version_is_where_that_has_put_it(fake: FakeCgroupTree) -> None:
    first = fake.root if fake.version == 2 else fake.root / "memory"
    (first / "vmsandbox" / ID).mkdir(parents=True)
    await of(fake).remove(ID)
    assert not (first / "vmsandbox" / ID).exists() and (first / "vmsandbox").exists()


async def test_a_limit_of_memory_leaves_what_is_used(fake: FakeCgroupTree) -> None:
    await of(fake).confine(ID, SPEC, USERS, pod())
    usage, limit = (
        ("memory.current", "memory.max") if fake.version == 2 else ("memory.usage_in_bytes", "memory.limit_in_bytes")
    )
    (file,) = fake.root.rglob(f"{ID}/{usage}")
    file.write_text(str(3 << 30))
    await of(fake).resize(ID, LIMITS)
    assert 3 << 30 < int(read(file.with_name(limit))) < 4 << 30


@pytest.mark.parametrize(
    ("full", "reason"),
    [
        (f"vmsandbox-{ID}", "beyond the machine's memory limit"),
        ("", "beyond the memory limit of its pod's cgroup /kubepods/pod1"),
        ("..", "beyond the memory limit of its pod's cgroup /kubepods"),
        (None, "because the host was out of memory"),
    ],
)
async def test_a_machine_that_the_kernel_killed_is_told_for_whose_memory(
    fake: FakeCgroupTree, full: str | None, reason: str
) -> None:
    cgroups = of(fake)
    assert cgroups.killed(ID) == ""
    await cgroups.confine(ID, SPEC, USERS, pod("kubepods/pod1"))
    assert cgroups.killed(ID) == ""
    parent = (fake.root if fake.version == 2 else fake.root / "memory") / "kubepods/pod1"
    events, met = (
        ("memory.events", ("memory.events.local", "oom 1\noom_kill 0"))
        if fake.version == 2
        else ("memory.oom_control", ("memory.failcnt", "7"))
    )
    (parent / f"vmsandbox-{ID}" / events).write_text("under_oom 0\noom_kill 2\n")
    if full is not None:
        (parent / full / met[0]).write_text(met[1])
    assert cgroups.killed(ID) == reason


@pytest.mark.parametrize(("limit", "short"), [(1 << 30, 80), (1 << 31, 0), (None, 0)])
async def test_a_pod_whose_limit_leaves_a_machine_no_room_is_told(
    fake: FakeCgroupTree, caplog: pytest.LogCaptureFixture, limit: int | None, short: int
) -> None:
    top = fake.root if fake.version == 2 else fake.root / "memory"
    (top / "kubepods").mkdir()
    if limit is not None:
        name = "memory.max" if fake.version == 2 else "memory.limit_in_bytes"
        (top / "kubepods" / name).write_text(f"{limit}\n")
    await of(fake).confine(ID, SPEC, USERS, pod("kubepods/pod1"))
    # A kubelet raises the limit of a pod after it has told the runtime of its new size.
    await of(fake).resize(ID, limits_of(MachineSize(2, 2 << 30), Accelerator.KVM))
    warned = [record.getMessage() for record in caplog.records if "podFixed" in record.getMessage()]
    assert len(warned) == bool(short)
    assert not short or ("/kubepods allows 1024 MiB" in warned[0] and f"by {short} MiB" in warned[0])


@pytest.mark.parametrize(
    ("script", "error", "text"),
    [
        ("echo 'Unit m.scope already exists' >&2; exit 1", FailedPrecondition, "systemd does not make m.scope"),
        ("exit 0", Unavailable, "systemd has not started m.scope"),
    ],
)
async def test_what_systemd_does_not_do_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: type[VmsandboxError], text: str
) -> None:
    (tmp_path / "busctl").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "busctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(scope, "_START_DEADLINE", 0.05)
    with pytest.raises(error, match=text) as caught:
        await scope.start("m.scope", "a.slice", "pod x", [7], lambda: False)
    assert error is Unavailable or "already exists" in caught.value.evidence["stderr"]


async def test_a_scope_is_there_when_its_processes_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "busctl").write_text(f'#!/bin/sh\nprintf "%s " "$@" > {tmp_path}/called\n')
    (tmp_path / "busctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    looks = iter([False, False, True])
    await scope.start("m.scope", "a.slice", "pod x", [7], lambda: next(looks))
    assert "StartTransientUnit ssa(sv)a(sa(sv)) m.scope fail 6" in (tmp_path / "called").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="starts a process of another user")
@pytest.mark.parametrize("refused", ["cgroup.type", "cgroup.subtree_control", "cgroup.threads"])
async def test_a_kernel_that_keeps_threads_together_has_the_machine_in_one_cgroup(
    v2: FakeCgroupTree, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refused: str
) -> None:
    write = tree.write

    def refuse(file: Path, value: str) -> None:
        if file.name == refused and value != "+memory +pids +cpu":
            raise OSError(95, "Operation not supported", str(file))
        write(file, value)

    monkeypatch.setattr(tree, "write", refuse)
    with process_of(USERS.qemu.uid, (sys.executable, "-c", QEMU), ready=b"\n") as process:
        await of(v2).confine(ID, SPEC, USERS, pod())
        await of(v2).resize(ID, LIMITS)
        assert read(v2.root / f"vmsandbox/{ID}/cgroup.procs") in map(str, (process.pid, *vcpu_threads(USERS.qemu)))
    assert not (v2.root / f"vmsandbox/{ID}/vcpus").exists()
    assert "are in one cgroup with QEMU's other threads: [Errno 95]" in caplog.text


async def test_a_host_without_such_cgroups_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="lacks the cgroup controllers cpu, memory, pids"):
        await MachineCgroups("vmsandbox", tmp_path / "charges", tmp_path / "no").confine(ID, SPEC, USERS, pod())


async def test_what_the_kernel_refuses_is_an_error_that_says_what_to_do(v2: FakeCgroupTree) -> None:
    (v2.root / "vmsandbox").write_text("a file")
    with pytest.raises(FailedPrecondition, match="cannot be made") as caught:
        await of(v2).confine(ID, SPEC, USERS, pod())
    assert "cgroup_parent" in caught.value.hint


def test_check_says_which_cgroups_there_are_and_what_they_lack(fake: FakeCgroupTree) -> None:
    assert f"version {fake.version}" in of(fake).check()
    if fake.version == 1:
        os.rmdir(fake.root / "pids")
    else:
        (fake.root / "cgroup.controllers").write_text("memory cpu\n")
    with pytest.raises(FailedPrecondition, match="controllers pids"):
        of(fake).check()
    assert "no limits" in of(fake, "").check()


async def test_machines_have_no_cgroup_where_the_configuration_says_so(fake: FakeCgroupTree) -> None:
    cgroups = of(fake, "")
    await cgroups.confine(ID, SPEC, USERS, pod("kubepods"))
    await cgroups.resize(ID, LIMITS)
    await cgroups.score(ID, 3)
    await cgroups.remove(ID)
    assert not list(fake.root.rglob("*vmsandbox*"))


async def test_what_cannot_be_killed_is_an_error(fake: FakeCgroupTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_END_DEADLINE", 0.05)
    await of(fake).confine(ID, SPEC, USERS, pod())

    def busy(path: Path) -> None:
        raise OSError(16, "Device or resource busy", str(path))

    monkeypatch.setattr(os, "rmdir", busy)
    with pytest.raises(Unavailable, match="do not end"):
        await of(fake).remove(ID)


@pytest.mark.skipif(os.geteuid() != 0, reason="starts a process of another user")
def test_a_machine_without_a_cgroup_is_killed_before_the_nodes_services() -> None:
    with process_of(USERS.qemu.uid) as process:
        let_kill_first(USERS)
        assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "500\n"


def test_limits_have_room_for_what_it_takes_to_run_a_machine() -> None:
    emulated = limits_of(SIZE, Accelerator.TCG)
    assert emulated.memory - LIMITS.memory == TCG_CACHE
    assert LIMITS.memory > SIZE.memory
    assert (LIMITS.cpu, LIMITS.processes, LIMITS.shares) == (300_000, 752, 0)


@pytest.mark.parametrize(
    ("quota", "period", "cpu", "vcpus"),
    [
        (20_000, 0, 120_000, 32_500),
        (1_000_000, 500_000, 300_000, 200_000),
        (-1, 100_000, 300_000, 200_000),
        (9_000_000, 0, 300_000, 200_000),
    ],
)
def test_the_cpu_limit_of_a_pod_and_one_more_hold_its_machine(quota: int, period: int, cpu: int, vcpus: int) -> None:
    limits = limits_of(SIZE, Accelerator.KVM, Resources(cpu_quota=quota, cpu_period=period))
    assert (limits.cpu, limits.vcpus) == (cpu, vcpus)


def test_shares_are_weights_as_the_kubelet_converts_them() -> None:
    assert [weight_of(shares) for shares in (1, 2, 1024, 262_144, 1 << 20)] == [1, 1, 39, 10_000, 10_000]


@pytest.mark.parametrize(("declared", "kvm", "tcg"), [(0, 0, 0), (2, 128, 256), (204, 204, 256), (2048, 2048, 2048)])
def test_a_machine_of_a_pod_that_declares_next_to_no_cpu_has_the_shares_of_its_guest(
    declared: int, kvm: int, tcg: int
) -> None:
    pod_ = Resources(cpu_shares=declared)
    assert [limits_of(SIZE, each, pod_).shares for each in (Accelerator.KVM, Accelerator.TCG)] == [kvm, tcg]


SLICES = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"


def test_a_slice_is_expanded_as_systemd_does() -> None:
    assert expand_slice("kubepods-burstable-pod1_2.slice") == SLICES
    for given in (SLICES.rpartition("/")[2], f"/{SLICES}"):
        assert place_of(given, ID, systemd=False) == Place(SLICES, f"vmsandbox-{ID}")
        place = place_of(given, ID, systemd=True)
        assert place is not None and place.path == f"{SLICES}/vmsandbox-{ID}.scope/machine"


def test_systemd_is_asked_for_a_delegated_scope_of_the_processes() -> None:
    words = arguments("m.scope", "a-b.slice", "Machine of pod x", [7, 8])
    assert words[:4] == ["ssa(sv)a(sa(sv))", "m.scope", "fail", "6"] and words[-1] == "0"
    text = " ".join(words)
    assert "Slice s a-b.slice" in text and "Delegate b true" in text and text.endswith("PIDs au 2 7 8 0")


@pytest.mark.parametrize(
    ("parent", "scores", "score"),
    [
        ("", (), 500),
        ("/k8s.io", (), 500),
        ("/kubepods/besteffort/pod1", (), 1000),
        ("/kubepods/burstable/pod1", (), 999),
        ("/kubepods/pod1", (), -997),
        ("/root/kubepods/pod1", (), -997),
        (f"/{SLICES}", (), 999),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice", (), 1000),
        ("kubepods-pod1.slice", (), -997),
        ("/kubepods.slice/kubepods-pod1.slice", (), -997),
        ("/kubepods/burstable/pod1", (0, 900), 900),
        ("/kubepods/burstable/pod1", (900, 999, 700), 599),
        ("/kubepods/burstable/pod1", (300, 400), 3),
        ("/kubepods/besteffort/pod1", (1000, 1000), 1000),
        ("/kubepods/pod1", (-997, -997), -997),
    ],
)
def test_a_machine_is_worth_what_its_containers_are_together(parent: str, scores: tuple[int, ...], score: int) -> None:
    assert score_of(parent, [Resources(oom_score_adj=each) for each in scores]) == score


async def test_the_limits_that_hold_are_read_from_the_machine_up(fake: FakeCgroupTree) -> None:
    cgroups = of(fake)
    await cgroups.confine(ID, SPEC, USERS, pod("kubepods/pod1", resources=Resources(cpu_shares=204)))
    first = fake.root if fake.version == 2 else fake.root / "memory"
    limit = "memory.max" if fake.version == 2 else "memory.limit_in_bytes"
    (first / "kubepods/pod1" / limit).write_text(f"{512 << 20}\n")
    own, above = looking.chain(Hierarchies(fake.root), [f"/kubepods/pod1/vmsandbox-{ID}"])
    assert (own.path, own.memory, own.memory_limit) == (f"/kubepods/pod1/vmsandbox-{ID}", 0, LIMITS.memory)
    assert (own.processes, own.process_limit) == (0, LIMITS.processes)
    assert own.cpu_limit == (LIMITS.cpu / 100_000 if fake.version == 2 else None)
    assert (own.cpu_shares, own.cpu_weight) == ((204, None) if fake.version == 1 else (None, weight_of(204)))
    assert (above.path, above.memory_limit, above.cpu_limit) == ("/kubepods/pod1", 512 << 20, None)


@pytest.mark.parametrize(
    ("groups", "path"),
    [
        ("9:memory:/a/b\n3:cpu,cpuacct:/c\n0::/d\n", "/a/b"),
        ("0::/kubepods.slice/x:y\n", "/kubepods.slice/x:y"),
        ("1:name=systemd:/\n", ""),
    ],
)
def test_a_process_is_in_the_cgroup_that_limits_its_memory(groups: str, path: str) -> None:
    assert looking.path_of(groups) == path


async def test_the_processes_of_a_machine_are_looked_at_and_those_that_have_ended_are_not(v1: FakeCgroupTree) -> None:
    found, _ = await of(v1).look(ID, os.getpid())
    assert [each.pid for each in found] == [os.getpid()]
    assert list(looking.processes([2**22 + 1])) == []


@pytest.mark.parametrize("arguments", [("-o", "source={}"), ("--shared-dir", "{}")], ids=["libvirt 9", "libvirt 11"])
def test_the_virtiofsd_of_a_directory_is_found_by_the_words_of_each_libvirt(
    tmp_path: Path, arguments: tuple[str, str]
) -> None:
    program, served = tmp_path / "virtiofsd", tmp_path / "served"
    program.write_text("#!/bin/sh\nread -r line\n")
    program.chmod(0o755)
    with subprocess.Popen([program, arguments[0], arguments[1].format(served)], stdin=subprocess.PIPE) as server:
        eventually(lambda: _serves(server.pid, served))  # It may still be a fork of this process.
        assert not _serves(server.pid, tmp_path / "other")
        assert not _serves(os.getpid(), served)
        server.kill()
