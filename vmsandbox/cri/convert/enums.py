"""The CRI's enumerations beside the model's: one table each, read in both directions."""

from collections.abc import Mapping
from typing import TypeVar

from cri_api.v1 import api_pb2 as api

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import (
    ContainerEventKind,
    ContainerState,
    NamespaceMode,
    PropagationMode,
    SandboxState,
    SupplementalGroupsPolicy,
)

Wire = TypeVar("Wire")
Member = TypeVar("Member")

NAMESPACE_MODE = {
    api.POD: NamespaceMode.POD,
    api.CONTAINER: NamespaceMode.CONTAINER,
    api.NODE: NamespaceMode.NODE,
    api.TARGET: NamespaceMode.TARGET,
}
PROPAGATION = {
    api.PROPAGATION_PRIVATE: PropagationMode.PRIVATE,
    api.PROPAGATION_HOST_TO_CONTAINER: PropagationMode.HOST_TO_CONTAINER,
    api.PROPAGATION_BIDIRECTIONAL: PropagationMode.BIDIRECTIONAL,
}
GROUPS_POLICY = {api.Merge: SupplementalGroupsPolicy.MERGE, api.Strict: SupplementalGroupsPolicy.STRICT}
PROFILE_KIND = {
    api.SecurityProfile.RuntimeDefault: "runtime_default",
    api.SecurityProfile.Unconfined: "unconfined",
    api.SecurityProfile.Localhost: "localhost",
}
PROTOCOL = {api.TCP: "tcp", api.UDP: "udp", api.SCTP: "sctp"}
SANDBOX_STATE = {api.SANDBOX_READY: SandboxState.READY, api.SANDBOX_NOTREADY: SandboxState.NOTREADY}
CONTAINER_STATE = {
    api.CONTAINER_CREATED: ContainerState.CREATED,
    api.CONTAINER_RUNNING: ContainerState.RUNNING,
    api.CONTAINER_EXITED: ContainerState.EXITED,
    api.CONTAINER_UNKNOWN: ContainerState.UNKNOWN,
}
EVENT_KIND = {
    api.CONTAINER_CREATED_EVENT: ContainerEventKind.CREATED,
    api.CONTAINER_STARTED_EVENT: ContainerEventKind.STARTED,
    api.CONTAINER_STOPPED_EVENT: ContainerEventKind.STOPPED,
    api.CONTAINER_DELETED_EVENT: ContainerEventKind.DELETED,
}


def from_cri(table: Mapping[Wire, Member], value: Wire, what: str) -> Member:
    """The model's member for a value of the wire. Raises InvalidArgument: a newer client's value, or a wrong one."""
    try:
        return table[value]
    except KeyError:
        raise InvalidArgument(f"{what} has a value that this version does not know: {value}") from None


def to_cri(table: Mapping[Wire, Member], member: Member) -> Wire:
    """The wire's value for a member of the model. Raises KeyError: the CRI has none for it."""
    for value, candidate in table.items():
        if candidate == member:
            return value
    raise KeyError(member)
