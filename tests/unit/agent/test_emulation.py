"""Programs that the agent starts have the same addresses each time in an emulated guest, and other ones elsewhere."""

import subprocess
from pathlib import Path

import pytest

from vmsandbox_agent import emulation


def _addresses() -> str:
    """The places of a new program's stack and libraries."""
    argv = ["cut", "-d ", "-f1,6-", "/proc/self/maps"]
    return subprocess.run(argv, capture_output=True, check=True, text=True).stdout


@pytest.mark.parametrize("wanted", [True, False])
def test_addresses_are_drawn_unless_they_are_to_be_the_same(wanted: bool) -> None:
    with emulation.fixed_addresses(wanted=wanted):
        found = {_addresses() for _ in range(4)}
    assert (len(found) == 1) is wanted
    assert len({_addresses() for _ in range(4)}) > 1


@pytest.mark.parametrize(
    ("model", "emulated"),
    [("QEMU TCG CPU version 2.5+", True), ("Intel(R) Xeon(R) Processor @ 2.10GHz", False)],
)
def test_the_cpu_tells_that_it_is_emulated(tmp_path: Path, model: str, emulated: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: {model}\nflags\t\t: fpu hypervisor\n")
    assert emulation.is_emulated(tmp_path / "cpuinfo") is emulated
