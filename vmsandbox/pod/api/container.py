"""core/v1: Container and its fields, except volumes and security."""

import enum
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from vmsandbox.pod.api.probes import Lifecycle, MessagePolicy, Probe
from vmsandbox.pod.api.references import KeySelector, ObjectFieldSelector, ObjectReference, ResourceFieldSelector
from vmsandbox.pod.api.security import SecurityContext
from vmsandbox.pod.api.volumes import PullPolicy, VolumeDevice, VolumeMount
from vmsandbox.quantity import Quantity
from vmsandbox.typed_yaml import Located


class RestartPolicy(enum.Enum):
    """RestartPolicy."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVarSource(Located):
    """EnvVarSource: exactly one of its fields."""

    REFUSED: ClassVar = {"fileKeyRef": "variables from files of a volume are not read"}

    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar(Located):
    """EnvVar."""

    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFromSource(Located):
    """EnvFromSource."""

    prefix: str = ""
    config_map_ref: ObjectReference | None = None
    secret_ref: ObjectReference | None = None


class Protocol(enum.Enum):
    """Protocol."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPort(Located):
    """ContainerPort; without a hostPort it only tells a reader."""

    container_port: int
    name: str = ""
    protocol: Protocol = Protocol.TCP
    host_port: int = 0
    host_ip: str = field(default="", metadata={"key": "hostIP"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRequirements(Located):
    """ResourceRequirements."""

    REFUSED: ClassVar = {"claims": "there are no resource claims without a cluster"}

    requests: dict[str, Quantity] = field(default_factory=dict)
    limits: dict[str, Quantity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Container(Located):
    """Container; `restart_policy` is for init containers, which it makes sidecars."""

    REFUSED: ClassVar = MappingProxyType(
        {
            "restartPolicyRules": "containers restart by the pod's restartPolicy",
        }
    )
    IGNORED: ClassVar = frozenset({"readinessProbe", "resizePolicy"})

    name: str
    image: str
    image_pull_policy: PullPolicy | None = None
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    resources: ResourceRequirements = field(default_factory=ResourceRequirements)
    restart_policy: RestartPolicy | None = None
    volume_mounts: tuple[VolumeMount, ...] = ()
    volume_devices: tuple[VolumeDevice, ...] = ()
    security_context: SecurityContext = field(default_factory=SecurityContext)
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None
    termination_message_path: str = ""
    termination_message_policy: MessagePolicy | None = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False

    @property
    def sidecar(self) -> bool:
        """Whether an init container runs on beside the others."""
        return self.restart_policy is RestartPolicy.ALWAYS
