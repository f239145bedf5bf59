"""The network of a pod, between the package that makes it and the sandbox that records it."""

from dataclasses import dataclass, field

from vmsandbox.protocol.messages import Dns, Interface


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """A pod's network as it was made."""

    netns: str
    """Path of the namespace that holds the pod's end of the CNI network."""
    tap: str
    """The tap that the hypervisor opens: in `netns`, or until `connect_tap` in the host's namespace."""
    interface: Interface
    """The settings that the guest takes over: MAC, MTU, addresses (the pod's first address first) and routes."""
    dns: Dns = field(default_factory=Dns)
    """The DNS settings of the plugins; empty with most plugins."""
