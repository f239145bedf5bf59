"""What the agent reads in a container's cgroup."""

from pathlib import Path

from vmsandbox.protocol.messages import Measures
from vmsandbox_agent.cgroup import Cgroup

FILES = {
    "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n",
    "memory.current": "8192\n",
    "memory.max": "33554432\n",
    "memory.stat": "anon 2048\nfile 6144\ninactive_file 4096\nactive_file 0\npgfault 70\npgmajfault 1\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\n",
}


def cgroup(directory: Path, **changed: str) -> Cgroup:
    for name, content in FILES.items():
        (directory / name).write_text(changed.get(name.replace(".", "_"), content))
    return Cgroup(directory)


def test_a_container_is_measured_by_its_cgroup(tmp_path: Path) -> None:
    expected = Measures("c1", 1_500_000, 8192, 4096, 2048, 70, 1, 33554432)
    assert cgroup(tmp_path).measure("c1") == expected


def test_a_container_without_a_limit_has_none(tmp_path: Path) -> None:
    measured = cgroup(tmp_path, memory_max="max\n").measure("c1")
    assert measured is not None and measured.memory_limit == 0


def test_a_container_whose_cgroup_is_gone_is_not_measured(tmp_path: Path) -> None:
    gone = Cgroup(tmp_path / "gone")
    assert gone.measure("c1") is None
    assert gone.oom_kills() == 0


def test_the_kernels_kills_are_counted(tmp_path: Path) -> None:
    assert cgroup(tmp_path).oom_kills() == 1
