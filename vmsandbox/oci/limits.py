"""Limits as a caller has them (runtime-spec, `linux.resources`) as the model's; pure functions."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import Resources
from vmsandbox.oci.fields import check_fields

_UNLIMITED = -1


def resources_from_oci(resources: Mapping[str, Any], oom_score_adj: int = 0) -> Resources:
    """Return the limits that decide the size of a machine, and the CPUs. Raises TypeError, ValueError: malformed."""
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    return Resources(
        cpu_period=int(cpu.get("period") or 0),
        cpu_quota=int(cpu.get("quota") or 0),
        cpu_shares=int(cpu.get("shares") or 0),
        memory_limit=int(memory.get("limit") or 0),
        memory_swap_limit=int(memory.get("swap") or 0),
        oom_score_adj=oom_score_adj,
        cpuset_cpus=str(cpu.get("cpus") or ""),
    )


def update_from_oci(resources: Any) -> Resources:
    """Return the changes that an `update` asks for; what it does not name, or sets to 0, stays as it is.

    Raises:
        InvalidArgument: the document is malformed.
        Unimplemented: it asks for what a machine cannot give.
    """
    if not isinstance(resources, Mapping):
        raise InvalidArgument("the request has no resources")
    # Callers repeat the rules of devices, with which the container was made.
    asked = {name: value for name, value in resources.items() if name != "devices"}
    check_fields({"linux": {"resources": asked}})
    try:
        return replace(resources_from_oci(asked), unified=_files(asked))
    except (TypeError, AttributeError, ValueError) as error:
        raise InvalidArgument(f"the resources are malformed: {error!r}") from None


def _files(resources: Mapping[str, Any]) -> dict[str, str]:
    """Return the limits that the model has as files of cgroup v2 alone, by their names."""
    memory, cpu, pids = (resources.get(name) or {} for name in ("memory", "cpu", "pids"))
    numbers = {
        "memory.low": memory.get("reservation"),
        "pids.max": pids.get("limit"),
        "cpu.max.burst": cpu.get("burst"),
        "cpu.idle": cpu.get("idle"),
    }
    named = {name: "max" if int(value) == _UNLIMITED else str(int(value)) for name, value in numbers.items() if value}
    return {**named, **{str(name): str(value) for name, value in (resources.get("unified") or {}).items()}}
