"""When a container that does nothing but read its own program again and again is ended."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from vmsandbox_agent.measures.cgroup import Cache, Cgroup
from vmsandbox_agent.measures.thrashing import Thrashing, ThrashingWatch

MIB = 1 << 20
BEFORE = Cache(limit=32 * MIB, size=420 << 10, read_again=0, major_faults=0)
STAT = "anon 9\nactive_file 4096\ninactive_file 8192\nshmem 7\nworkingset_refault_file 3\npgmajfault 5\n"


def looks(cache: Cache, read_again: int = 40 * MIB, faults: int = 65, seconds: int = 20) -> list[tuple[float, Cache]]:
    """A look a second, at a cache that stays as large as it is; the defaults are what was measured."""
    return [
        (float(second), replace(cache, read_again=second * read_again, major_faults=second * faults))
        for second in range(seconds)
    ]


def first_said(seen: Iterable[tuple[float, Cache]]) -> float | None:
    thrashing = Thrashing()
    return next((now for now, cache in seen if thrashing.seen(now, cache)), None)


def test_a_program_that_is_read_again_and_again_is_thrashing_after_a_while() -> None:
    assert first_said(looks(BEFORE)) == 5.0


def test_on_a_slow_machine_it_takes_longer() -> None:
    assert first_said(looks(BEFORE, read_again=4 * MIB, faults=7)) == 15.0


def test_without_a_limit_nothing_is() -> None:
    assert first_said(looks(replace(BEFORE, limit=0))) is None


def test_a_container_that_has_memory_left_for_files_only_reads_much() -> None:
    assert first_said(looks(replace(BEFORE, size=2 * MIB))) is None
    assert first_said(looks(replace(BEFORE, limit=64 << 30, size=9 * MIB))) is None


def test_files_that_are_read_and_do_not_hold_the_program_up_are_not_thrashing() -> None:
    assert first_said(looks(BEFORE, faults=0)) is None


def test_a_cache_that_is_read_now_and_then_is_not_thrashing() -> None:
    assert first_said(looks(BEFORE, read_again=MIB, faults=1)) is None


def test_a_pause_without_pressure_begins_anew() -> None:
    seen = looks(BEFORE, seconds=40)
    assert first_said([*seen[:5], *seen[20:]]) == 25.0


def test_memory_that_was_found_meanwhile_begins_anew() -> None:
    seen = looks(BEFORE)
    seen[4] = (4.0, replace(seen[4][1], size=3 * MIB))
    assert first_said(seen) == 10.0


def test_the_cgroup_says_how_its_cache_stands(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("33554432\n")
    (tmp_path / "memory.stat").write_text(STAT)
    assert Cgroup(tmp_path).cache() == Cache(limit=32 * MIB, size=12288, read_again=12288, major_faults=5)
    assert Cgroup(tmp_path / "gone").cache() is None


def test_what_is_killed_for_memory_counts_as_the_kernels_kills(tmp_path: Path) -> None:
    for name, content in (("memory.events", "oom 2\noom_kill 1\n"), ("cgroup.kill", "")):
        (tmp_path / name).write_text(content)
    cgroup = Cgroup(tmp_path)
    assert cgroup.kill_for_memory()
    assert (cgroup.oom_kills(), (tmp_path / "cgroup.kill").read_text()) == (2, "1")


def test_a_cgroup_that_is_gone_is_not_killed(tmp_path: Path) -> None:
    assert not Cgroup(tmp_path / "gone").kill_for_memory()


@pytest.mark.parametrize(("limit", "said"), [("max", ""), ("33554432", "c1: its memory's pressure cannot be watched")])
def test_without_a_limit_nothing_is_watched_and_without_psi_nothing_can_be(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], limit: str, said: str
) -> None:
    files = {"memory.max": limit, "memory.stat": STAT, "memory.pressure": ""}  # of a file, epoll(7) tells nothing
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    watch = ThrashingWatch("c1", Cgroup(tmp_path))
    watch.limited()
    watch.close()
    told = capfd.readouterr().err
    assert said in told and bool(said) == bool(told)
    assert bool((tmp_path / "memory.pressure").read_text()) == bool(said)
