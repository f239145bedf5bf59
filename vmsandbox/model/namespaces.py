"""Namespaces of containers, users among them."""

import enum
from dataclasses import dataclass

from vmsandbox.protocol.bounds import UInt32


class NamespaceMode(enum.Enum):
    """CRI NamespaceMode. The pod is the guest: NODE means the guest's root namespace."""

    POD = "pod"
    CONTAINER = "container"
    NODE = "node"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class IdMapping:
    """CRI IDMapping: `length` ids from `container_id` on are those from `host_id` on; here the guest is the host."""

    host_id: UInt32
    container_id: UInt32
    length: UInt32


@dataclass(frozen=True, slots=True)
class UserNamespace:
    """CRI UserNamespace: NODE means no namespace of its own, POD is one for the pod with these mappings."""

    mode: NamespaceMode = NamespaceMode.POD
    uids: tuple[IdMapping, ...] = ()
    gids: tuple[IdMapping, ...] = ()


@dataclass(frozen=True, slots=True)
class Namespaces:
    """CRI NamespaceOption."""

    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.CONTAINER
    ipc: NamespaceMode = NamespaceMode.POD
    target_id: str = ""
    """The id of the container whose PID namespace is shared, if `pid` is TARGET."""
    user: UserNamespace | None = None
    """The user namespace of the sandbox; with None or NODE, its users are those of the guest."""
