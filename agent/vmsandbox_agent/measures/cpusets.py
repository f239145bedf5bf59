"""The host's cpusets of containers, in the machine's own CPUs."""

from collections.abc import Mapping


def share_out(wanted: Mapping[str, frozenset[int]], cpus: frozenset[int]) -> dict[str, frozenset[int]]:
    """Give each container as many CPUs of the machine as it has of the host, as far as there are so many.

    Containers that share a CPU of the host share one of the machine, and others do not. The smallest sets come first:
    those are CPUs that a container has to itself. A container for which nothing is left has all CPUs.

    Args:
        wanted: CPUs of the host, by container.
        cpus: those of the machine.
    """
    left = sorted(cpus, reverse=True)
    places: dict[int, int] = {}
    for name in sorted(wanted, key=lambda name: len(wanted[name])):
        for cpu in sorted(wanted[name] - places.keys()):
            if left:
                places[cpu] = left.pop()
    shared = {name: frozenset(places[cpu] for cpu in own if cpu in places) for name, own in wanted.items()}
    return {name: own or cpus for name, own in shared.items()}
