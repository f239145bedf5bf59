"""The frozen dataclasses between the CRI's protobuf, libvirt's XML and the agent's frames.

Names and meanings are those of CRI v1 (runtime.v1 api.proto), whose message is named in each docstring. Times are
nanoseconds since the epoch, 0 where the moment has not come; sizes are bytes.
"""

from vmsandbox.model.container import (
    ContainerConfig,
    ContainerMetadata,
    ContainerSecurity,
    Device,
    Mount,
    PropagationMode,
    SecurityProfile,
    SupplementalGroupsPolicy,
)
from vmsandbox.model.image import Image, ImageConfig, RegistryAuth
from vmsandbox.model.namespaces import IdMapping, NamespaceMode, Namespaces, UserNamespace
from vmsandbox.model.network import PodNetwork
from vmsandbox.model.node import Finding, Vsock
from vmsandbox.model.pod import PodSandboxConfig, PodSandboxMetadata, PortMapping
from vmsandbox.model.resources import ContainerUsage, InterfaceUsage, MachineUsage, Resources, SandboxUsage
from vmsandbox.model.status import (
    BootTimings,
    ContainerEvent,
    ContainerEventKind,
    ContainerState,
    ContainerStatus,
    ContainerUser,
    SandboxState,
    SandboxStatus,
)
from vmsandbox.model.streams import AttachRequest, ExecRequest, ExecResult, Output, PortForwardRequest

__all__ = [
    "AttachRequest",
    "BootTimings",
    "ContainerConfig",
    "ContainerEvent",
    "ContainerEventKind",
    "ContainerMetadata",
    "ContainerSecurity",
    "ContainerState",
    "ContainerStatus",
    "ContainerUsage",
    "ContainerUser",
    "Device",
    "ExecRequest",
    "ExecResult",
    "Finding",
    "IdMapping",
    "Image",
    "ImageConfig",
    "InterfaceUsage",
    "MachineUsage",
    "Mount",
    "NamespaceMode",
    "Namespaces",
    "Output",
    "PodNetwork",
    "PodSandboxConfig",
    "PodSandboxMetadata",
    "PortForwardRequest",
    "PortMapping",
    "PropagationMode",
    "RegistryAuth",
    "Resources",
    "SandboxState",
    "SandboxStatus",
    "SandboxUsage",
    "SecurityProfile",
    "SupplementalGroupsPolicy",
    "UserNamespace",
    "Vsock",
]
