"""The limits of containers, each and together, by the rules of Kubernetes for limits and requests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from vmsandbox.model import Resources
from vmsandbox.pod.api import Container, PodSpec, ResourceRequirements
from vmsandbox.quantity import ZERO, Quantity

_PERIOD = 100_000
"""Microseconds of a CFS period, as in the kubelet."""
_LEAST_QUOTA = 1000
_LEAST_SHARES, _MOST_SHARES = 2, 262_144
_NEVER_KILLED, _KILLED_FIRST = -997, 1000
"""oom_score_adj of containers of a Guaranteed and of a BestEffort pod, as in the kubelet."""

Amounts = Callable[[Container], Quantity]


def limit(requirements: ResourceRequirements, name: str) -> Quantity | None:
    """The limit of a resource; 0 means none, as in Kubernetes."""
    quantity = requirements.limits.get(name)
    return quantity if quantity is not None and quantity > ZERO else None


def request(requirements: ResourceRequirements, name: str) -> Quantity:
    """The request, which is the limit where it is not set."""
    return requirements.requests.get(name) or limit(requirements, name) or ZERO


@dataclass(frozen=True, slots=True)
class PodResources:
    """The limits of a whole pod: CPUs, and bytes of memory."""

    cpu: Quantity
    memory: Quantity
    best_effort: bool
    guaranteed: bool

    def of(self, container: Container, kind: str, name: str) -> Quantity:
        """A container's `limits` or `requests` of `cpu` or `memory`; a limit that is not set is the pod's."""
        if kind == "requests":
            return request(container.resources, name)
        return limit(container.resources, name) or (self.cpu if name == "cpu" else self.memory)

    def sandbox(self, spec: PodSpec) -> Resources:
        """The CRI resources of the sandbox; what the pod says nothing about stays unset: the machine's default."""
        requested = _peak(spec, lambda container: request(container.resources, "cpu"))
        own = request(spec.resources, "cpu")
        cpu, memory = _declares(spec, "cpu"), _declares(spec, "memory")
        return Resources(
            cpu_period=_PERIOD if cpu else 0,
            cpu_quota=_quota(self.cpu) if cpu else 0,
            cpu_shares=_shares(own if own > ZERO else requested),
            memory_limit=self.memory.whole if memory else 0,
        )

    def container(self, container: Container) -> Resources:
        """The CRI resources of a container."""
        cpu, memory = limit(container.resources, "cpu"), limit(container.resources, "memory")
        return Resources(
            cpu_period=_PERIOD if cpu else 0,
            cpu_quota=_quota(cpu) if cpu else 0,
            cpu_shares=_shares(request(container.resources, "cpu")),
            memory_limit=memory.whole if memory else 0,
            oom_score_adj=self._oom_score_adj(container),
            unified={"memory.oom.group": "1"},
        )

    def _oom_score_adj(self, container: Container) -> int:
        if self.guaranteed:
            return _NEVER_KILLED
        if self.best_effort:
            return _KILLED_FIRST
        share = request(container.resources, "memory").value / self.memory.value if self.memory.value else Fraction(0)
        return min(max(_KILLED_FIRST - int(1000 * share), 3), _KILLED_FIRST - 1)


def pod_resources(spec: PodSpec, vcpus: int, memory: int) -> PodResources:
    """Return the limits of all containers of a pod together.

    Init containers run one after the other, sidecars beside all that follow them: the pod may use the most that
    its limits add up to at any moment. Containers without a limit share a machine of the default size
    between them, or have what they request, where that is more.

    Args:
        spec: of the pod.
        vcpus: of the default machine.
        memory: of the default machine, bytes.
    """
    everyone = (*spec.init_containers, *spec.containers)
    quantities = [q for c in everyone for q in (*c.resources.limits.values(), *c.resources.requests.values())]
    return PodResources(
        cpu=_total(spec, "cpu", Quantity(Fraction(vcpus))),
        memory=_total(spec, "memory", Quantity(Fraction(memory))),
        best_effort=not any(quantity > ZERO for quantity in quantities),
        guaranteed=all(map(_is_guaranteed, everyone)),
    )


def _declares(spec: PodSpec, name: str) -> bool:
    everyone = (spec.resources, *(container.resources for container in (*spec.init_containers, *spec.containers)))
    return any(request(requirements, name) > ZERO for requirements in everyone)


def _total(spec: PodSpec, name: str, default: Quantity) -> Quantity:
    if declared := limit(spec.resources, name):
        return declared

    limited = _peak(spec, lambda container: limit(container.resources, name) or ZERO)
    if all(limit(container.resources, name) for container in (*spec.init_containers, *spec.containers)):
        return limited
    requested = _peak(spec, lambda c: limit(c.resources, name) or request(c.resources, name))
    return max(limited + default, requested)


def _peak(spec: PodSpec, amount: Amounts) -> Quantity:
    """The most that runs at the same time (KEP-753: sidecars count from their start on)."""
    beside, highest = ZERO, ZERO
    for container in spec.init_containers:
        highest = max(highest, beside + amount(container))
        if container.sidecar:
            beside = beside + amount(container)
    return max(highest, _sum(spec.containers, amount) + beside)


def _sum(containers: Sequence[Container], amount: Amounts) -> Quantity:
    total = ZERO
    for container in containers:
        total = total + amount(container)
    return total


def _is_guaranteed(container: Container) -> bool:
    limits = (limit(container.resources, "cpu"), limit(container.resources, "memory"))
    return all(limits) and limits == (request(container.resources, "cpu"), request(container.resources, "memory"))


def _quota(cpu: Quantity) -> int:
    return max(cpu.milli * _PERIOD // 1000, _LEAST_QUOTA)


def _shares(cpu: Quantity) -> int:
    return min(max(cpu.milli * 1024 // 1000, _LEAST_SHARES), _MOST_SHARES)
