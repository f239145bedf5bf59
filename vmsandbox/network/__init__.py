"""The pod network: CNI plugins in a namespace of the host, a tap redirected to it."""

from vmsandbox.network.attachment import PodIdentity
from vmsandbox.network.network import Network, netns_of

__all__ = ["Network", "PodIdentity", "netns_of"]
