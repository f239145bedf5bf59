import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import PodSandboxConfig, PodSandboxMetadata, Resources
from vmsandbox.sandbox.sizing import MIB, MachineSize, machine_size

DEFAULT = MachineSize(1, 256 * MIB)


def pod(**resources):
    return PodSandboxConfig(PodSandboxMetadata("p", "u", "n"), resources=Resources(**resources))


def test_a_pod_without_limits_gets_the_default_and_the_overhead():
    assert machine_size(pod(), DEFAULT, 128 * MIB) == MachineSize(1, 384 * MIB)


def test_a_fraction_of_a_cpu_is_a_whole_vcpu():
    assert machine_size(pod(cpu_quota=150_000, cpu_period=100_000), DEFAULT, 0).vcpus == 2


def test_more_cpus_than_a_machine_has_are_refused():
    with pytest.raises(InvalidArgument, match="at most"):
        machine_size(pod(cpu_quota=100_000_000, cpu_period=1000), DEFAULT, 0)


@given(limit=st.integers(1, 1 << 42), overhead=st.integers(0, 1 << 30))
def test_the_machine_is_never_smaller_than_declared(limit, overhead):
    memory = machine_size(pod(memory_limit=limit), DEFAULT, overhead).memory
    assert limit + overhead <= memory < limit + overhead + MIB
