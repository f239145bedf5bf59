"""The attachment of a pod to a network, as plugins are told of it."""

import dataclasses
import re
from collections.abc import Sequence

from vmsandbox import log
from vmsandbox.errors import InvalidArgument
from vmsandbox.model import PortMapping
from vmsandbox.network.config import NetworkList
from vmsandbox.protocol.codec import JSON

_log = log.get(__name__)

INTERFACE = "eth0"
"""The name of the pod's interface, in its namespace and in the guest (CNI_IFNAME), as in every runtime."""

_CONTAINER_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")


@dataclasses.dataclass(frozen=True, slots=True)
class PodIdentity:
    """The pod whose network it is; plugins read the last three from CNI_ARGS."""

    sandbox_id: str
    namespace: str
    name: str
    uid: str


@dataclasses.dataclass(frozen=True, slots=True)
class CniAttachment:
    """A pod on a network."""

    pod: PodIdentity
    network: NetworkList
    netns: str
    arguments: JSON
    """Capability arguments, by capability."""
    result: JSON = None
    """The result of the last plugin; None until ADD has succeeded."""

    def parameters(self, netns: str) -> dict[str, str]:
        """The CNI_ variables of the attachment; `netns` is empty where the namespace is gone (DEL allows that)."""
        args = {
            "IgnoreUnknown": "1",
            "K8S_POD_NAMESPACE": self.pod.namespace,
            "K8S_POD_NAME": self.pod.name,
            "K8S_POD_INFRA_CONTAINER_ID": self.pod.sandbox_id,
            "K8S_POD_UID": self.pod.uid,
        }
        return {
            "CNI_CONTAINERID": self.pod.sandbox_id,
            "CNI_NETNS": netns,
            "CNI_IFNAME": INTERFACE,
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in args.items()),
        }


def check_identity(pod: PodIdentity) -> None:
    """Refuse, with InvalidArgument, an identity that plugins cannot be told.

    CNI restricts ids (spec, section 2, "Parameters"), and CNI_ARGS are `KEY=VALUE;...` without any quoting.
    """
    if not _CONTAINER_ID.fullmatch(pod.sandbox_id):
        raise InvalidArgument(f"the sandbox id {pod.sandbox_id!r} is not one that CNI allows")
    for value in (pod.namespace, pod.name, pod.uid):
        if set(value) & set(";=\0\n"):
            raise InvalidArgument(f"{value!r} cannot be passed to CNI plugins: it contains a separator")


def capability_arguments(network: NetworkList, mappings: Sequence[PortMapping]) -> dict[str, JSON]:
    """Return the `portMappings` argument (CNI conventions, "dynamic plugin specific fields")."""
    wanted = [
        {
            "hostPort": mapping.host_port,
            "containerPort": mapping.container_port,
            "protocol": mapping.protocol.lower(),
            **({"hostIP": mapping.host_ip} if mapping.host_ip else {}),
        }
        for mapping in mappings
        if mapping.host_port
    ]
    if wanted and not network.advertises("portMappings"):
        # Not an error: cilium, for one, serves host ports without any plugin saying so.
        _log.warning("%s: no plugin advertises portMappings; are host ports served in another way?", network.source)
    return {"portMappings": wanted} if wanted else {}
