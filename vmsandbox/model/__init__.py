"""The frozen dataclasses between the CRI's protobuf, libvirt's XML and the agent's frames.

Names and meanings are those of CRI v1 (runtime.v1 api.proto), whose message is named in each docstring. Times are
nanoseconds since the epoch, 0 where the moment has not come; sizes are bytes.
"""

from typing import TYPE_CHECKING

from vmsandbox.protocol.faces import face

if TYPE_CHECKING:
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
    from vmsandbox.model.details import HostCgroup, MachineDetails, MachineProcess
    from vmsandbox.model.image import Image, ImageConfig, RegistryAuth
    from vmsandbox.model.namespaces import IdMapping, NamespaceMode, Namespaces, UserNamespace
    from vmsandbox.model.network import PodNetwork
    from vmsandbox.model.node import Finding, Vsock
    from vmsandbox.model.pod import (
        NETWORK_ANNOTATION,
        NO_NETWORK,
        PodSandboxConfig,
        PodSandboxMetadata,
        PortMapping,
    )
    from vmsandbox.model.resources import MachineSize, Resources, SizeRules
    from vmsandbox.model.status import (
        BootTimings,
        ContainerEvent,
        ContainerEventKind,
        ContainerState,
        ContainerStatus,
        ContainerTimings,
        ContainerUser,
        SandboxState,
        SandboxStatus,
        StartTimings,
    )
    from vmsandbox.model.streams import (
        AttachRequest,
        CommandRequest,
        DebugRequest,
        ExecRequest,
        ExecResult,
        Output,
        PortForwardRequest,
    )
    from vmsandbox.model.usage import ContainerUsage, InterfaceUsage, MachineUsage, SandboxUsage

__all__ = [
    "NETWORK_ANNOTATION",
    "NO_NETWORK",
    "AttachRequest",
    "BootTimings",
    "CommandRequest",
    "ContainerConfig",
    "ContainerEvent",
    "ContainerEventKind",
    "ContainerMetadata",
    "ContainerSecurity",
    "ContainerState",
    "ContainerStatus",
    "ContainerTimings",
    "ContainerUsage",
    "ContainerUser",
    "DebugRequest",
    "Device",
    "ExecRequest",
    "ExecResult",
    "Finding",
    "HostCgroup",
    "IdMapping",
    "Image",
    "ImageConfig",
    "InterfaceUsage",
    "MachineDetails",
    "MachineProcess",
    "MachineSize",
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
    "SizeRules",
    "StartTimings",
    "SupplementalGroupsPolicy",
    "UserNamespace",
    "Vsock",
]

__getattr__ = face(
    __name__,
    container=(
        "ContainerConfig ContainerMetadata ContainerSecurity Device Mount PropagationMode SecurityProfile "
        "SupplementalGroupsPolicy"
    ),
    details="HostCgroup MachineDetails MachineProcess",
    image="Image ImageConfig RegistryAuth",
    namespaces="IdMapping NamespaceMode Namespaces UserNamespace",
    network="PodNetwork",
    node="Finding Vsock",
    pod="NETWORK_ANNOTATION NO_NETWORK PodSandboxConfig PodSandboxMetadata PortMapping",
    resources="MachineSize Resources SizeRules",
    status=(
        "BootTimings ContainerEvent ContainerEventKind ContainerState ContainerStatus ContainerTimings ContainerUser "
        "SandboxState SandboxStatus StartTimings"
    ),
    streams="AttachRequest CommandRequest DebugRequest ExecRequest ExecResult Output PortForwardRequest",
    usage="ContainerUsage InterfaceUsage MachineUsage SandboxUsage",
)
