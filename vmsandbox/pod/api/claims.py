"""core/v1: PersistentVolumeClaim, which stands for a named volume of this host."""

import enum
from dataclasses import dataclass, field
from typing import ClassVar

from vmsandbox.pod.api.container import ResourceRequirements
from vmsandbox.pod.api.pod import ObjectMeta
from vmsandbox.typed_yaml import Located


class AccessMode(enum.Enum):
    """PersistentVolumeAccessMode."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_ONLY_MANY = "ReadOnlyMany"
    READ_WRITE_MANY = "ReadWriteMany"
    READ_WRITE_ONCE_POD = "ReadWriteOncePod"


class VolumeMode(enum.Enum):
    """PersistentVolumeMode; a volume of this host is a directory."""

    FILESYSTEM = "Filesystem"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimSpec(Located):
    """PersistentVolumeClaimSpec."""

    REFUSED: ClassVar = {"dataSource": "volumes are made empty", "dataSourceRef": "volumes are made empty"}
    IGNORED: ClassVar = frozenset({"selector", "storageClassName", "volumeAttributesClassName", "volumeName"})

    access_modes: tuple[AccessMode, ...] = ()
    resources: ResourceRequirements = field(default_factory=ResourceRequirements)
    volume_mode: VolumeMode = VolumeMode.FILESYSTEM

    @property
    def read_only(self) -> bool:
        """Whether nobody may write."""
        return bool(self.access_modes) and set(self.access_modes) == {AccessMode.READ_ONLY_MANY}

    @property
    def alone(self) -> bool:
        """Whether one pod alone may use it."""
        return set(self.access_modes) == {AccessMode.READ_WRITE_ONCE_POD}


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistentVolumeClaim(Located):
    """PersistentVolumeClaim."""

    IGNORED: ClassVar = frozenset({"apiVersion", "kind", "status"})

    metadata: ObjectMeta
    spec: ClaimSpec = field(default_factory=ClaimSpec)
