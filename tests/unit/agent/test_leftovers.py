"""The pages that a boot leaves in memory: which of them are cleared."""

from pathlib import Path

import pytest

from vmsandbox_agent.setup import leftovers

_BUDDYINFO = """\
Node 0, zone      DMA      0      0      0      0      0      1      1      1      0      1      3
Node 0, zone    DMA32     30      4      5      0      0      0      0      0      1      2     67
Node 0, zone  Movable      2      0      0      0      0      0      0      0      0      0      1
"""


def test_pieces_are_what_is_smaller_than_the_kernel_reports_to_the_host() -> None:
    assert leftovers.pages_to_clear(_BUDDYINFO) == 30 + 4 * 2 + 5 * 4 + 256 + 2


def test_half_of_a_small_machine_is_left_alone() -> None:
    assert leftovers.pages_to_clear("Node 0, zone    DMA32   100    50     0     0 0 0 0 0 0 0 0") == 100


@pytest.mark.parametrize("pieces", ["64 64 64", "0 0 0"], ids=["some", "none"])
def test_caches_are_dropped_and_pieces_taken_and_given_back(tmp_path: Path, pieces: str) -> None:
    (tmp_path / "sys/vm").mkdir(parents=True)
    (tmp_path / "buddyinfo").write_text(f"Node 0, zone    DMA32 {pieces} 0 0 0 0 0 0 0 0\n")
    leftovers.drop(tmp_path)
    assert (tmp_path / "sys/vm/drop_caches").read_text() == "3\n"
