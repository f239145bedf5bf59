"""Limits that cannot be are refused by name, at every door, and commit nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.config import MOST_MEMORY
from vmsandbox.errors import InvalidArgument, Unimplemented
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


@pytest.mark.parametrize(
    ("resources", "error", "said"),
    [
        (Resources(unified={"cgroup.kill": "1"}), InvalidArgument, "'cgroup.kill' is not a setting"),
        (Resources(unified={"../memory.max": "1"}), InvalidArgument, "'../memory.max' is not a setting"),
        (Resources(unified={"memory": "1"}), InvalidArgument, "'memory' is not a setting"),
        (Resources(unified={"cpuset.cpus": "1"}), Unimplemented, "cpuset.cpus names CPUs of the host"),
        (Resources(unified={"io.max": "8:0 rbps=1"}), Unimplemented, "io.max names a device of the host"),
        (Resources(unified={"io.weight": "default 50\n8:16 5"}), Unimplemented, "io.weight names a device of the host"),
        (Resources(unified={"hugetlb.2MB.max": "2097152"}), Unimplemented, "no huge pages"),
        (Resources(cpuset_cpus="3-1"), InvalidArgument, "cpuset_cpus is not valid"),
        (Resources(cpuset_mems="all"), InvalidArgument, "cpuset_mems is not valid"),
    ],
)
def test_what_the_guest_cannot_give_is_refused_and_named(resources, error, said):
    with pytest.raises(error, match=said) as raised:
        check_resources(resources, "resources")
    assert raised.value.field.startswith("resources.")


def test_settings_that_the_guests_kernel_decides_about_are_passed_on():
    settings = {"memory.high": "max", "memory.oom.group": "1", "pids.max": "100", "io.weight": "default 50"}
    check_resources(Resources(unified={**settings, "hugetlb.2MB.max": "0"}, cpuset_cpus="0-3,7", cpuset_mems="0"))


@given(st.builds(Resources, *[st.integers(-(2**63), MOST)] * 6))
def test_any_number_is_valid_or_a_clear_error(resources):
    try:
        check_resources(resources)
    except InvalidArgument as error:
        assert "is not valid" in str(error)
