"""The limits of CPU and memory that there can be at all: the one list of their bounds (CRI LinuxContainerResources)."""

from dataclasses import dataclass

from vmsandbox.config import MOST_MEMORY
from vmsandbox.errors import InvalidArgument
from vmsandbox.model import Resources
from vmsandbox.protocol.cpus import parse_cpus
from vmsandbox.sandbox.spec.unified import check_unified

UNLIMITED = -1
"""The quota or swap that means no limit in Kubernetes and the runtime-spec; 0 means not set."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    """From `least` to `most`; 0 always, and `also` where it has a meaning of its own."""

    field: str
    """The field of the CRI's message."""
    least: int
    most: int
    also: int = 0

    def check(self, value: int, path: str) -> None:
        if value in (0, self.also) or self.least <= value <= self.most:
            return
        exceptions = "0" if self.also == 0 else f"0, {self.also}"
        raise InvalidArgument(
            f"{self.field} {value} is not valid",
            hint=f"{exceptions} or from {self.least} to {self.most}",
            field=path,
        )


_BOUNDS = {
    "memory_limit": _Bounds("memory_limit_in_bytes", 1, MOST_MEMORY),
    "memory_swap_limit": _Bounds("memory_swap_limit_in_bytes", 1, MOST_MEMORY, also=UNLIMITED),
    # The kernel's, sched-bwc.rst: a period from 1 ms to 1 s, a quota of at least 1 ms.
    "cpu_period": _Bounds("cpu_period", 1000, 1_000_000),
    "cpu_quota": _Bounds("cpu_quota", 1000, (1 << 44) - 1, also=UNLIMITED),
    # Of cgroup v1, which crun converts to a weight (runtime-spec, CPU).
    "cpu_shares": _Bounds("cpu_shares", 2, 1 << 18),
    "oom_score_adj": _Bounds("oom_score_adj", -1000, 1000),
}
"""The bounds by field of `Resources`."""


def check_resources(resources: Resources, field: str = "resources") -> None:
    """Raise an error, naming the field and its bounds, for limits that are not possible.

    A limit that is larger than the machine, or the host, can be: it limits nothing.

    Args:
        resources: of a container, a pod or its overhead.
        field: where the model has them, for the error.

    Raises:
        InvalidArgument: a value is not valid.
        Unimplemented: as `check_unified`.
    """
    for name, bounds in _BOUNDS.items():
        bounds.check(getattr(resources, name), f"{field}.{name}")
    for name in ("cpuset_cpus", "cpuset_mems"):
        try:
            parse_cpus(getattr(resources, name))
        except ValueError as error:
            raise InvalidArgument(
                f"{name} is not valid: {error}", hint="for example 0-3,7", field=f"{field}.{name}"
            ) from None
    check_unified(resources.unified, f"{field}.unified")
