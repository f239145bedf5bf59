"""The agent's reading of a container's cgroup."""

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from vmsandbox.protocol.messages import (
    MAX_DISKS,
    CpuMeasures,
    DiskMeasures,
    Measures,
    MemoryMeasures,
    Pressure,
    Throttling,
)
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.measures import processes
from vmsandbox_agent.measures.cgroup import Cgroup

FILES = {
    "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 9\nnr_throttled 4\nthrottled_usec 70\n",
    "memory.current": "8192\n",
    "memory.max": "33554432\n",
    "memory.min": "0\n",
    "memory.peak": "9000\n",
    "memory.swap.current": "0\n",
    "memory.swap.max": "4096\n",
    "memory.stat": "anon 2048\nfile 6144\nkernel 512\nfile_mapped 1024\ninactive_file 4096\nactive_file 0\n"
    "pgfault 70\npgmajfault 1\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\n",
    "memory.pressure": "some avg10=0.00 avg60=1.50 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 total=5\n",
    "io.stat": "4095:1 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n4095:2 \n",
    "hugetlb.2MB.current": "0\n",
    "hugetlb.2MB.rsvd.current": "0\n",
    "hugetlb.2MB.max": "max\n",
    "pids.current": "3\n",
    "pids.max": "100\n",
    "cgroup.procs": f"{os.getpid()}\n",
}
OPTIONAL = ("memory.min", "memory.peak", "memory.swap.current", "memory.swap.max", "memory.pressure", "io.stat")


def cgroup(directory: Path, **changed: str | None) -> Cgroup:
    """A directory with those files; one that is None here is not among them."""
    for name, content in FILES.items():
        text = changed.get(name.replace(".", "_"), content)
        if text is not None:
            (directory / name).write_text(text)
    return Cgroup(directory)


def measured(directory: Path, **changed: str | None) -> Measures:
    found = cgroup(directory, **changed).measure("c1", os.getpid())
    assert found is not None
    return found


def test_a_container_is_measured_by_its_cgroup(tmp_path: Path) -> None:
    found = measured(tmp_path)
    assert found.cpu == CpuMeasures(1_500_000, 1_000_000, 500_000, Throttling(9, 4, 70_000))
    assert found.memory == MemoryMeasures(
        current=8192,
        anon=2048,
        file=6144,
        file_mapped=1024,
        inactive_file=4096,
        kernel=512,
        page_faults=70,
        major_page_faults=1,
        limit_hits=3,
        oom_kills=1,
        limit=33554432,
        swap_limit=4096,
        peak=9000,
        swap=0,
    )
    assert found.pressure == {"memory": Pressure(12_000, 5_000)}
    assert found.disks == {"4095:1": DiskMeasures(4095, 1, 1, 2, 4096, 8192)}
    assert found.huge_pages == {"2MB": 0}


def test_what_the_kernel_does_not_tell_is_absent_and_not_zero(tmp_path: Path) -> None:
    absent: dict[str, Any] = {
        name.replace(".", "_"): None for name in (*OPTIONAL, "pids.current", "hugetlb.2MB.current")
    }
    found = measured(tmp_path, **absent, cpu_stat="usage_usec 3\nuser_usec 2\nsystem_usec 1\n")
    assert found.cpu == CpuMeasures(3000, 2000, 1000)
    assert (found.memory.peak, found.memory.swap, found.memory.swap_limit) == (None, None, None)
    assert (found.pressure, found.disks, found.huge_pages, found.processes) == ({}, {}, {}, None)


def test_a_container_without_a_limit_has_none(tmp_path: Path) -> None:
    assert measured(tmp_path, memory_max="max\n").memory.limit is None


def test_a_device_has_the_name_that_it_has_below_dev(tmp_path: Path) -> None:
    device = next(Path("/sys/dev/block").iterdir())
    io = f"{device.name} rbytes=1 wbytes=0 rios=1 wios=0\n"
    (name,) = measured(tmp_path, io_stat=io).disks
    assert name == f"/dev/{device.resolve().name}"


def test_the_processes_of_a_container_and_of_the_cgroups_below_are_counted(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (below / "cgroup.procs").write_text("1\n")
    found = measured(tmp_path).processes
    assert found is not None
    assert (found.processes, found.threads, found.threads_max) == (2, 3, 100)


def test_where_the_container_has_no_limit_of_threads_the_guests_own_counts(tmp_path: Path) -> None:
    found = measured(tmp_path, pids_max="max\n").processes
    assert found is not None
    assert found.threads_max == int(Path("/proc/sys/kernel/threads-max").read_text())


def test_open_descriptors_and_sockets_are_counted(tmp_path: Path) -> None:
    before = measured(tmp_path).processes
    with socket.socket(), (tmp_path / "file").open("w"):
        after = measured(tmp_path).processes
    assert before is not None and after is not None
    assert (after.descriptors - before.descriptors, after.sockets - before.sockets) == (2, 1)
    assert before.files_max == os.sysconf("SC_OPEN_MAX")


def test_the_count_of_descriptors_ends_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_MOST", 2)
    found = measured(tmp_path).processes
    assert found is not None and found.descriptors == 2


def test_a_process_that_has_ended_has_nothing_open(tmp_path: Path) -> None:
    found = cgroup(tmp_path, cgroup_procs="4194303\n").measure("c1", 4194303)
    assert found is not None and found.processes is not None
    assert (found.processes.descriptors, found.processes.sockets, found.processes.files_max) == (0, 0, None)


def test_a_container_whose_cgroup_is_gone_is_not_measured(tmp_path: Path) -> None:
    gone = Cgroup(tmp_path / "gone")
    assert gone.measure("c1", 1) is None
    assert gone.oom_kills() == 0


def test_the_kernels_kills_are_counted(tmp_path: Path) -> None:
    assert cgroup(tmp_path).oom_kills() == 1


def test_no_more_disks_are_told_than_the_protocol_allows(tmp_path: Path) -> None:
    io = "".join(f"4095:{minor} rbytes=1 wbytes=0 rios=1 wios=0\n" for minor in range(MAX_DISKS + 1))
    assert len(measured(tmp_path, io_stat=io).disks) == MAX_DISKS


def test_averages_of_pressure_are_told_to_a_host_that_asks_for_them(tmp_path: Path) -> None:
    line = "avg10=1.25 avg60=0.50 avg300=100.00 total=12"
    measuring = cgroup(tmp_path, memory_pressure=f"some {line}\nfull {line}\n")
    asked, not_asked = (measuring.measure("c1", os.getpid(), averages=asked) for asked in (True, False))
    assert asked is not None and not_asked is not None
    means = (1.25, 0.5, 100.0)
    assert asked.pressure == {"memory": Pressure(12_000, 12_000, means, means)}
    assert not_asked.pressure == {"memory": Pressure(12_000, 12_000)}


def test_all_in_a_cgroup_are_frozen_and_let_go(tmp_path: Path) -> None:
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    Cgroup(tmp_path).freeze(frozen=True)
    assert (tmp_path / "cgroup.freeze").read_text() == "1"
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    Cgroup(tmp_path).freeze(frozen=False)
    assert (tmp_path / "cgroup.freeze").read_text() == "0"


def test_processes_that_do_not_stop_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmsandbox_agent.measures.cgroup._FREEZING", 0.05)
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    with pytest.raises(AgentError, match="cannot be stopped"):
        Cgroup(tmp_path).freeze(frozen=True)


def test_the_processes_of_a_cgroup_are_listed_with_their_parents_among_them(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        cgroup(tmp_path, cgroup_procs=f"{os.getpid()}\n{child.pid}\n{2**22}\n")
        listed = {process.pid: process for process in Cgroup(tmp_path).processes()}
        child.kill()
    assert set(listed) == {os.getpid(), child.pid}
    assert (listed[os.getpid()].parent, listed[child.pid].parent) == (0, os.getpid())
    assert listed[child.pid].command in ("sleep 1000", "")
    assert listed[child.pid].uid == os.getuid() and listed[child.pid].cpu < listed[os.getpid()].cpu
    assert abs(listed[child.pid].started - time.time_ns()) < 60 * 1_000_000_000
