"""core/v1: Pod, ConfigMap and Secret."""

import enum
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from vmsandbox.pod.api.container import Container, ResourceRequirements, RestartPolicy
from vmsandbox.pod.api.security import PodSecurityContext
from vmsandbox.pod.api.volumes import Volume
from vmsandbox.quantity import Quantity
from vmsandbox.typed_yaml import Located


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMeta(Located):
    """ObjectMeta."""

    REFUSED: ClassVar = {"generateName": "names are made by an API server; give a name"}
    IGNORED: ClassVar = frozenset(
        {
            "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generation",
            "managedFields", "ownerReferences", "resourceVersion", "selfLink",
        }
    )  # fmt: skip

    name: str
    namespace: str = "default"
    uid: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class DnsPolicy(enum.Enum):
    """DNSPolicy; without a cluster's DNS, the two of the cluster mean the host's, as to the kubelet."""

    CLUSTER_FIRST = "ClusterFirst"
    CLUSTER_FIRST_WITH_HOST_NET = "ClusterFirstWithHostNet"
    DEFAULT = "Default"
    NONE = "None"


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsOption(Located):
    """PodDNSConfigOption."""

    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig(Located):
    """PodDNSConfig."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[DnsOption, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAlias(Located):
    """HostAlias."""

    ip: str
    hostnames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalObjectReference(Located):
    """LocalObjectReference."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodOs(Located):
    """PodOS."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec(Located):
    """PodSpec."""

    REFUSED: ClassVar = MappingProxyType(
        {
            "ephemeralContainers": "they are added to a running pod",
            "resourceClaims": "there are no resource claims without a cluster",
        }
    )
    IGNORED: ClassVar = frozenset(
        {
            "affinity", "automountServiceAccountToken", "enableServiceLinks", "nodeSelector", "preemptionPolicy",
            "priority", "priorityClassName", "readinessGates", "schedulerName", "schedulingGates", "serviceAccount",
            "tolerations", "topologySpreadConstraints", "workloadRef",
        }
    )  # fmt: skip

    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    termination_grace_period_seconds: int = 30
    active_deadline_seconds: int | None = None
    dns_policy: DnsPolicy = DnsPolicy.CLUSTER_FIRST
    dns_config: DnsConfig = field(default_factory=DnsConfig)
    hostname: str = ""
    hostname_override: str = ""
    subdomain: str = ""
    set_hostname_as_fqdn: bool = field(default=False, metadata={"key": "setHostnameAsFQDN"})
    host_aliases: tuple[HostAlias, ...] = ()
    share_process_namespace: bool = False
    host_network: bool = False
    host_pid: bool = field(default=False, metadata={"key": "hostPID"})
    host_ipc: bool = field(default=False, metadata={"key": "hostIPC"})
    host_users: bool = True
    security_context: PodSecurityContext = field(default_factory=PodSecurityContext)
    runtime_class_name: str = ""
    overhead: dict[str, Quantity] = field(default_factory=dict)
    resources: ResourceRequirements = field(default_factory=ResourceRequirements)
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    node_name: str = ""
    service_account_name: str = ""
    os: PodOs | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod(Located):
    """Pod."""

    IGNORED: ClassVar = frozenset({"apiVersion", "kind", "status"})

    metadata: ObjectMeta
    spec: PodSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMap(Located):
    """ConfigMap."""

    IGNORED: ClassVar = frozenset({"apiVersion", "kind", "immutable"})

    metadata: ObjectMeta
    data: dict[str, str] = field(default_factory=dict)
    binary_data: dict[str, bytes] = field(default_factory=dict)

    @property
    def content(self) -> dict[str, bytes]:
        """Every key."""
        return {key: value.encode() for key, value in self.data.items()} | self.binary_data


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret(Located):
    """Secret."""

    IGNORED: ClassVar = frozenset({"apiVersion", "kind", "immutable"})

    metadata: ObjectMeta
    type: str = "Opaque"
    data: dict[str, bytes] = field(default_factory=dict, repr=False)
    string_data: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def content(self) -> dict[str, bytes]:
        """Every key; stringData wins."""
        return self.data | {key: value.encode() for key, value in self.string_data.items()}
