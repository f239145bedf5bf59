import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.config import MOST_VCPUS, MachineConfig
from vmsandbox.errors import InvalidArgument
from vmsandbox.hypervisor.base import Accelerator
from vmsandbox.hypervisor.libvirt.hypervisor import most_vcpus
from vmsandbox.model import PodSandboxConfig, PodSandboxMetadata, Resources
from vmsandbox.sandbox.spec.sizing import MIB, MachineSize, machine_size
from vmsandbox.typed_yaml import Size


def size(config, overhead=0, most_vcpus=MOST_VCPUS):
    machine = MachineConfig(vcpus=1, memory=Size(256 * MIB), overhead=Size(overhead))
    return machine_size(config, machine, most_vcpus)


def pod(**resources):
    return PodSandboxConfig(PodSandboxMetadata("p", "u", "n"), resources=Resources(**resources))


def test_a_pod_without_limits_gets_the_default_and_the_overhead():
    assert size(pod(), 128 * MIB) == MachineSize(1, 384 * MIB)


def test_a_fraction_of_a_cpu_is_a_whole_vcpu():
    assert size(pod(cpu_quota=150_000, cpu_period=100_000)).vcpus == 2


def test_a_quota_without_a_period_is_of_the_kernel_s_period():
    assert size(pod(cpu_quota=300_000)).vcpus == 3


def test_no_limit_of_cpu_is_the_default():
    assert size(pod(cpu_quota=-1, cpu_period=100_000)).vcpus == 1


def test_a_pod_gets_no_more_vcpus_than_machines_have_here():
    assert size(pod(cpu_quota=400_000, cpu_period=100_000), most_vcpus=1).vcpus == 1
    assert machine_size(pod(), MachineConfig(vcpus=4), most_vcpus=1).vcpus == 1


def test_emulated_machines_of_a_qemu_that_races_have_one_vcpu():
    assert most_vcpus(Accelerator.TCG, 7_002_022) == most_vcpus(Accelerator.TCG, 8_000_005) == 1
    assert most_vcpus(Accelerator.TCG, 8_001_000) == most_vcpus(Accelerator.TCG, 10_000_002) == MOST_VCPUS
    assert most_vcpus(Accelerator.KVM, 7_002_022) == MOST_VCPUS


def test_more_cpus_than_a_machine_has_are_refused():
    with pytest.raises(InvalidArgument, match="at most"):
        size(pod(cpu_quota=100_000_000, cpu_period=1000), most_vcpus=1)


@given(limit=st.integers(1, 1 << 42), overhead=st.integers(0, 1 << 30))
def test_the_machine_is_never_smaller_than_declared(limit, overhead):
    memory = size(pod(memory_limit=limit), overhead).memory
    assert limit + overhead <= memory < limit + overhead + MIB
