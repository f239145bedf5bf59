"""The pod as it refers to itself: fieldRef and resourceFieldRef (the downward API)."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from vmsandbox.pod.api import Container, Manifest, ObjectFieldSelector, Pod, ResourceFieldSelector
from vmsandbox.pod.plan.pod_resources import PodResources
from vmsandbox.protocol.messages import Dns
from vmsandbox.quantity import Quantity

_ENTRY = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_ONE = Quantity.parse("1")
_RESOURCES = ("limits.cpu", "limits.memory", "requests.cpu", "requests.memory")


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """The settings of the host that a plan needs."""

    uid: str
    """The uid of the pod, if its manifest has none."""
    dns: Dns = field(default_factory=Dns)
    """The host's resolv.conf(5), which pods inherit; empty: what the pod's network says."""
    log_directory: str = ""
    """Absolute; the log of a container is NAME/ATTEMPT.log in it. Empty: output is not logged."""
    node_name: str = "localhost"
    host_ips: tuple[str, ...] = ("127.0.0.1",)
    cluster_domain: str = "cluster.local"
    handlers: tuple[str, ...] = ("",)
    """The RuntimeClass handlers whose pods are machines."""
    vcpus: int = 1
    """vCPUs of a machine whose pod declares nothing."""
    memory: int = 256 * 1024 * 1024
    """Bytes for the containers of a machine whose pod declares nothing."""
    seccomp_directory: Path = Path("/var/lib/kubelet/seccomp")
    """Where localhostProfile of a seccompProfile is looked up, as the kubelet does."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod, and what is known of it when its sandbox runs; before that it has no addresses."""

    manifest: Manifest
    settings: PlanSettings
    resources: PodResources
    ips: tuple[str, ...] = ()

    @property
    def pod(self) -> Pod:
        """The Pod of the manifest."""
        return self.manifest.pod

    @property
    def uid(self) -> str:
        """The uid of the pod: the manifest's, or else the given one."""
        return self.pod.metadata.uid or self.settings.uid

    def with_ips(self, ips: tuple[str, ...]) -> "PodFacts":
        """The same, when its sandbox runs."""
        return replace(self, ips=ips)

    def field(self, selector: ObjectFieldSelector, *, volume: bool = False) -> str:
        """Return the value of a fieldRef, in a variable or in a downwardAPI volume.

        Raises:
            InvalidArgument: there is no such field, or not there.
        """
        path = selector.field_path
        if entry := _ENTRY.fullmatch(path):
            values = self.pod.metadata.labels if entry[1] == "labels" else self.pod.metadata.annotations
            return values.get(entry[2], "")
        fields = self._metadata() | (self._of_volumes() if volume else self._of_variables())
        if path not in fields:
            raise selector.at.of("fieldPath").error(f"there is no field {path[:80]!r} to refer to here")
        return fields[path]

    def resource(self, selector: ResourceFieldSelector, container: Container) -> str:
        """Return the value of a resourceFieldRef for `container`, or for the container that it names.

        A limit that is not set is the machine's.

        Raises:
            InvalidArgument: there is no such container or resource.
        """
        if selector.resource not in _RESOURCES:
            raise selector.at.of("resource").error(f"{selector.resource[:80]!r} is not one of {', '.join(_RESOURCES)}")
        kind, _, name = selector.resource.partition(".")
        divisor = selector.divisor or _ONE
        if divisor.value <= 0:
            raise selector.at.of("divisor").error("the divisor has to be positive")
        amount = self.resources.of(container, kind, name)
        return str(amount.over(divisor))

    def container(self, selector: ResourceFieldSelector, default: Container | None) -> Container:
        """The container that a resourceFieldRef is about. Raises InvalidArgument where there is none."""
        spec = self.pod.spec
        if not selector.container_name and default is not None:
            return default
        for container in (*spec.init_containers, *spec.containers):
            if container.name == selector.container_name:
                return container
        raise selector.at.of("containerName").error(f"there is no container {selector.container_name[:80]!r}")

    def _metadata(self) -> dict[str, str]:
        metadata = self.pod.metadata
        return {"metadata.name": metadata.name, "metadata.namespace": metadata.namespace, "metadata.uid": self.uid}

    def _of_variables(self) -> dict[str, str]:
        return {
            "spec.nodeName": self.pod.spec.node_name or self.settings.node_name,
            "spec.serviceAccountName": self.pod.spec.service_account_name or "default",
            "status.hostIP": self.settings.host_ips[0],
            "status.hostIPs": ",".join(self.settings.host_ips),
            "status.podIP": self.ips[0] if self.ips else "",
            "status.podIPs": ",".join(self.ips),
        }

    def _of_volumes(self) -> dict[str, str]:
        metadata = self.pod.metadata
        return {
            "metadata.labels": _lines(metadata.labels),
            "metadata.annotations": _lines(metadata.annotations),
        }


def _lines(values: dict[str, str]) -> str:
    """Format values like the kubelet: one quoted value per line, sorted by key."""
    return "\n".join(f"{key}={_quoted(value)}" for key, value in sorted(values.items()))


def _quoted(text: str) -> str:
    """Quote like Go's %q, for the characters that can occur in a label."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(char, char) for char in text) + '"'
