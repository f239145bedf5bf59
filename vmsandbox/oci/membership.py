"""How a caller says that a container belongs to a pod: by annotations, of which there are two dialects.

containerd's CRI and CRI-O name the pod's sandbox in every container of it. podman names its infra container, which has
itself no annotation, in the words of CRI-O.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import Resources

CONTAINERD = "io.kubernetes.cri"
CRI_O = "io.kubernetes.cri-o"

_DIALECTS = (
    (CONTAINERD, f"{CONTAINERD}.container-type", f"{CONTAINERD}.sandbox-id"),
    (CRI_O, f"{CRI_O}.ContainerType", f"{CRI_O}.SandboxID"),
)

HANDLER = "vmsandbox/handler"
"""The annotation that names the handler in config.yaml whose machine a container gets."""


@dataclass(frozen=True, slots=True)
class Membership:
    """The pod and the handler of a container, by its annotations."""

    pod: str = ""
    """The caller's id of the sandbox that it belongs to, or is; empty: it belongs to none."""
    is_sandbox: bool = False
    """Whether it is the pod's sandbox: the pod ends with it."""
    needs_sandbox: bool = False
    """Whether the caller makes the sandbox's container before the others; CRI-O may have none."""
    declared: Resources | None = None
    """The limits of the pod, where the caller tells them: those of its sandbox are not the pod's."""
    handler: str = ""
    """The handler in config.yaml; empty: the default one."""


def membership(container_id: str, annotations: Mapping[str, str]) -> Membership:
    """Read the annotations of a container. Raises InvalidArgument: they contradict themselves."""
    handler = str(annotations.get(HANDLER, ""))
    for dialect, type_name, id_name in _DIALECTS:
        kind, pod = annotations.get(type_name), annotations.get(id_name)
        if kind == "sandbox":
            return Membership(container_id, is_sandbox=True, declared=_declared(annotations), handler=handler)
        if kind == "container" and pod:
            return Membership(pod, needs_sandbox=dialect == CONTAINERD, declared=Resources(), handler=handler)
        if kind not in (None, "container"):
            raise InvalidArgument(f"the annotation {type_name} is neither sandbox nor container: {kind!r}")
    return Membership(handler=handler)


def _declared(annotations: Mapping[str, str]) -> Resources:
    """Return what containerd says of the limits of a pod's containers together."""
    memory, quota, period, shares = (
        _number(annotations, f"{CONTAINERD}.sandbox-{name}")
        for name in ("memory", "cpu-quota", "cpu-period", "cpu-shares")
    )
    return Resources(memory_limit=memory, cpu_quota=quota, cpu_period=period, cpu_shares=shares)


def _number(annotations: Mapping[str, str], name: str) -> int:
    text = annotations.get(name) or "0"
    try:
        return int(text)
    except ValueError:
        raise InvalidArgument(f"the annotation {name} is not a number: {text!r}") from None
