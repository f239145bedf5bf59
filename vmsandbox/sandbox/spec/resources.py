"""A container's limits, as OCI runtime-spec `linux.resources`."""

from dataclasses import fields, replace
from typing import cast

from vmsandbox.model import Resources
from vmsandbox.protocol.codec import JSON
from vmsandbox.sandbox.spec.limits import UNLIMITED


def build_resources(resources: Resources) -> dict[str, JSON]:
    """OCI `linux.resources`; swap equals the limit where it is not set, as the guest has none to give.

    The CPUs of a cpuset are the host's: the agent maps them (`CreateContainer.cpus`). Its memory nodes are the host's,
    too, and the guest has one of its own: they say nothing here.
    """
    memory = {"limit": resources.memory_limit, "swap": resources.memory_swap_limit or resources.memory_limit}
    cpu = {"shares": resources.cpu_shares, "quota": resources.cpu_quota, "period": resources.cpu_period}
    built = {
        "memory": {key: value for key, value in memory.items() if value},
        "cpu": {key: value for key, value in cpu.items() if value},
        "unified": dict(resources.unified),
    }
    return {key: value for key, value in built.items() if value}


def build_update(before: Resources, wanted: Resources) -> dict[str, JSON]:
    """OCI `linux.resources` that change a container's limits: those that it shall not have any more are set to none.

    A limit of memory below what the container uses is refused, instead of having its processes killed
    (`checkBeforeUpdate`).
    """
    told = replace(
        wanted,
        memory_limit=wanted.memory_limit or (UNLIMITED if before.memory_limit else 0),
        memory_swap_limit=wanted.memory_swap_limit or (UNLIMITED if before.memory_swap_limit else 0),
        cpu_quota=wanted.cpu_quota or (UNLIMITED if before.cpu_quota else 0),
    )
    built = build_resources(told)
    if wanted.memory_limit > 0 and not 0 < before.memory_limit <= wanted.memory_limit:
        built["memory"] = {**cast(dict[str, JSON], built["memory"]), "checkBeforeUpdate": True}
    return built


def updated_resources(before: Resources, changes: Resources) -> Resources:
    """The limits after CRI UpdateContainerResources: what is not set, 0 or "", stays as it was; so do other keys.

    A limit of memory brings that of memory with swap along, where the request does not name it: the sum cannot be less
    than its part, and a container that could not swap cannot afterwards.
    """
    given = {field.name: getattr(changes, field.name) for field in fields(Resources)}
    changed = {name: value for name, value in given.items() if value and not isinstance(value, dict)}
    both = {**before.unified, **changes.unified}, {**before.hugepage_limits, **changes.hugepage_limits}
    after = replace(before, **changed, unified=both[0], hugepage_limits=both[1])
    if changes.memory_limit and not changes.memory_swap_limit and before.memory_swap_limit > 0:
        room = max(before.memory_swap_limit - before.memory_limit, 0) if before.memory_limit else 0
        after = replace(after, memory_swap_limit=changes.memory_limit + room)
    return after
