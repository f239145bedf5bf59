"""The types of core/v1 as a manifest has them, with the fields that a single machine can honour; and its reading.

Modules are named as parts of the API; `manifest` reads the YAML.
"""

from vmsandbox.pod.api.claims import PersistentVolumeClaim
from vmsandbox.pod.api.container import (
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    ResourceRequirements,
    RestartPolicy,
)
from vmsandbox.pod.api.manifest import Manifest, manifest_of, read_manifest
from vmsandbox.pod.api.pod import ConfigMap, DnsPolicy, Pod, PodSpec, Secret
from vmsandbox.pod.api.probes import (
    ExecAction,
    HttpGetAction,
    Lifecycle,
    LifecycleHandler,
    MessagePolicy,
    Probe,
    Scheme,
    TcpSocketAction,
)
from vmsandbox.pod.api.references import KeySelector, ObjectFieldSelector, ObjectReference, ResourceFieldSelector
from vmsandbox.pod.api.security import GroupsPolicy, ProcMount, Profile, ProfileType
from vmsandbox.pod.api.volumes import (
    ClaimVolume,
    DownwardFile,
    EmptyDir,
    HostPath,
    HostPathType,
    ImageVolume,
    KeyToPath,
    Medium,
    ProjectedSource,
    ProjectedVolume,
    Propagation,
    PullPolicy,
    RecursiveReadOnly,
    Volume,
    VolumeDevice,
    VolumeMount,
)

__all__ = [
    "ClaimVolume",
    "ConfigMap",
    "Container",
    "DnsPolicy",
    "DownwardFile",
    "EmptyDir",
    "EnvFromSource",
    "EnvVar",
    "EnvVarSource",
    "ExecAction",
    "GroupsPolicy",
    "HostPath",
    "HostPathType",
    "HttpGetAction",
    "ImageVolume",
    "KeySelector",
    "KeyToPath",
    "Lifecycle",
    "LifecycleHandler",
    "Manifest",
    "Medium",
    "MessagePolicy",
    "ObjectFieldSelector",
    "ObjectReference",
    "PersistentVolumeClaim",
    "Pod",
    "PodSpec",
    "Probe",
    "ProcMount",
    "Profile",
    "ProfileType",
    "ProjectedSource",
    "ProjectedVolume",
    "Propagation",
    "PullPolicy",
    "RecursiveReadOnly",
    "ResourceFieldSelector",
    "ResourceRequirements",
    "RestartPolicy",
    "Scheme",
    "Secret",
    "TcpSocketAction",
    "Volume",
    "VolumeDevice",
    "VolumeMount",
    "manifest_of",
    "read_manifest",
]
