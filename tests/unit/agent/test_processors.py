"""CPUs of the machine that the guest's kernel takes into use and out of use, in a directory like its own."""

from pathlib import Path

import pytest

from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.setup.processors import use_processors


@pytest.fixture
def cpus(tmp_path: Path) -> Path:
    """Twelve CPUs, the first of which cannot be taken out of use, and what else is beside them."""
    for name in ("cpufreq", "cpuidle", *(f"cpu{number}" for number in range(12))):
        (tmp_path / name).mkdir()
    for number in range(1, 12):
        (tmp_path / f"cpu{number}/online").write_text("0\n")
    return tmp_path


def online(cpus: Path) -> list[int]:
    return [0, *(number for number in range(1, 12) if (cpus / f"cpu{number}/online").read_text().strip() == "1")]


@pytest.mark.parametrize("count", [1, 2, 3, 11, 12])
def test_the_first_cpus_are_used_and_no_others(cpus: Path, count: int) -> None:
    (cpus / "cpu11/online").write_text("1\n")
    (cpus / "cpu1/online").write_text("1\n")
    assert use_processors(cpus, count) == count
    assert online(cpus) == list(range(count))


def test_asking_for_none_changes_nothing(cpus: Path) -> None:
    (cpus / "cpu11/online").write_text("1\n")
    assert use_processors(cpus, 0) == 2 and online(cpus) == [0, 11]


def test_more_than_there_are_is_refused_and_changes_nothing(cpus: Path) -> None:
    with pytest.raises(AgentError, match="the machine has 12 CPUs, and cannot use 13"):
        use_processors(cpus, 13)
    assert online(cpus) == [0]


def test_a_machine_with_one_cpu_uses_that(tmp_path: Path) -> None:
    (tmp_path / "cpu0").mkdir()
    assert use_processors(tmp_path, 0) == use_processors(tmp_path, 1) == 1


def test_the_reason_of_the_kernel_is_told(cpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def refuse(path: Path, text: str) -> int:
        if path == cpus / "cpu2/online":
            raise OSError(16, "Device or resource busy")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(AgentError, match="the kernel does not start cpu2: Device or resource busy") as caught:
        use_processors(cpus, 4)
    assert caught.value.code == "failed_precondition" and online(cpus) == [0, 1]
