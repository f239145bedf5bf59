"""The memory that a machine is given for what is asked."""

import pytest

from vmsandbox.errors import InvalidArgument
from vmsandbox.hypervisor.sizes import target_memory

MIB = 1024 * 1024
BOOTED, MOST = 255 * MIB, 1024 * MIB


@pytest.mark.parametrize(("asked", "given"), [(255, 255), (257, 257), (257 + 1 / MIB, 259), (256, 257), (64, 255)])
def test_memory_comes_in_blocks_upon_what_it_booted_with(asked: float, given: int) -> None:
    assert target_memory("m", int(asked * MIB), least=BOOTED, most=MOST) == given * MIB


def test_it_does_not_get_more_than_its_most() -> None:
    assert target_memory("m", MOST, least=BOOTED, most=MOST) >= MOST
    with pytest.raises(InvalidArgument, match=r"machine m cannot have 1025 MiB of memory: .* at most 1024 MiB"):
        target_memory("m", 1025 * MIB, least=BOOTED, most=MOST)
