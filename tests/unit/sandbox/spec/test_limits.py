"""Limits that cannot be are refused by name, at every door, and commit nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.config import MOST_MEMORY
from vmsandbox.errors import InvalidArgument
from vmsandbox.model import Resources
from vmsandbox.sandbox.spec.limits import check_resources

MOST = 2**63 - 1
ABSURD = [
    (Resources(memory_limit=-1), "memory_limit_in_bytes -1 is not valid"),
    (Resources(memory_limit=-(2**63)), f"memory_limit_in_bytes -{2**63} is not valid"),
    (Resources(memory_limit=MOST), f"memory_limit_in_bytes {MOST} is not valid"),
    (Resources(memory_swap_limit=-2), "memory_swap_limit_in_bytes -2 is not valid"),
    (Resources(cpu_period=-5), "cpu_period -5 is not valid"),
    (Resources(cpu_period=999), "cpu_period 999 is not valid"),
    (Resources(cpu_period=1_000_001), "cpu_period 1000001 is not valid"),
    (Resources(cpu_quota=-2), "cpu_quota -2 is not valid"),
    (Resources(cpu_quota=1), "cpu_quota 1 is not valid"),
    (Resources(cpu_quota=MOST), f"cpu_quota {MOST} is not valid"),
    (Resources(cpu_shares=-1), "cpu_shares -1 is not valid"),
    (Resources(cpu_shares=1), "cpu_shares 1 is not valid"),
    (Resources(cpu_shares=MOST), f"cpu_shares {MOST} is not valid"),
    (Resources(oom_score_adj=-1001), "oom_score_adj -1001 is not valid"),
]
"""Limits, and what is said of them."""


@pytest.mark.parametrize(("resources", "said"), ABSURD)
def test_what_cannot_be_is_named_with_its_bounds(resources, said):
    with pytest.raises(InvalidArgument, match=said) as raised:
        check_resources(resources)
    assert "or from" in raised.value.hint


@pytest.mark.parametrize(
    "resources",
    [
        Resources(),
        Resources(memory_limit=1, memory_swap_limit=-1),
        Resources(memory_limit=MOST_MEMORY, memory_swap_limit=MOST_MEMORY),
        Resources(cpu_period=1000, cpu_quota=-1, cpu_shares=2, oom_score_adj=-1000),
        Resources(cpu_period=1_000_000, cpu_quota=1000, cpu_shares=262_144, oom_score_adj=1000),
    ],
)
def test_what_kubernetes_says_is_valid(resources):
    check_resources(resources)


@given(st.builds(Resources, *[st.integers(-(2**63), MOST)] * 6))
def test_any_number_is_valid_or_a_clear_error(resources):
    try:
        check_resources(resources)
    except InvalidArgument as error:
        assert "is not valid" in str(error)
