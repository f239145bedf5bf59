import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.config import MOST_VCPUS, MachineConfig
from vmsandbox.errors import InvalidArgument
from vmsandbox.hypervisor import MEMORY_BLOCK
from vmsandbox.model import MachineSize, Resources
from vmsandbox.sandbox.spec.resources import updated_resources
from vmsandbox.sandbox.spec.sizing import (
    MIB,
    charged,
    cpu_time,
    declares_more,
    given_size,
    larger,
    outgrown,
    size_rules,
    steps_of,
    updated_declaration,
    wanted_size,
)
from vmsandbox.typed_yaml import Size

GIB = 1024 * MIB
NOTHING = Resources()
UNLIMITED_CGROUP = (1 << 63) - 4096
"""The limit of memory that a kubelet reads from a cgroup (version 1) without one."""

limits = st.builds(
    Resources,
    memory_limit=st.one_of(st.just(0), st.integers(1, 1 << 42)),
    cpu_quota=st.one_of(st.just(0), st.just(-1), st.integers(1000, 10_000_000)),
    cpu_period=st.one_of(st.just(0), st.integers(1000, 1_000_000)),
)
sizes = st.builds(MachineSize, st.integers(1, 64), st.integers(64, 4096).map(lambda blocks: blocks * MEMORY_BLOCK))


def rules(declared=NOTHING, *, budget=64 * GIB, processors=64, **settings):
    machine = MachineConfig(**{"vcpus": 1, "memory": Size(256 * MIB), "overhead": Size(0), **settings})
    return size_rules(machine, declared, budget=budget, processors=processors)


def cpus(number, **more):
    return Resources(cpu_quota=int(number * 100_000), cpu_period=100_000, **more)


def memory(mib, **more):
    return Resources(memory_limit=mib * MIB, **more)


def test_a_pod_without_limits_gets_the_default_and_the_overhead():
    assert wanted_size(rules(overhead=Size(128 * MIB)), NOTHING) == MachineSize(1, 384 * MIB)


def test_a_fraction_of_a_cpu_is_a_whole_vcpu():
    assert wanted_size(rules(), cpus(0.2)).vcpus == 1
    assert wanted_size(rules(), cpus(1.5)).vcpus == 2


def test_a_quota_without_a_period_is_of_the_kernel_s_period():
    assert wanted_size(rules(), Resources(cpu_quota=300_000)).vcpus == 3


def test_no_limit_of_cpu_is_the_default():
    assert wanted_size(rules(vcpus=2), Resources(cpu_quota=-1, cpu_period=100_000)).vcpus == 2


def test_what_the_pod_declares_counts_whatever_its_containers_do():
    found = wanted_size(rules(), cpus(2, memory_limit=300 * MIB), [memory(500), cpus(7), NOTHING])
    assert found == MachineSize(2, 300 * MIB)


def test_containers_of_a_pod_that_declares_nothing_are_added_up():
    assert wanted_size(rules(), NOTHING, [cpus(0.6), cpus(0.6), cpus(0.9)]).vcpus == 3
    both = [cpus(1, memory_limit=200 * MIB), cpus(1, memory_limit=400 * MIB)]
    assert wanted_size(rules(), NOTHING, both) == MachineSize(2, 600 * MIB)


def test_containers_without_a_limit_share_the_default():
    assert wanted_size(rules(), NOTHING, [NOTHING, NOTHING, memory(512)]).memory == (256 + 512) * MIB


def test_a_pod_that_declares_nothing_never_has_less_than_the_default():
    assert wanted_size(rules(vcpus=2), NOTHING, [cpus(0.1, memory_limit=MIB)]) == MachineSize(2, 256 * MIB)


def test_a_pod_that_declares_one_of_both_gets_the_other_from_its_containers():
    assert wanted_size(rules(), memory(128), [cpus(2), cpus(1)]) == MachineSize(3, 128 * MIB)


def test_a_machine_boots_with_one_vcpu_and_may_have_less_than_it_was_made_with():
    made = rules(cpus(4))
    assert made.booted.vcpus == 1 and made.bound.vcpus == 8
    assert given_size(made, wanted_size(made, cpus(1))).vcpus == 1


def test_a_machine_never_has_less_than_it_boots_with():
    booted = rules(boot_memory=Size(130 * MIB))
    assert given_size(booted, MachineSize(1, 64 * MIB)) == booted.booted == MachineSize(1, 130 * MIB)
    assert rules(memory(100), boot_memory=Size(130 * MIB)).booted == MachineSize(1, 100 * MIB), "it needs no more"


@pytest.mark.parametrize(
    ("declared", "bound"),
    [
        (cpus(5), "5 vCPUs.* at most 4"),
        (memory(1020), "1028 MiB of memory, overhead included.* at most 1024"),
    ],
)
def test_more_than_the_profile_lets_a_machine_have_is_refused_and_the_bound_is_named(declared, bound):
    small = rules(max_vcpus=4, max_memory=Size(GIB), overhead=Size(8 * MIB))
    with pytest.raises(InvalidArgument, match=bound) as caught:
        given_size(small, wanted_size(small, declared))
    assert "max_" in caught.value.hint


def test_a_profile_without_bounds_gives_at_most_twice_the_hosts_processors_unless_the_pod_declares_more():
    assert rules(processors=2).bound.vcpus == 4
    assert rules(cpus(5), processors=2).bound.vcpus == 5
    assert rules(processors=2, max_vcpus=6).bound.vcpus == 6


def test_a_profile_without_bounds_leaves_room_for_the_pod_as_it_is_made():
    assert rules().bound == MachineSize(8, 64 * GIB)
    large = rules(cpus(20, memory_limit=100 * GIB))
    assert given_size(large, wanted_size(large, cpus(20, memory_limit=100 * GIB))) == MachineSize(20, 100 * GIB)
    with pytest.raises(InvalidArgument, match="21 vCPUs"):
        given_size(large, wanted_size(large, cpus(21)))


def test_more_vcpus_than_any_machine_has_are_refused():
    huge = rules(cpus(1000))
    with pytest.raises(InvalidArgument, match=f"1000 vCPUs.* at most {MOST_VCPUS}"):
        given_size(huge, wanted_size(huge, cpus(1000)))


@given(declared=limits, containers=st.lists(limits, max_size=5), overhead=st.integers(0, 1 << 30))
def test_the_machine_is_as_large_as_what_may_be_used_and_less_than_a_block_larger(declared, containers, overhead):
    found = wanted_size(rules(overhead=Size(overhead)), declared, containers)
    least = declared.memory_limit or max(256 * MIB, sum(each.memory_limit for each in containers))
    assert found.memory % MEMORY_BLOCK == 0 and found.memory >= least + overhead
    if declared.memory_limit:
        assert found.memory < least + overhead + MEMORY_BLOCK
    for each in [declared] if declared.cpu_quota > 0 else containers:
        assert found.vcpus >= math.ceil(max(each.cpu_quota, 0) / (each.cpu_period or 100_000))


@given(declared=limits, containers=st.lists(limits, min_size=1, max_size=5))
def test_a_container_that_ends_never_makes_a_machine_larger(declared, containers):
    before, after = wanted_size(rules(), declared, containers), wanted_size(rules(), declared, containers[1:])
    assert larger(before, after) == before


@given(has=sizes, was=sizes, needed=sizes)
def test_a_machine_grows_before_its_containers_and_shrinks_after_them(has, was, needed):
    first, last = steps_of(has, was, needed)
    for name in ("vcpus", "memory"):
        had, before, after = (getattr(size, name) for size in (has, was, needed))
        assert getattr(first, name) == max(had, after)
        assert getattr(last, name) == (after if after < before else max(had, after))


def test_what_a_change_leaves_as_it_was_is_left_although_the_machine_has_more():
    has, was = MachineSize(2, 512 * MIB), MachineSize(2, 256 * MIB)
    assert steps_of(has, was, MachineSize(1, 256 * MIB)) == (has, MachineSize(1, 512 * MIB))


@given(declared=limits, update=limits)
def test_an_update_of_a_pod_changes_what_it_names(declared, update):
    after = updated_declaration(declared, update)
    assert after.memory_limit == (update.memory_limit or declared.memory_limit)
    assert after.cpu_quota == (update.cpu_quota if update.cpu_quota > 0 else declared.cpu_quota)
    assert updated_declaration(after, update) == after


def test_no_limit_of_the_pod_s_cgroup_leaves_what_the_pod_declares():
    declared = cpus(2, memory_limit=GIB)
    for quota in (-1, -1 - 25_000):
        update = Resources(cpu_quota=quota, cpu_period=100_000, cpu_shares=512, memory_limit=UNLIMITED_CGROUP - GIB)
        assert updated_declaration(declared, update) == cpus(2, memory_limit=GIB, cpu_shares=512)


def test_containers_that_outgrow_their_pod_are_declared_by_it():
    one, two = cpus(1, memory_limit=GIB), cpus(0.5, memory_limit=GIB)
    pod = cpus(1.5, memory_limit=2 * GIB)
    after = outgrown(pod, [one, two], [one, cpus(2, memory_limit=3 * GIB)])
    assert (after.cpu_quota, after.cpu_period, after.memory_limit) == (300_000, 100_000, 4 * GIB)
    assert outgrown(pod, [one, two], [one, cpus(0.5, memory_limit=MIB)]) == pod, "one that shrinks changes nothing"
    assert outgrown(NOTHING, [one], [cpus(9, memory_limit=9 * GIB)]) == NOTHING, "it is added up anyway"


def test_a_limit_that_is_the_pod_s_alone_holds_for_containers_that_could_have_more():
    pod = cpus(1, memory_limit=GIB)
    assert outgrown(pod, [pod, pod], [pod, cpus(2, memory_limit=2 * GIB)]) == pod


@given(before=limits, after=limits)
def test_more_is_declared_where_a_machine_would_have_to_grow_for_it(before, after):
    grown = larger(wanted_size(rules(), before), wanted_size(rules(), after)) != wanted_size(rules(), before)
    if grown and before.memory_limit and after.memory_limit and before.cpu_quota > 0 and after.cpu_quota > 0:
        assert declares_more(before, after)


@given(before=limits, changes=limits)
def test_an_update_of_a_container_leaves_what_it_does_not_name(before, changes):
    after = updated_resources(before, changes)
    assert after.memory_limit == (changes.memory_limit or before.memory_limit)
    assert after.cpu_quota == (changes.cpu_quota or before.cpu_quota)
    assert updated_resources(before, NOTHING) == before


def test_a_machine_is_charged_for_the_cpu_time_that_its_pod_declares():
    assert charged(cpus(2, cpu_shares=7), [cpus(1, cpu_shares=9)]) == cpus(2, cpu_shares=7)


def test_a_machine_is_charged_for_the_cpu_time_of_its_containers_where_all_have_a_limit():
    one, two = cpus(0.5, cpu_shares=100), Resources(cpu_quota=500, cpu_period=1000, cpu_shares=200)
    assert charged(NOTHING, [one, two]) == cpus(1, cpu_shares=300)
    assert charged(NOTHING, [one, NOTHING]).cpu_quota == 0
    assert cpu_time(NOTHING) > cpu_time(cpus(240))
