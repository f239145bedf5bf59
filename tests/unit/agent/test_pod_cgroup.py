"""The limits of all containers together, in directories that stand for cgroups; tests/e2e has the kernel's."""

from pathlib import Path

import pytest

from vmsandbox.protocol.cpus import MOST, parse_cpus
from vmsandbox_agent.containers.limits import checked_cpus, require_memory
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.measures.cgroup import Cgroup
from vmsandbox_agent.measures.cpusets import share_out
from vmsandbox_agent.measures.pod_cgroup import PodCgroup

MIB = 1 << 20
THREADS = 3000


def cpus(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine of 256 MiB, of which 200 are available when the agent starts, with two CPUs."""
    for directory in ("cgroup", "proc/sys/kernel", "proc/sys/fs"):
        (tmp_path / directory).mkdir(parents=True)
    for name, value in (("kernel/threads-max", THREADS), ("kernel/pid_max", 32768), ("fs/file-max", 20000)):
        (tmp_path / "proc/sys" / name).write_text(f"{value}\n")
    (tmp_path / "online").write_text("0-1\n")
    has_memory(tmp_path, 256, 200)
    return tmp_path


def has_memory(machine: Path, total: int, available: int) -> None:
    sizes = {"MemTotal": total, "MemAvailable": available}
    lines = [f"{name}:    {size * 1024} kB\n" for name, size in sizes.items()]
    (machine / "proc/meminfo").write_text("".join(lines) + "HugePages_Total:       0\n")


def pod_of(machine: Path, *containers: str) -> PodCgroup:
    pod = PodCgroup(machine / "cgroup/vmsandbox", machine / "online", machine / "proc")
    pod.bound()
    for name in containers:
        (pod.path / name).mkdir()
    return pod


def read(pod: PodCgroup, name: str) -> str:
    return (pod.path / name).read_text().strip()


def test_containers_together_leave_memory_and_threads_to_the_guest(machine: Path) -> None:
    pod = pod_of(machine)
    assert int(read(pod, "memory.max")) == (200 - 16) * MIB
    assert int(read(pod, "pids.max")) == (200 - 16) * 4
    assert int(read(pod, "cpu.weight")) < 100


def test_the_limits_follow_a_machine_that_grows_and_shrinks(machine: Path) -> None:
    pod = pod_of(machine)
    has_memory(machine, 2304, 2200)
    pod.bound()
    grown = 2048
    assert int(read(pod, "memory.max")) == (200 - 16 + grown - grown // 64) * MIB
    assert int(read(pod, "pids.max")) == int(read(pod, "memory.max")) // (256 << 10)
    assert int((machine / "proc/sys/kernel/threads-max").read_text()) == 2304 * MIB // (128 << 10)
    assert int((machine / "proc/sys/fs/file-max").read_text()) == 2304 * MIB // (10 << 10)
    has_memory(machine, 256, 10)
    pod.bound()
    assert int(read(pod, "memory.max")) == (200 - 16) * MIB


def test_all_containers_leave_threads_to_the_guest(machine: Path) -> None:
    (machine / "proc/sys/kernel/pid_max").write_text("700\n")
    assert int(read(pod_of(machine), "pids.max")) == 700 - 256


def test_a_container_leaves_processes_to_the_others_unless_it_has_a_limit(machine: Path) -> None:
    pod = pod_of(machine, "bomb", "limited", "gone")
    (pod.path / "bomb/pids.max").write_text("max\n")
    (pod.path / "limited/pids.max").write_text("5000\n")
    pod.share_processes()
    assert int(read(pod, "bomb/pids.max")) == int(read(pod, "pids.max")) * 3 // 4
    has_memory(machine, 512, 500)
    pod.bound()
    assert int(read(pod, "bomb/pids.max")) == int(read(pod, "pids.max")) * 3 // 4 > 1000
    assert read(pod, "limited/pids.max") == "5000"


def uses(pod: PodCgroup, anonymous: int, files: int) -> None:
    (pod.path / "memory.current").write_text(f"{anonymous + files}\n")
    counts = f"active_file 0\ninactive_file {files}\nworkingset_refault_file 0\npgmajfault 0\n"
    (pod.path / "memory.stat").write_text(f"anon {anonymous}\n{counts}")


async def test_the_limits_are_lowered_before_the_machine_shrinks_and_stay_so_meanwhile(machine: Path) -> None:
    pod = pod_of(machine)
    uses(pod, 50 * MIB, 0)
    await pod.fit(100 * MIB)
    assert int(read(pod, "memory.max")) == (200 - 16 - 100) * MIB
    has_memory(machine, 200, 100)  # Statistics are asked for half-way.
    pod.bound()
    assert int(read(pod, "memory.max")) == (200 - 16 - 100) * MIB
    await pod.fit(0)
    assert int(read(pod, "memory.max")) == (200 - 16 - 56) * MIB


@pytest.mark.parametrize(("anonymous", "files"), [(100, 0), (50, 60)])
async def test_memory_that_containers_use_is_not_taken_from_them(machine: Path, anonymous: int, files: int) -> None:
    pod = pod_of(machine)
    uses(pod, anonymous * MIB, files * MIB)  # Nothing drops what stands in files.
    with pytest.raises(AgentError, match=rf"use {anonymous + files} MiB, and a smaller machine would leave them 84"):
        await pod.fit(100 * MIB)
    assert (pod.path / "memory.reclaim").exists() == bool(files)
    assert int(read(pod, "memory.max")) == (200 - 16) * MIB
    pod.bound()
    assert int(read(pod, "memory.max")) == (200 - 16) * MIB


async def test_a_machine_that_grows_by_and_by_is_bounded_when_it_has(machine: Path) -> None:
    pod = pod_of(machine)
    has_memory(machine, 320, 200)
    await pod.fit(0)
    assert int(read(pod, "memory.max")) == (200 - 16 + 64 - 1) * MIB


def test_a_machine_of_the_same_size_keeps_its_limits_as_they_are(machine: Path) -> None:
    pod = pod_of(machine)
    (pod.path / "memory.max").write_text("untouched")
    pod.bound()
    assert read(pod, "memory.max") == "untouched"


def test_without_cgroups_nothing_is_limited(tmp_path: Path, machine: Path) -> None:
    pod = PodCgroup(tmp_path / "none/vmsandbox", machine / "online", machine / "proc")
    pod.bound()
    pod.promise()
    assert not pod.path.exists()


def test_what_containers_are_promised_is_claimed_for_them_all(machine: Path) -> None:
    pod = pod_of(machine, "a", "b", "c")
    for name, least in (("a", "4096"), ("b", "8192")):
        (pod.path / name / "memory.min").write_text(f"{least}\n")
    (pod.path / "a/memory.low").write_text("max\n")
    (pod.path / "b/memory.low").write_text("1\n")
    pod.promise()
    assert (read(pod, "memory.min"), read(pod, "memory.low")) == ("12288", "max")
    (pod.path / "b/memory.min").write_text("0\n")
    pod.promise()
    assert read(pod, "memory.min") == "4096"


def test_the_cpus_of_the_host_become_the_machines(machine: Path) -> None:
    pod = pod_of(machine, "a", "b")
    pod.spread({"a": "6", "b": ""})
    assert read(pod, "a/cpuset.cpus") == "0"
    assert not (pod.path / "b/cpuset.cpus").exists()
    pod.spread({"a": "", "b": "2-5"})
    assert (read(pod, "a/cpuset.cpus"), read(pod, "b/cpuset.cpus")) == ("", "0,1")
    pod.spread({"gone": "1"})


@pytest.mark.parametrize(
    ("wanted", "shared"),
    [
        ({"a": cpus(2, 3), "b": cpus(4, 5)}, {"a": cpus(0, 1), "b": cpus(2, 3)}),
        ({"a": cpus(2, 3), "b": cpus(3)}, {"a": cpus(0, 1), "b": cpus(0)}),
        ({"sidecar": cpus(*range(4, 64)), "a": cpus(2, 3)}, {"sidecar": cpus(2, 3), "a": cpus(0, 1)}),
        ({"sidecar": cpus(*range(5, 64)), "a": cpus(*range(1, 5))}, {"sidecar": cpus(*range(4)), "a": cpus(*range(4))}),
        ({}, {}),
    ],
)
def test_cpus_that_are_apart_on_the_host_are_apart_in_the_machine(
    wanted: dict[str, frozenset[int]], shared: dict[str, frozenset[int]]
) -> None:
    assert share_out(wanted, cpus(*range(4))) == shared


def test_lists_of_cpus_are_the_kernels() -> None:
    assert parse_cpus("0-2,7\n") == cpus(0, 1, 2, 7)
    assert parse_cpus("") == cpus()
    for bad in ("3-1", "-1", "1-", "a", "0-99999999999", str(MOST), "1--2"):
        with pytest.raises(ValueError):
            parse_cpus(bad)
        with pytest.raises(AgentError):
            checked_cpus(bad)


def test_memory_that_is_in_use_is_not_taken_and_files_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("10000\n")
    (tmp_path / "memory.stat").write_text("anon 3000\nactive_file 2000\ninactive_file 3000\nslab_reclaimable 1000\n")
    cgroup = Cgroup(tmp_path)
    asked = {"memory": {"limit": 4000, "checkBeforeUpdate": True}, "cpu": {"shares": 2}}
    assert require_memory(asked, cgroup) == {"memory": {"limit": 4000}, "cpu": {"shares": 2}}
    with pytest.raises(AgentError, match="less than the container uses: 4000"):
        require_memory({"memory": {"limit": 3999, "checkBeforeUpdate": True}}, cgroup)
    for other in ({"memory": {"limit": -1, "checkBeforeUpdate": True}}, {"memory": {"limit": 1}}, {}):
        require_memory(other, cgroup)
    assert Cgroup(tmp_path / "gone").unevictable() == 0
