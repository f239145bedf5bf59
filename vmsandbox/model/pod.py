"""The configuration of a sandbox."""

from dataclasses import dataclass, field

from vmsandbox.model.namespaces import Namespaces
from vmsandbox.model.resources import Resources
from vmsandbox.protocol.bounds import Int32, UInt32, UInt64
from vmsandbox.protocol.messages import Dns

NETWORK_ANNOTATION = "vmsandbox/network"
"""The annotation of a pod that is not attached to the node's network; its one value is `NO_NETWORK`."""

NO_NETWORK = "none"
"""The pod has the interface `lo` alone."""


@dataclass(frozen=True, slots=True)
class PodSandboxMetadata:
    """CRI PodSandboxMetadata: the four together name a sandbox."""

    name: str
    uid: str
    namespace: str
    attempt: UInt32 = 0


@dataclass(frozen=True, slots=True)
class PortMapping:
    """CRI PortMapping: a port of the host that leads to one of the pod."""

    container_port: Int32
    host_port: Int32
    protocol: str = "tcp"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class PodSandboxConfig:
    """CRI PodSandboxConfig, with its LinuxPodSandboxConfig folded in."""

    metadata: PodSandboxMetadata
    hostname: str = ""
    log_directory: str = ""
    dns: Dns | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    sysctls: dict[str, str] = field(default_factory=dict)
    namespaces: Namespaces = field(default_factory=Namespaces)
    privileged: bool = False
    resources: Resources = field(default_factory=Resources)
    """The limits of all containers together (CRI `resources`); they decide the size of the machine."""
    overhead: Resources = field(default_factory=Resources)
    runtime_handler: str = ""
    """The handler of RunPodSandboxRequest: a profile in config.yaml. Empty means the default profile."""
    network_namespace: str = ""
    """The path of a network namespace that is ready: the pod is given what it has, and CNI is not asked (`oci`)."""

    shm_size: UInt64 = 0
    """Bytes of the /dev/shm that its containers share; 0: as many as is usual."""
    late_network: bool = False
    """A namespace is filled after the machine is made: there is a place for its network (`Sandbox.join_network`)."""
    lasting: bool = False
    """Whether only its caller ends it: not its last container, nor the end of the process that carries its streams."""

    @property
    def networkless(self) -> bool:
        """Whether the pod asks for no network."""
        return self.annotations.get(NETWORK_ANNOTATION) == NO_NETWORK
