"""A container's limits, as OCI runtime-spec `linux.resources`."""

from dataclasses import fields, replace

from vmsandbox.model import Resources
from vmsandbox.protocol.codec import JSON


def build_resources(resources: Resources) -> dict[str, JSON]:
    """OCI `linux.resources`; swap equals the limit where it is not set, as the guest has none to give.

    The CPUs and memory nodes of a cpuset are the host's, which the guest does not have: they say nothing here.
    """
    memory = {"limit": resources.memory_limit, "swap": resources.memory_swap_limit or resources.memory_limit}
    cpu = {"shares": resources.cpu_shares, "quota": resources.cpu_quota, "period": resources.cpu_period}
    built = {
        "memory": {key: value for key, value in memory.items() if value},
        "cpu": {key: value for key, value in cpu.items() if value},
        "unified": dict(resources.unified),
    }
    return {key: value for key, value in built.items() if value}


def updated_resources(before: Resources, changes: Resources) -> Resources:
    """The limits after CRI UpdateContainerResources: what is not set stays as it was."""
    unset = Resources()
    changed = {
        field.name: getattr(changes, field.name)
        for field in fields(Resources)
        if getattr(changes, field.name) != getattr(unset, field.name)
    }
    return replace(before, **changed)
