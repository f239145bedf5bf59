"""core/v1: Volume, its sources, and VolumeMount."""

import enum
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from vmsandbox.pod.api.references import ObjectFieldSelector, ResourceFieldSelector
from vmsandbox.quantity import Quantity
from vmsandbox.typed_yaml import Located

_CLUSTER = "it needs a cluster's storage; use a claim, hostPath, emptyDir or an image"
_TOKENS = "there is no API server to issue it"


class Medium(enum.Enum):
    """StorageMedium; hugepages are not among them."""

    DEFAULT = ""
    MEMORY = "Memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyDir(Located):
    """EmptyDirVolumeSource."""

    medium: Medium = Medium.DEFAULT
    size_limit: Quantity | None = None

    @property
    def limit(self) -> int | None:
        """Bytes; 0 means no limit, as in Kubernetes."""
        return self.size_limit.whole or None if self.size_limit else None


class HostPathType(enum.Enum):
    """HostPathType: what has to be there, or is made."""

    ANY = ""
    DIRECTORY_OR_CREATE = "DirectoryOrCreate"
    DIRECTORY = "Directory"
    FILE_OR_CREATE = "FileOrCreate"
    FILE = "File"
    SOCKET = "Socket"
    CHAR_DEVICE = "CharDevice"
    BLOCK_DEVICE = "BlockDevice"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPath(Located):
    """HostPathVolumeSource."""

    path: str
    type: HostPathType = HostPathType.ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyToPath(Located):
    """KeyToPath."""

    key: str
    path: str
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMapVolume(Located):
    """ConfigMapVolumeSource, ConfigMapProjection."""

    name: str
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretVolume(Located):
    """SecretVolumeSource."""

    secret_name: str
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection(Located):
    """ConfigMapProjection, SecretProjection."""

    name: str
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DownwardFile(Located):
    """DownwardAPIVolumeFile."""

    path: str
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DownwardProjection(Located):
    """DownwardAPIProjection."""

    items: tuple[DownwardFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DownwardVolume(Located):
    """DownwardAPIVolumeSource."""

    items: tuple[DownwardFile, ...] = ()
    default_mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedSource(Located):
    """VolumeProjection."""

    REFUSED: ClassVar = {"serviceAccountToken": _TOKENS, "clusterTrustBundle": _TOKENS, "podCertificate": _TOKENS}

    config_map: Projection | None = None
    secret: Projection | None = None
    downward: DownwardProjection | None = field(default=None, metadata={"key": "downwardAPI"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedVolume(Located):
    """ProjectedVolumeSource."""

    sources: tuple[ProjectedSource, ...] = ()
    default_mode: int | None = None


class PullPolicy(enum.Enum):
    """PullPolicy."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageVolume(Located):
    """ImageVolumeSource."""

    reference: str
    pull_policy: PullPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimVolume(Located):
    """PersistentVolumeClaimVolumeSource: the named volume of the host that is called as the claim."""

    claim_name: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Located):
    """Volume: a name, and exactly one source."""

    REFUSED: ClassVar = MappingProxyType(
        dict.fromkeys(
            (
                "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "ephemeral", "fc",
                "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "iscsi", "nfs",
                "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO",
                "storageos", "vsphereVolume",
            ),
            _CLUSTER,
        )
    )  # fmt: skip

    name: str
    empty_dir: EmptyDir | None = None
    host_path: HostPath | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    projected: ProjectedVolume | None = None
    downward: DownwardVolume | None = field(default=None, metadata={"key": "downwardAPI"})
    image: ImageVolume | None = None
    persistent_volume_claim: ClaimVolume | None = None


class Propagation(enum.Enum):
    """MountPropagationMode."""

    NONE = "None"
    HOST_TO_CONTAINER = "HostToContainer"
    BIDIRECTIONAL = "Bidirectional"


class RecursiveReadOnly(enum.Enum):
    """RecursiveReadOnlyMode."""

    DISABLED = "Disabled"
    IF_POSSIBLE = "IfPossible"
    ENABLED = "Enabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount(Located):
    """VolumeMount."""

    name: str
    mount_path: str
    read_only: bool = False
    recursive_read_only: RecursiveReadOnly = RecursiveReadOnly.DISABLED
    sub_path: str = ""
    sub_path_expr: str = ""
    mount_propagation: Propagation = Propagation.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDevice(Located):
    """VolumeDevice; its volume is a hostPath that is a block device or a file, as there are no claims."""

    name: str
    device_path: str
