"""How large the machine of a pod is: pure functions of what the pod and its containers declare.

The pod's own declaration counts (CRI LinuxPodSandboxConfig.resources: a kubelet adds up the limits of its containers
there). Where it has none, what its containers add up to counts instead, CPU and memory each for itself. The profile's
overhead comes on top, for the guest's kernel and agent. The pod's overhead (CRI `overhead`) is not given to the guest:
it says what the node charges for a pod, the processes of the machine on the host included.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import replace
from fractions import Fraction

from vmsandbox.config import LEAST_MEMORY, MOST_MEMORY, MOST_VCPUS, MachineConfig
from vmsandbox.errors import InvalidArgument
from vmsandbox.hypervisor import MEMORY_BLOCK
from vmsandbox.model import MachineSize, Resources, SizeRules
from vmsandbox.sandbox.spec.resources import updated_resources

MIB = 1024 * 1024
_PERIOD = 100_000
"""Microseconds of the kernel's period of CPU time, where it is not set (runtime-spec, CPU)."""
_USUAL_MOST_VCPUS = 8
"""The vCPUs that a machine may grow to where `max_vcpus` is not set, unless that is more than twice the processors."""


def size_rules(
    machine: MachineConfig,
    declared: Resources,
    *,
    budget: int = MOST_MEMORY,
    processors: int = MOST_VCPUS,
) -> SizeRules:
    """Return what the size of a new pod's machine follows for as long as it lives.

    Args:
        machine: the settings of the pod's profile. One without bounds of its own leaves room for the pod as it is made.
        declared: by the pod; its limits are valid (`limits.check_resources`).
        budget: bytes that all machines of this host may have together.
        processors: of this host. Limits may be larger, but seldom are, and each vCPU that a machine may have costs
            memory: half a megabyte in QEMU, and one in the guest.
    """
    rules = SizeRules(
        default=MachineSize(machine.vcpus, machine.memory),
        overhead=machine.overhead,
        booted=MachineSize(1, LEAST_MEMORY),
        bound=MachineSize(MOST_VCPUS, MOST_MEMORY),
    )
    wanted = wanted_size(rules, declared)
    booted = min(max(wanted.memory, LEAST_MEMORY), _whole_blocks(machine.boot_memory))
    vcpus = machine.max_vcpus or min(max(min(_USUAL_MOST_VCPUS, 2 * processors), wanted.vcpus), MOST_VCPUS)
    memory = machine.max_memory or max(budget, wanted.memory)
    blocks = memory // MEMORY_BLOCK * MEMORY_BLOCK
    return replace(rules, booted=MachineSize(1, booted), bound=MachineSize(vcpus, max(blocks, booted)))


def wanted_size(rules: SizeRules, declared: Resources, containers: Collection[Resources] = ()) -> MachineSize:
    """Return the size for a pod: what it may use in all, with the overhead.

    CPU is rounded up to whole vCPUs, memory to whole blocks that can be plugged in.

    Args:
        rules: of its machine.
        declared: by the pod.
        containers: what those declare that run, or are going to.
    """
    cpus = _cpus(declared) or _together(map(_cpus, containers), Fraction(rules.default.vcpus))
    limits = (Fraction(each.memory_limit) for each in containers)
    memory = declared.memory_limit or _together(limits, Fraction(rules.default.memory))
    return MachineSize(math.ceil(cpus), _whole_blocks(memory + rules.overhead))


def given_size(rules: SizeRules, wanted: MachineSize) -> MachineSize:
    """Return what a machine is given: not less memory than it boots with.

    Raises:
        InvalidArgument: the pod wants more than the bound of its machine, which the message names.
    """
    bound = rules.bound
    for what, amount, most, setting in (
        ("vCPUs", wanted.vcpus, bound.vcpus, "max_vcpus"),
        ("MiB of memory, overhead included", wanted.memory // MIB, bound.memory // MIB, "max_memory"),
    ):
        if amount > most:
            raise InvalidArgument(
                f"the pod needs {amount} {what}, and its machine has at most {most}",
                hint=f"lower the pod's limits, or raise {setting} in config.yaml and make the pod again",
            )
    return MachineSize(wanted.vcpus, max(wanted.memory, rules.booted.memory))


def charged(declared: Resources, containers: Collection[Resources]) -> Resources:
    """Return the CPU time that a pod's machine is charged for: as the pod declares it, else the sum of its containers.

    A container without a limit lets the pod have none.
    """
    limits = tuple(map(_cpus, containers))
    quota = math.ceil(sum(limits, Fraction(0)) * _PERIOD) if all(limits) else 0
    shares = declared.cpu_shares or sum(each.cpu_shares for each in containers)
    if declared.cpu_quota > 0:
        return Resources(cpu_quota=declared.cpu_quota, cpu_period=declared.cpu_period, cpu_shares=shares)
    return Resources(cpu_quota=quota, cpu_period=_PERIOD, cpu_shares=shares)


def cpu_time(limits: Resources) -> Fraction | float:
    """Return the CPUs' worth of time of limits, to compare them; infinity where there is no limit."""
    return _cpus(limits) or math.inf


def declares_more(before: Resources, after: Resources) -> bool:
    """Tell whether a pod declares more CPU or memory than before."""
    return _cpus(after) > _cpus(before) or after.memory_limit > before.memory_limit


def larger(one: MachineSize, other: MachineSize) -> MachineSize:
    """Return the more of both, vCPUs and memory each for itself."""
    return MachineSize(max(one.vcpus, other.vcpus), max(one.memory, other.memory))


def steps_of(has: MachineSize, was: MachineSize, needed: MachineSize) -> tuple[MachineSize, MachineSize]:
    """Return the sizes before and after containers are told of a change: first what grows, then what shrinks.

    Args:
        has: the machine now; perhaps more than was needed, when its guest did not give memory back.
        was: needed before the change. What the change leaves as it was, is left.
        needed: after the change.
    """
    first = larger(has, needed)
    last = MachineSize(
        needed.vcpus if needed.vcpus < was.vcpus else first.vcpus,
        needed.memory if needed.memory < was.memory else first.memory,
    )
    return first, last


def updated_declaration(declared: Resources, update: Resources) -> Resources:
    """Return what a pod declares after CRI UpdatePodSandboxResources; a limit that is not set stays as it was.

    So does one that means no limit: a kubelet sends what its cgroup of the pod has, which is without a limit (-1, less
    after an overhead was subtracted, or almost 2^63) as soon as one of the containers has none.
    """
    memory = update.memory_limit if update.memory_limit <= MOST_MEMORY else 0
    quota = max(update.cpu_quota, 0)
    return updated_resources(declared, replace(update, memory_limit=memory, cpu_quota=quota))


def outgrown(declared: Resources, before: Collection[Resources], after: Collection[Resources]) -> Resources:
    """Return what a pod declares when its containers were given more than that, without a word on the pod itself.

    A kubelet before 1.34 does so. Where containers had more than their pod from the beginning, the pod alone has a
    limit (PodLevelResources), which holds.

    Args:
        declared: by the pod.
        before: what its containers declared.
        after: what they are to declare.
    """
    cpus, memory = _cpus(declared), declared.memory_limit
    more_cpus, more_memory = sum(map(_cpus, after)), sum(each.memory_limit for each in after)
    if cpus and sum(map(_cpus, before)) <= cpus < more_cpus:
        declared = replace(declared, cpu_quota=math.ceil(more_cpus * _PERIOD), cpu_period=_PERIOD)
    if memory and sum(each.memory_limit for each in before) <= memory < more_memory:
        declared = replace(declared, memory_limit=more_memory)
    return declared


def _cpus(declared: Resources) -> Fraction:
    """The CPUs' worth of time of a quota; 0 where there is none."""
    return Fraction(declared.cpu_quota, declared.cpu_period or _PERIOD) if declared.cpu_quota > 0 else Fraction(0)


def _together(limits: Iterable[Fraction], default: Fraction) -> Fraction:
    """All limits and, for containers without one, the default between them; at least the default."""
    each = tuple(limits)
    return max(default, sum(each, Fraction(0)) + (0 if all(each) else default))


def _whole_blocks(size: int | Fraction) -> int:
    return math.ceil(Fraction(size, MEMORY_BLOCK)) * MEMORY_BLOCK
