"""The pod network: CNI plugins in a namespace of the host, a tap redirected to it."""

from vmsandbox.network.network import Network, netns_of
from vmsandbox.network.settings import BridgeSettings, NetworkSettings, PodIdentity

__all__ = ["BridgeSettings", "Network", "NetworkSettings", "PodIdentity", "netns_of"]
